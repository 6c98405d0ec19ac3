from dataclasses import replace
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from qprune_cli.errors import UserError
from qprune_cli.use.photo import FORMATS, Photo, read_photo

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RNG = np.random.default_rng(0)


def exif() -> Image.Exif:
    values = Image.Exif()
    values[274], values[271], values[33432] = 6, "maker", "nobody"
    values.get_ifd(0x8769)[33434] = 0.25
    return values


def picture(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def rewritten(path, channels: int) -> tuple[Photo, np.ndarray, bytes]:
    """The photograph, other pixels of its type, and the file with those."""
    photo = read_photo(path, channels)
    top = 1 if photo.pixels.dtype.kind == "f" else np.iinfo(photo.pixels.dtype).max
    pixels = (top - photo.pixels).astype(photo.pixels.dtype)
    return photo, pixels, replace(photo, pixels=pixels).encode()


def with_chunks(content: bytes, *, pnginfo: PngImagePlugin.PngInfo | None = None, **settings) -> bytes:
    """Take all chunks but the pixels from a PNG that Pillow writes into one that it cannot."""
    buffer = BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", pnginfo=pnginfo, **settings)
    source = buffer.getvalue()
    return content[:33] + source[33 : source.index(b"IDAT") - 4] + content[33:]


def notes() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    info.add_text("Comment", "long " * 50, zip=True)
    info.add_itxt("Title", "Überschrift", lang="de")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add(b"tIME", bytes([7, 230, 1, 2, 3, 4, 5]))
    info.add(b"zzZz", b"private, safe to copy")
    return info


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_depth_alpha_and_every_chunk(tmp_path, dtype, channels):
    array = picture(13, 17, channels, dtype=dtype)
    content = imagecodecs.png_encode(array)
    (tmp_path / "a.png").write_bytes(with_chunks(content, pnginfo=notes(), icc_profile=ICC, dpi=(300, 300), exif=exif()))
    photo, pixels, result = rewritten(tmp_path / "a.png", 1 if channels < 3 else 3)
    found = imagecodecs.png_decode(result).reshape(array.shape)
    colours = len(pixels)
    assert found.dtype == dtype and np.array_equal(found[..., :colours], pixels.transpose(1, 2, 0))
    assert (photo.alpha is not None) == (channels in (2, 4))
    assert np.array_equal(found[..., colours:], array[..., colours:])
    with Image.open(BytesIO(result)) as after, Image.open(tmp_path / "a.png") as before:
        after.load(), before.load()
        assert after.info == before.info and after.text == before.text and after.mode == before.mode and after.size == (17, 13)
        assert after.info["icc_profile"] == ICC and after.text["Author"] == "somebody" and after.getexif()[274] == 6
    assert b"tIME" in result and b"zzZz" in result


def test_png_with_a_palette_becomes_colours_without_what_belongs_to_the_palette(tmp_path):
    palette = Image.fromarray(picture(8, 8, 3)).quantize(16)
    palette.save(tmp_path / "a.png", transparency=3, dpi=(100, 100))
    photo, pixels, result = rewritten(tmp_path / "a.png", 3)
    assert photo.alpha is not None and imagecodecs.png_decode(result).shape == (8, 8, 4)
    assert np.array_equal(imagecodecs.png_decode(result)[..., :3], pixels.transpose(1, 2, 0))
    assert b"PLTE" not in result and b"tRNS" not in result and b"pHYs" in result


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_jpeg_keeps_exif_icc_resolution_and_comment(tmp_path, mode, channels):
    smooth = np.broadcast_to(np.linspace(20, 230, 40).astype(np.uint8)[:, None], (40, 24))
    source = Image.fromarray(smooth).convert(mode)
    source.save(tmp_path / "a.jpg", exif=exif(), icc_profile=ICC * 40, dpi=(240, 240), comment="a note", xmp=b"<x:xmpmeta/>", quality=95)
    _, pixels, result = rewritten(tmp_path / "a.jpg", channels)
    with Image.open(BytesIO(result)) as after, Image.open(tmp_path / "a.jpg") as before:
        assert after.info == before.info and after.getexif() == before.getexif() and after.mode == mode and after.size == (24, 40)
        assert after.info["icc_profile"] == ICC * 40 and after.info["comment"] == b"a note" and after.info["dpi"] == (240, 240)
        assert after.getexif().get_ifd(0x8769)[33434] == 0.25
        found = np.asarray(after).reshape(40, 24, channels)
    assert np.abs(found.astype(int) - pixels.transpose(1, 2, 0)).max() <= 4
    assert result.count(b"JFIF\0") == 1


def test_jpeg_without_jfif_or_with_adobe_is_read_as_it_was_written(tmp_path):
    buffer = BytesIO()
    Image.fromarray(np.full((16, 16, 3), (200, 40, 90), np.uint8)).save(buffer, "JPEG", quality=95, subsampling=0, keep_rgb=True)
    content = buffer.getvalue()
    (tmp_path / "a.jpeg").write_bytes(content)
    assert b"Adobe" in content
    photo = read_photo(tmp_path / "a.jpeg", 3)
    result = photo.encode()
    assert b"Adobe" not in result
    assert np.abs(np.asarray(Image.open(BytesIO(result))).astype(int) - (200, 40, 90)).max() <= 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float16])
