import numpy as np
import pytest
from PIL import Image

from qprune_cli import cli
from qprune_cli.data.sidd import SIDD, find_frames, parse_instance
from qprune_cli.errors import UserError
from qprune_cli.fetch.check import check
from tests.images.test_mat import write_validation
from tests.runs import SMOKE, read

QUICK = {"crops": 4, "crop_size": 32, "block_size": 64}
PHONES = ("S6", "IP", "GP", "N6", "G4")


def write_scenes(root, scenes=5, medium=False, side=96):
    """SIDD's own layout, as in SIDD_Small or with the two numbered frames of SIDD_Medium; two instances of each scene."""
    rng = np.random.default_rng(0)
    for number in range(2 * scenes):
        folder = root / "Data" / f"{number + 1:04d}_{number // 2 + 1:03d}_{PHONES[number % 5]}_00100_00060_3200_L"
        folder.mkdir(parents=True)
        for frame in ("010", "011") if medium else ("010",):
            clean = rng.integers(40, 200, size=(side, side, 3))
            noisy = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255)
            for kind, picture in (("GT", clean), ("NOISY", noisy)):
                prefix = f"{number + 1:04d}_" if medium else ""
                Image.fromarray(picture.astype(np.uint8)).save(folder / f"{prefix}{kind}_SRGB_{frame}.PNG")
    return root


def scenes_of(splits):
    parts = (splits.train.entries, splits.calibration.pairs, splits.refinement.pairs, splits.test.pairs)
    return [{parse_instance(item.name.split("/")[-2]).scene for item in part} for part in parts]


def test_instance_names_are_parsed():
    assert parse_instance("0117_005_IP_01600_04160_5500_N") == (117, "005", "IP", 1600, 4160, 5500, "N")
    assert parse_instance("0117_005_IP_01600") is None and parse_instance("Data") is None


@pytest.mark.parametrize("medium", [False, True])
def test_no_scene_is_in_two_parts(tmp_path, medium):
    root = write_scenes(tmp_path, medium=medium)
    splits = SIDD(root=str(root), **QUICK).load(seed=0)
    parts = scenes_of(splits)
    assert sum(len(part) for part in parts) == len(set().union(*parts)) == 5
    assert len(splits.train.entries) == 4 * (1 + medium)


def test_validation_blocks_are_the_test_images(tmp_path):
    write_validation(tmp_path, (1, 2, 256, 256, 3))
    data = SIDD(root=str(write_scenes(tmp_path)), validation=str(tmp_path), **QUICK)
    splits = data.load(seed=0)
    assert splits.test.names == ("00_00", "00_01")
    seen = [{name.split("/")[-2][5:8] for name in names} for names in ([e.name for e in splits.train.entries], splits.calibration.names)]
    assert seen[0] and seen[1] and seen[0].isdisjoint(seen[1])


def test_official_folder_is_read(real_data):
    root = real_data / "SIDD_Small_sRGB_Only"
    assert len(find_frames(root)) == 13
    parts = scenes_of(SIDD(root=str(root), **QUICK).load(seed=0))
    assert sum(len(part) for part in parts) == len(set().union(*parts)) == 9
    assert "no problem found" in list(check(root, "*_noisy.*", "*_clean.*"))


def test_network_is_pruned_on_sidd_and_tested_on_its_validation_blocks(tmp_path):
    write_validation(tmp_path, (1, 2, 256, 256, 3))
    where = [f"data.root={write_scenes(tmp_path)}", f"data.validation={tmp_path}", "data.crops=4", "data.crop_size=32"]
    assert cli.dispatch([*SMOKE, "data=sidd", *where, "compensate=none", f"output_root={tmp_path}/out", "ssim3d=true"]) == 0
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    metrics = read(folder)
    assert metrics["identity"]["psnr"]["n"] == 2 and 0 < metrics["stages"]["refined"]["ssim3d"]["mean"] <= 1


def test_scene_without_its_clean_frame_is_refused_and_found_by_check(tmp_path):
    root = write_scenes(tmp_path)
    missing = next(root.rglob("GT_SRGB_010.PNG"))
    missing.unlink()
    with pytest.raises(UserError, match="no clean frame GT_SRGB belongs to it"):
        SIDD(root=str(root), **QUICK).load(seed=0)
    lines = []
    with pytest.raises(UserError, match="1 problem,"):
        lines.extend(iter_into(lines, check(root, "*_noisy.*", "*_clean.*")))
    assert any("its clean frame (GT_SRGB) is missing" in line for line in lines)


def iter_into(lines, source):
    for line in source:
        lines.append(line)
    return []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "damaged"),
        (lambda path: Image.new("RGB", (48, 48)).save(path), "pairs must match"),
        (lambda path: path.unlink(), "holds no noisy frame"),
    ],
)
def test_check_names_damaged_and_missing_frames(tmp_path, change, message):
    root = write_scenes(tmp_path)
    change(next(root.rglob("NOISY_SRGB_010.PNG")))
    lines = []
    with pytest.raises(UserError, match="1 problem,"):
        iter_into(lines, check(root, "*_noisy.*", "*_clean.*"))
    assert any(message in line for line in lines)


def test_check_looks_into_validation_files_and_tells_of_leftovers(tmp_path):
    write_validation(tmp_path, (1, 2, 256, 256, 3))
    (tmp_path / "SIDD_Small_sRGB_Only.zip.part").write_bytes(b"")
    lines = list(check(tmp_path, "*_noisy.*", "*_clean.*"))
    assert any("2 of 1280" in line for line in lines) and any("left over" in line for line in lines)
    write_validation(tmp_path, (1, 2, 64, 64, 3))
    with pytest.raises(UserError, match="1 problem,"):
        list(check(tmp_path, "*_noisy.*", "*_clean.*"))


def test_other_layouts_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds no folder like"):
        SIDD(root=str(tmp_path)).load(seed=0)
    with pytest.raises(UserError, match="no such folder"):
        SIDD(root=str(tmp_path / "nowhere")).load(seed=0)
    with pytest.raises(UserError, match="1 scenes leave none for"):
        SIDD(root=str(write_scenes(tmp_path, scenes=1)), **QUICK).load(seed=0)


def test_small_and_medium_in_one_folder_stay_apart(tmp_path):
    write_scenes(tmp_path / "small")
    write_scenes(tmp_path / "medium")
    frames = find_frames(tmp_path)
    assert len({frame.name for frame in frames}) == len(frames) == 20


def test_patterns_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(UserError, match=r"data\.noisy=foo\.png"):
        cli.dispatch(["data", "check", str(tmp_path), "--noisy", "foo.png"])
    with pytest.raises(UserError, match="1 problem,"):
        cli.dispatch(["data", "check", str(tmp_path)])


def test_grey_network_is_refused_before_frames_are_read(tmp_path):
    with pytest.raises(UserError, match=r"model\.channels=1: the images have 3; set model\.channels=3"):
        cli.dispatch(["run", "data=sidd", f"data.root={tmp_path}", "model.channels=1"])
