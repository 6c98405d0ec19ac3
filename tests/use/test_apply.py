import json
import os
import threading
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image

from qprune_cli.errors import UserError
from qprune_cli.images.image import read_image
from qprune_cli.use import apply as module
from qprune_cli.use.apply import Settings, apply
from qprune_cli.use.load import load_run

RNG = np.random.default_rng(0)
SMALL = Settings(tile=64, overlap=32)


def photo(path: Path, height: int = 40, width: int = 50, channels: int = 3, dtype: type = np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = RNG.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype)
    path.write_bytes(imagecodecs.png_encode(array))
    return path


@pytest.fixture
def album(tmp_path) -> Path:
    """Photographs of several sizes and formats, in sub-folders, among hidden files."""
    folder = tmp_path / "album"
    for name, size in {"a.png": (40, 50), "day 1/b.PNG": (1, 1), "day 1/c/d.png": (70, 129), ".hidden/e.png": (9, 9)}.items():
        photo(folder / name, *size)
    photo(folder / "deep.png", dtype=np.uint16)
    (folder / ".DS_Store").write_text("hidden")
    Image.fromarray(RNG.integers(0, 255, (33, 44, 3), np.uint8)).save(folder / "day 1/f.jpg")
    return folder


NAMES = ["a.png", "day 1/b.PNG", "day 1/c/d.png", "day 1/f.jpg", "deep.png"]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


@pytest.mark.parametrize("network", ["small", "dense"])
def test_every_photograph_is_denoised_under_its_name(finished, album, tmp_path, network):
    before = contents(album)
    applied = apply(finished, album, tmp_path / "out", Settings(network=network, tile=64))
    assert names(tmp_path / "out") == NAMES and contents(album) == before
    assert len(applied.pixels) == 5 and applied.refused == [] and applied.there == 0
    assert sum(applied.pixels) == 2 * 40 * 50 + 1 + 70 * 129 + 33 * 44
    run = load_run(finished)
    model = run.model if network == "small" else run.dense().eval()
    for name, step in (("a.png", 255), ("deep.png", 65535), ("day 1/c/d.png", 255)):
        with torch.inference_mode():
            expected = model(torch.from_numpy(read_image(album / name, 3)[None]))[0].numpy().clip(0, 1)
        found = read_image(tmp_path / "out" / name, 3)
        assert found.shape == expected.shape
        if name != "day 1/c/d.png":  # larger than a tile
            assert np.abs(found - expected).max() < 0.5 / step + 1e-5
    assert imagecodecs.png_decode((tmp_path / "out/deep.png").read_bytes()).dtype == np.uint16


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_do_not_depend_on_the_number_of_jobs(finished, album, tmp_path, jobs):
    apply(finished, album, tmp_path / "one", Settings(tile=64, overlap=32, jobs=1))
    apply(finished, album, tmp_path / "some", Settings(tile=64, overlap=32, jobs=jobs))
    assert contents(tmp_path / "one") == contents(tmp_path / "some")


def test_what_cannot_be_read_is_named_and_the_rest_is_done(finished, album, tmp_path, capsys):
    (album / "notes.txt").write_text("hello")
    (album / "broken.png").write_bytes((album / "a.png").read_bytes()[:100])
    photo(album / "day 1" / "grey.png", channels=1)
    (album / "dangling.png").symlink_to(album / "nowhere.png")
    applied = apply(finished, album, tmp_path / "out", SMALL)
    assert names(tmp_path / "out") == NAMES
    os.mkfifo(album / "pipe.png")
    again = apply(finished, album, tmp_path / "again", SMALL)
    assert again.refused == [*applied.refused, f"{album / 'pipe.png'}: not an ordinary file; take it out"]
    said = capsys.readouterr().err
    assert len(applied.refused) == 4 and "4 left out, named above" in str(applied)
    reasons = {"notes.txt": "no image", "broken.png": "damaged", "grey.png": "1 channels", "dangling.png": "not an ordinary file"}
    for name, why in reasons.items():
        assert sum(name in line and why in line for line in applied.refused) == 1
        assert name in said


def test_a_photograph_that_the_network_does_not_take_is_left_out(finished, album, tmp_path, monkeypatch):
    def network(run, *_):
        class Choosy(torch.nn.Module):
            def forward(self, x):
                return x + (float("nan") if x.shape[-1] == 50 else 0)

        return Choosy()

    monkeypatch.setattr(module, "_network", network)
    applied = apply(finished, album, tmp_path / "out", SMALL)
    assert [line.split(": ")[0] for line in applied.refused] == [str(album / "a.png"), str(album / "deep.png")]
    assert "not finite" in applied.refused[0] and names(tmp_path / "out") == ["day 1/b.PNG", "day 1/c/d.png", "day 1/f.jpg"]


