import numpy as np
import pytest
from scipy.io import savemat

from qprune_cli.errors import UserError
from qprune_cli.images.mat import CLEAN, NOISY, read_validation


def write_validation(folder, shape=(2, 3, 256, 256, 3), keys=(NOISY, CLEAN), dtype=np.uint8):
    """Write both files as the authors do: MATLAB 5, one variable each, named like the file."""
    rng = np.random.default_rng(0)
    blocks = [rng.integers(0, 255, size=shape).astype(dtype) for _ in range(2)]
    for name, key, value in zip((NOISY, CLEAN), keys, blocks, strict=True):
        savemat(folder / f"{name}.mat", {key: value}, do_compression=True)
    return blocks


def test_blocks_come_in_order_as_floats(tmp_path):
    noisy, clean = write_validation(tmp_path)
    images = read_validation(tmp_path)
    assert len(images) == 6 and images.names[4] == "01_01"
    pair = images.pairs[4]
    assert pair.input.dtype == np.float32 and pair.input.shape == (3, 256, 256)
    assert np.array_equal(np.round(pair.input * 255), noisy[1, 1].transpose(2, 0, 1))
    assert np.array_equal(np.round(pair.target * 255), clean[1, 1].transpose(2, 0, 1))
    assert [pair.name for pair in images.pairs[1:3]] == ["00_01", "00_02"]
    assert sum(len(noisy) for noisy, _ in images.batches(4)) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keys": ("other", CLEAN)}, "holds other where 'ValidationNoisyBlocksSrgb' is expected"),
        ({"shape": (2, 3, 128, 128, 3)}, r"uint8 of shape \(2, 3, 128, 128, 3\); expected uint8 of shape"),
        ({"shape": (2, 256, 256, 3)}, "expected uint8 of shape"),
        ({"dtype": np.float64}, "is float64"),
    ],
)
def test_other_contents_are_refused(tmp_path, settings, message):
    write_validation(tmp_path, **settings)
    with pytest.raises(UserError, match=message):
        read_validation(tmp_path)


def test_files_of_different_slices_are_refused(tmp_path):
    write_validation(tmp_path, (1, 2, 256, 256, 3))
    clean = (tmp_path / f"{CLEAN}.mat").read_bytes()
    write_validation(tmp_path, (1, 1, 256, 256, 3))
    (tmp_path / f"{CLEAN}.mat").write_bytes(clean)
    with pytest.raises(UserError, match="same slice"):
        read_validation(tmp_path)


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="fetch sidd_validation"):
        read_validation(tmp_path)
    write_validation(tmp_path, (1, 1, 256, 256, 3))
    path = tmp_path / f"{NOISY}.mat"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="not a readable MATLAB 5 file"):
        read_validation(tmp_path)
