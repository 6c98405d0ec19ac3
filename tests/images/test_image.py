import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from qprune_cli.errors import UserError
from qprune_cli.images.image import read_image

COLOUR = np.random.default_rng(0).integers(0, 256, size=(12, 10, 3), dtype=np.uint8)


@pytest.mark.parametrize("ending", [".png", ".tif", ".PNG"])
def test_8_bit_colour_is_read_exactly(tmp_path, ending):
    Image.fromarray(COLOUR).save(tmp_path / f"a{ending}")
    image = read_image(tmp_path / f"a{ending}", channels=3)
    assert image.dtype == np.float32 and np.array_equal(image, COLOUR.transpose(2, 0, 1).astype(np.float32) / 255)


def test_jpeg_is_read_as_pillow_reads_it(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(Image.open(tmp_path / "a.jpg")).transpose(2, 0, 1) / np.float32(255)
    assert np.allclose(read_image(tmp_path / "a.jpg", channels=3), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bit_images_keep_all_their_bits(tmp_path, ending, channels):
    deep = np.random.default_rng(0).integers(0, 65536, size=(12, 10, channels), dtype=np.uint16)
    deep = deep[..., 0] if channels == 1 else deep
    path = tmp_path / f"a{ending}"
    path.write_bytes(imagecodecs.png_encode(deep)) if ending == ".png" else tifffile.imwrite(
        path, deep, photometric="rgb" if channels == 3 else "minisblack"
    )
    image = read_image(path, channels)
    assert np.array_equal(np.round(image * 65535).astype(np.uint16).transpose(1, 2, 0).squeeze(), deep)


def test_compressed_tiff_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, compression="zlib")
    assert read_image(tmp_path / "a.tif", channels=3).shape == (3, 12, 10)


def test_alpha_is_dropped(tmp_path):
    Image.fromarray(np.dstack([COLOUR, np.full((12, 10), 255, np.uint8)])).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", channels=3).shape == (3, 12, 10)


def test_palette_images_are_read_in_colour(tmp_path):
    Image.fromarray(COLOUR).quantize(16).save(tmp_path / "a.png")
    expected = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).transpose(2, 0, 1) / np.float32(255)
    assert np.allclose(read_image(tmp_path / "a.png", channels=3), expected)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
def test_truncated_files_are_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="damaged"):
        read_image(path, channels=3)


def test_values_that_are_not_finite_are_refused(tmp_path):
    picture = np.zeros((8, 8, 3), np.float32)
    picture[2, 3, 1] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb")
    with pytest.raises(UserError, match="not finite"):
        read_image(tmp_path / "a.tif", channels=3)


def test_floats_outside_0_to_1_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8, 3), 200, np.float32), photometric="rgb")
    with pytest.raises(UserError, match="scale them to"):
        read_image(tmp_path / "a.tif", channels=3)


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk_is_not_taken_for_colour_with_alpha(tmp_path, ending):
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / f"a{ending}")
    with pytest.raises(UserError):
        read_image(tmp_path / f"a{ending}", channels=3)


@pytest.mark.parametrize(("have", "want"), [(1, 3), (3, 1)])
def test_another_number_of_channels_is_refused(tmp_path, have, want):
    Image.fromarray(COLOUR[..., 0] if have == 1 else COLOUR).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=f"{have} channels where the network wants {want}"):
        read_image(tmp_path / "a.png", channels=want)