def test_files_that_are_there_are_passed_over(finished, album, tmp_path):
    out = tmp_path / "out"
    apply(finished, album, out, SMALL)
    (out / "a.png").write_text("mine")
    (out / "deep.png").unlink()
    applied = apply(finished, album, out, SMALL)
    assert (out / "a.png").read_text() == "mine" and (out / "deep.png").exists()
    assert applied.there == 4 and len(applied.pixels) == 1 and "4 were there already; --overwrite makes them anew" in str(applied)
    applied = apply(finished, album, out, Settings(tile=64, overlap=32, overwrite=True))
    assert applied.there == 0 and len(applied.pixels) == 5 and (out / "a.png").read_bytes() != b"mine"


def test_an_interrupted_folder_is_resumed(finished, album, tmp_path, monkeypatch):
    out, calls = tmp_path / "out", []
    apply(finished, album, tmp_path / "whole", SMALL)

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return denoise(*arguments)

    denoise = module.denoise
    monkeypatch.setattr(module, "denoise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        apply(finished, album, out, SMALL)
    assert names(out) == NAMES[:2]
    applied = apply(finished, album, out, SMALL)
    assert applied.there == 2 and contents(out) == contents(tmp_path / "whole")


def test_a_file_appears_only_when_it_is_complete(finished, album, tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(path, content):
        if "unfinished" in path.name and path.suffix == ".jpg":
            write(path, content[:10])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    applied = apply(finished, album, tmp_path / "out", SMALL)
    assert not (tmp_path / "out/day 1/f.jpg").exists() and len(applied.pixels) == 4
    assert len(applied.refused) == 1 and "No space left" in applied.refused[0]


def places(album: Path, tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "link").symlink_to(album)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "day 1").symlink_to(album / "day 1")
    (tmp_path / "file").write_text("a file")
    return {
        "equal": album,
        "written otherwise": album / "day 1" / "..",
        "inside": album / "day 1" / "out",
        "a link": tmp_path / "link",
        "below a link": tmp_path / "link" / "out",
        "a folder with a link": tmp_path / "mirror",
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "out",
    }


@pytest.mark.parametrize("overwrite", [False, True])
def test_results_among_the_photographs_are_refused_before_anything_is_done(album, tmp_path, overwrite):
    before, cases = contents(album), places(album, tmp_path)
    for name, place in cases.items():
        with pytest.raises(UserError, match=r"^--output .*; give (another|a) folder"):
            apply(tmp_path / "no run is needed", album, place, Settings(overwrite=overwrite))
        assert contents(album) == before, name


def test_an_input_inside_the_output_is_refused_only_where_photographs_would_be_overwritten(finished, album, tmp_path):
    photo(album / "album" / "a.png")
    with pytest.raises(UserError, match="in the input folder"):
        apply(finished, album, tmp_path, SMALL)
    (album / "album" / "a.png").unlink()
    assert len(apply(finished, album, tmp_path, SMALL).pixels) == 5
    assert names(album) == sorted([".DS_Store", ".hidden/e.png", *NAMES]) and (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text("a file"), "no such folder"),
        (lambda path: path.mkdir(), "holds no files"),
        (lambda path: photo(path / ".hidden.png"), "holds no files"),
    ],
)
def test_an_input_without_photographs_is_refused(finished, tmp_path, make, said):
    make(tmp_path / "in")
    with pytest.raises(UserError, match=f"--input .*{said}"):
        apply(finished, tmp_path / "in", tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_may_not_be_written_is_refused(finished, album, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match="may not be written"):
        apply(finished, album, tmp_path / "locked" / "out", SMALL)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network": "large"}, "--network large"),
        ({"jobs": 0}, "--jobs 0"),
        ({"tile": 50}, "--tile 50"),
        ({"tile": 64, "overlap": 64}, "--overlap 64"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        Settings(**settings)


def test_a_folder_that_is_no_run_is_refused_before_anything_is_written(album, tmp_path):
    with pytest.raises(UserError, match="give the folder of a finished"):
        apply(tmp_path, album, tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_photographs_than_jobs_are_in_memory(finished, tmp_path, monkeypatch, jobs):
    lock, held, most, read = threading.Lock(), set(), [], module.read_photo

    def reading(path, channels):
        with lock:
            held.add(path.name)
            most.append(len(held))
        return read(path, channels)

    def saving(photograph, result, applied):
        save(photograph, result, applied)
        with lock:
            held.remove(result.name)

    save = module._save
    monkeypatch.setattr(module, "read_photo", reading)
    monkeypatch.setattr(module, "_save", saving)
    for k in range(8):
        photo(tmp_path / "in" / f"{k}.png", 20, 20)
    applied = apply(finished, tmp_path / "in", tmp_path / "out", Settings(tile=64, overlap=32, jobs=jobs))
    assert len(applied.pixels) == 8 and not held and max(most) == jobs


def test_the_last_line_says_what_was_done(finished, album, tmp_path):
    applied = apply(finished, album, tmp_path / "out", SMALL)
    assert str(applied).startswith("5 denoised in ") and str(applied).endswith("megapixels per second)")
    assert json.dumps(applied.refused) == "[]"