@pytest.mark.parametrize(("compression", "predictor"), [(None, None), ("lzw", 2), ("zlib", None), ("zstd", None)])
@pytest.mark.parametrize("colours", [(), (3,)])
def test_tiff_keeps_depth_compression_and_tags(tmp_path, dtype, compression, predictor, colours):
    shape = (13, 17, *colours)
    array = picture(*shape, dtype=dtype) if dtype in (np.uint8, np.uint16) else RNG.uniform(size=shape).astype(dtype)
    if dtype in (np.float32, np.float16):
        predictor = 3 if predictor else None
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="rgb" if colours else "minisblack", compression=compression, predictor=predictor,
        resolution=((600, 2), (301, 1)), resolutionunit="CENTIMETER", description="what it shows", software="a camera", iccprofile=ICC,
        datetime="2024:01:02 03:04:05", metadata=None, byteorder=">",
        extratags=[
            (274, 3, 1, 6, True), (315, 2, 0, "somebody", True), (700, 1, 12, b"<x:xmpmeta/>", True),
            (33432, 2, 0, "© nobody".encode(), True),
        ],
    )  # fmt: skip
    _, pixels, result = rewritten(tmp_path / "a.tif", 3 if colours else 1)
    with tifffile.TiffFile(BytesIO(result)) as after, tifffile.TiffFile(tmp_path / "a.tif") as before:
        new, old = after.pages[0], before.pages[0]
        assert after.byteorder == before.byteorder and new.dtype == old.dtype == dtype and new.compression == old.compression
        assert new.predictor == old.predictor and new.photometric == old.photometric and len(after.pages) == 1
        offsets = {"StripOffsets", "StripByteCounts", "RowsPerStrip"}
        tags = [{tag.name: tag.value for tag in page.tags if tag.name not in offsets} for page in (new, old)]
        assert tags[0] == tags[1]
        assert tags[0]["XResolution"] == (300, 1) and tags[0]["Orientation"] == 6 and tags[0]["ImageDescription"] == "what it shows"
        assert np.array_equal(new.asarray(), np.moveaxis(pixels, 0, -1).reshape(array.shape).astype(dtype))


def test_tiff_with_lossy_compression_is_written_without_loss(tmp_path):
    array = np.broadcast_to(np.linspace(20, 230, 64).astype(np.uint8)[:, None, None], (64, 48, 3))
    tifffile.imwrite(tmp_path / "a.tiff", array, photometric="rgb", compression="jpeg", compressionargs={"level": 95})
    _, pixels, result = rewritten(tmp_path / "a.tiff", 3)
    assert np.array_equal(tifffile.imread(BytesIO(result)), pixels.transpose(1, 2, 0))


COLOURS = picture(3, 256, dtype=np.uint16)


def save(path, array, **settings):
    tifffile.imwrite(path, array, **settings)


def animation(path):
    frames = [Image.fromarray(picture(8, 8, 3)) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.txt", lambda path: path.write_text("hello"), "no image that can be read; those end in .png"),
        ("a.gif", lambda path: Image.new("L", (4, 4)).save(path), "no image that can be read"),
        ("noending", lambda path: path.write_bytes(b""), "no image that can be read"),
        ("a.png", lambda path: path.write_bytes(b""), "empty"),
        ("b.png", lambda path: path.write_bytes(imagecodecs.png_encode(picture(99, 99, 3))[:9000]), "damaged or not a .png image"),
        ("c.png", lambda path: path.write_text("hello, I am no image"), "not a .png image, whatever its name says"),
        ("grey.png", lambda path: Image.new("L", (9, 9)).save(path), "1 channels where the network wants 3"),
        ("moving.png", animation, "an animation"),
        ("a.jpg", lambda path: path.write_bytes(b"\xff\xd8\xff"), "damaged or not a .jpg image"),
        ("cmyk.jpg", lambda path: Image.new("CMYK", (9, 9)).save(path), "colours in CMYK"),
        ("cut.jpeg", lambda path: path.write_bytes(imagecodecs.jpeg_encode(picture(99, 99, 3))[:3000]), "damaged or not a .jpeg image"),
        ("a.tif", lambda path: path.write_bytes(b"II*\0nothing more than that"), "damaged or not a .tif image"),
        ("pages.tif", lambda path: save(path, picture(3, 9, 9), photometric="minisblack"), "holds 3 pages"),
        ("cmyk.tif", lambda path: save(path, picture(9, 9, 4), photometric="separated"), "colours in SEPARATED"),
        ("lab.tif", lambda path: save(path, picture(9, 9, 3), photometric="cielab"), "colours in CIELAB"),
        ("palette.tif", lambda path: save(path, picture(9, 9), photometric="palette", colormap=COLOURS), "colours in PALETTE"),
        ("planes.tif", lambda path: save(path, picture(3, 9, 9), photometric="rgb", planarconfig="separate"), "planes of their own"),
        ("alpha.tif", lambda path: save(path, picture(9, 9, 4), photometric="rgb"), "4 channels where the network wants 3"),
        ("deep.tif", lambda path: save(path, picture(9, 9, 3, dtype=np.uint32), photometric="rgb"), "pixels of 32 bits"),
        ("bright.tif", lambda path: save(path, 255 * RNG.uniform(size=(9, 9, 3)).astype(np.float32), photometric="rgb"), "scale them to"),
        ("nan.tif", lambda path: save(path, np.full((9, 9, 3), np.nan, np.float32), photometric="rgb"), "not finite"),
        ("gone.png", lambda path: None, "not an ordinary file"),
        ("folder.png", lambda path: path.mkdir(), "not an ordinary file"),
    ],
)  # fmt: skip
def test_what_is_no_photograph_is_named_with_the_reason(tmp_path, name, make, said):
    make(tmp_path / name)
    with pytest.raises(UserError, match=said) as caught:
        read_photo(tmp_path / name, 3)
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)


def test_every_readable_ending_can_be_written():
    from qprune_cli.images.image import READERS

    assert FORMATS.keys() == READERS.keys()
