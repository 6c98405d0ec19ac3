import numpy as np
import pytest

from qprune_cli.data.pairs import PairedFolders, find_pairs
from qprune_cli.errors import UserError
from tests.conftest import write_pairs

QUICK = {"crops": 4, "crop_size": 16, "block_size": 20}


def test_pairs_are_found_by_pattern_in_one_folder(tmp_path):
    pairs = find_pairs(write_pairs(tmp_path), "*_noisy.*", tmp_path, "*_clean.*")
    assert [pair.name for pair in pairs] == list("012345")


def test_pairs_are_found_in_two_folders(tmp_path):
    write_pairs(tmp_path / "all", 3)
    for kind in ("noisy", "clean"):
        (tmp_path / kind).mkdir()
        for k in range(3):
            (tmp_path / "all" / f"{k}_{kind}.png").rename(tmp_path / kind / f"scene{k}.png")
    pairs = find_pairs(tmp_path, "noisy/*", tmp_path, "clean/*")
    assert [(p.name, p.noisy.parent.name, p.clean.parent.name) for p in pairs] == [(f"scene{k}", "noisy", "clean") for k in range(3)]


def test_formats_may_differ_within_a_pair(tmp_path):
    write_pairs(tmp_path / "png", 1)
    write_pairs(tmp_path / "tif", 1, suffix=".tif")
    (tmp_path / "png" / "0_clean.png").unlink()
    (tmp_path / "tif" / "0_clean.tif").rename(tmp_path / "png" / "0_clean.tif")
    assert len(find_pairs(tmp_path / "png", "*_noisy.*", tmp_path / "png", "*_clean.*")) == 1


def test_images_of_the_splits_are_disjoint(tmp_path):
    data = PairedFolders(root=str(write_pairs(tmp_path, 10)), **QUICK)
    splits = data.load(seed=0)
    parts = {
        "train": {entry.name for entry in splits.train.entries},
        "calibration": {name.split("_")[0] for name in splits.calibration.names},
        "refinement": {name.split("_")[0] for name in splits.refinement.names},
        "test": {name.split("_")[0] for name in splits.test.names},
    }
    names = [name for part in parts.values() for name in part]
    assert len(names) == len(set(names)) and len(parts["train"]) == 4


def test_a_test_folder_of_its_own_is_tested_whole(tmp_path):
    write_pairs(tmp_path / "a", 4)
    write_pairs(tmp_path / "b", 3)
    data = PairedFolders(root=str(tmp_path / "a"), test_root=str(tmp_path / "b"), shares=(0.0, 0.4, 0.4, 0.2), blocks_per_image=1, **QUICK)
    splits = data.load(seed=0)
    assert splits.test.names == ("0", "1", "2")
    assert len({name.split("_")[0] for name in splits.calibration.names + splits.refinement.names}) == 4


def test_clean_images_may_lie_in_a_folder_of_their_own(tmp_path):
    write_pairs(tmp_path / "a", 6)
    (tmp_path / "b").mkdir()
    for k in range(6):
        (tmp_path / "a" / f"{k}_clean.png").rename(tmp_path / "b" / f"{k}.png")
    data = PairedFolders(root=str(tmp_path / "a"), clean_root=str(tmp_path / "b"), clean="*.*", **QUICK)
    assert len(data.load(seed=0).calibration) == 4


def test_test_images_that_lie_below_root_as_well_are_refused(tmp_path):
    write_pairs(tmp_path / "all" / "test", 3)
    write_pairs(tmp_path / "all", 5)
    data = PairedFolders(root=str(tmp_path / "all"), test_root=str(tmp_path / "all" / "test"), **QUICK)
    with pytest.raises(UserError, match="keep test images apart"):
        data.load(seed=0)


def test_two_files_of_one_name_are_refused(tmp_path):
    write_pairs(write_pairs(tmp_path), suffix=".tif")
    with pytest.raises(UserError, match="two images of the same name"):
        find_pairs(tmp_path, "*_noisy.*", tmp_path, "*_clean.*")


def test_clean_images_without_a_noisy_one_are_told_of(tmp_path, caplog):
    write_pairs(tmp_path)
    (tmp_path / "3_noisy.png").unlink()
    assert len(find_pairs(tmp_path, "*_noisy.*", tmp_path, "*_clean.*")) == 5
    assert "1 clean images" in caplog.text


def test_training_images_are_checked_before_training(tmp_path):
    data = PairedFolders(root=str(write_pairs(tmp_path, 10)), **QUICK)
    train = data.load(seed=0).train
    train.check(40)
    with pytest.raises(UserError, match="smaller than a crop of 41"):
        train.check(41)
    with pytest.raises(UserError, match="no image is left for training"):
        PairedFolders(root=str(tmp_path), shares=(0, 0.4, 0.3, 0.3), **QUICK).load(seed=0).train.check(40)


@pytest.mark.parametrize("seed", range(4))
def test_one_damaged_image_is_found_whichever_part_it_falls_into(tmp_path, seed):
    write_pairs(tmp_path, 10)
    (tmp_path / "4_noisy.png").write_bytes((tmp_path / "4_noisy.png").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"4_noisy\.png: damaged"):
        PairedFolders(root=str(tmp_path), seed=seed, **QUICK | {"crops": 1}).load(seed=0)


def test_blocks_are_cut_from_the_same_place_of_both_images(tmp_path):
    data = PairedFolders(root=str(write_pairs(tmp_path)), **QUICK)
    for pair in data.load(seed=0).test.pairs:
        assert np.corrcoef(pair.input.ravel(), pair.target.ravel())[0, 1] > 0.8


def test_official_photographs_are_read(real_data):
    native = real_data / "sidd_native"
    data = PairedFolders(
        root=str(native / "train"), test_root=str(native / "val"), clean="*_gt.*", shares=(0.0, 0.5, 0.5, 0.0), crops=4, crop_size=64
    )
    splits = data.load(seed=0)
    assert len(splits.test) == 32 and splits.test.pairs[0].input.shape == (3, 256, 256)
    psnr = [-10 * np.log10(np.mean((pair.input - pair.target) ** 2)) for pair in splits.test.pairs]
    assert min(psnr) > 14 and max(psnr) < 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no image below"),
        (lambda folder: (folder / "2_clean.png").unlink(), "no clean image '2_clean"),
        (lambda folder: [path.unlink() for path in folder.iterdir() if path.name[0] != "0"], "leave none for"),
    ],
)
def test_incomplete_folders_are_refused(tmp_path, change, message):
    change(write_pairs(tmp_path))
    with pytest.raises(UserError, match=message):
        PairedFolders(root=str(tmp_path), **QUICK).load(seed=0)


def test_pairs_of_different_sizes_are_refused(tmp_path):
    write_pairs(tmp_path, 6)
    write_pairs(tmp_path / "larger", 6, side=48)
    for k in range(6):
        (tmp_path / "larger" / f"{k}_clean.png").rename(tmp_path / f"{k}_clean.png")
        (tmp_path / "larger" / f"{k}_noisy.png").unlink()
    with pytest.raises(UserError, match=r"40 x 40 pixels, but its clean image .* has 48 x 48"):
        PairedFolders(root=str(tmp_path), **QUICK).load(seed=0)


@pytest.mark.parametrize(
    "setting",
    [
        {"shares": (0.5, 0.5, 0.5, 0.5)},
        {"shares": (0.5, 0.5)},
        {"noisy": "noisy"},
        {"crops": 0},
        {"crop_size": 300},
        {"patches_per_image": 0},
        {"block_size": 8},
        {"seed": -1},
    ],
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UserError, match=f"data.{next(iter(setting))}"):
        PairedFolders(root=".", **setting)
