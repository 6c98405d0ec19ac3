import os

import imagecodecs
import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.images import cache
from qprune_cli.images.cache import PatchCache, Patches
from qprune_cli.images.files import PairFiles
from qprune_cli.images.image import read_image
from tests.conftest import write_pairs


def pair_files(folder, count):
    return [PairFiles(str(k), folder / f"{k}_noisy.png", folder / f"{k}_clean.png") for k in range(count)]


@pytest.fixture
def files(tmp_path):
    return pair_files(write_pairs(tmp_path / "images", 3, side=50), 3)


def test_patches_cover_the_image_and_hold_its_pixels(tmp_path, files):
    (entry, *_) = PatchCache(tmp_path / "cache", 32, 99).entries(files, 3)
    patches = entry.patches()
    assert patches.shape == (2, 4, 3, 32, 32) and patches.dtype == np.uint8
    whole = read_image(files[0].noisy, 3)
    assert np.array_equal(patches[0, 0] / np.float32(255), whole[:, :32, :32])
    assert np.array_equal(patches[0, 3] / np.float32(255), whole[:, 18:, 18:])


def test_files_are_decoded_once(tmp_path, files, monkeypatch):
    folder = PatchCache(tmp_path / "cache", 32, 99)
    first = folder.entries(files, 3)
    monkeypatch.setattr(PairFiles, "contents", lambda self: pytest.fail("read again"))
    assert folder.entries(files, 3) == first


def test_patches_are_found_by_content_wherever_the_files_lie(tmp_path, files, monkeypatch):
    folder = PatchCache(tmp_path / "cache", 32, 99)
    first = folder.entries(files, 3)
    (tmp_path / "images").rename(tmp_path / "moved")
    monkeypatch.setattr(PairFiles, "decode", lambda *_: pytest.fail("decoded again"))
    assert [entry.path for entry in folder.entries(pair_files(tmp_path / "moved", 3), 3)] == [entry.path for entry in first]


def test_changed_file_is_cut_anew(tmp_path, files):
    folder = PatchCache(tmp_path / "cache", 32, 99)
    before = folder.entries(files, 3)[0].path
    files[0].noisy.write_bytes(files[1].noisy.read_bytes())
    os.utime(files[0].noisy, ns=(1, 1))
    after = folder.entries(files, 3)
    assert after[0].path != before
    assert np.array_equal(after[0].patches()[0], after[1].patches()[0])


@pytest.mark.parametrize("other", [PatchCache("", 16, 99), PatchCache("", 32, 1)])
def test_other_settings_have_other_patches(tmp_path, files, other):
    first = PatchCache(tmp_path, 32, 99).entries(files, 3)
    second = PatchCache(tmp_path, other.size, other.most).entries(files, 3)
    assert {entry.path for entry in first}.isdisjoint(entry.path for entry in second)


def test_crops_are_repeatable_and_take_turns(tmp_path, files):
    patches = Patches(PatchCache(tmp_path, 32, 99).entries(files, 3))
    first, second = (patches.draw(np.random.default_rng(1), 7, 16) for _ in range(2))
    assert all(np.array_equal(a.input, b.input) for a, b in zip(first.pairs, second.pairs, strict=True))
    names = [name.split("_")[0] for name in first.names]
    assert {names.count(name) for name in "012"} == {2, 3}
    assert first.pairs[0].input.dtype == np.float32 and first.pairs[0].input.shape == (3, 16, 16)


def test_full_disk_is_one_sentence_and_leaves_nothing_half(tmp_path, files, monkeypatch):
    def full(path, patches):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_save", full)
    with pytest.raises(UserError, match=r"data\.cache: cannot write patches .*No space left.*data\.cache=FOLDER"):
        PatchCache(tmp_path / "cache", 32, 99).entries(files, 3)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_place_of_the_cache_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("QPRUNE_CACHE", str(tmp_path / "a"))
    assert PatchCache.at(None, 1, 1).folder == tmp_path / "a"
    assert PatchCache.at(str(tmp_path / "b"), 1, 1).folder == tmp_path / "b"
    monkeypatch.delenv("QPRUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert PatchCache.at(None, 1, 1).folder == tmp_path / "c" / "qprune"


def test_eight_and_sixteen_bits_in_one_pair_keep_their_scales(tmp_path):
    pixels = np.full((40, 40, 3), 128, np.uint8)
    (tmp_path / "0_noisy.png").write_bytes(imagecodecs.png_encode(pixels))
    (tmp_path / "0_clean.png").write_bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 257))
    crop = Patches(PatchCache(tmp_path / "cache", 32, 9).entries(pair_files(tmp_path, 1), 3)).draw(np.random.default_rng(0), 1, 16).pairs[0]
    assert np.allclose(crop.input, 128 / 255) and np.allclose(crop.target, 128 / 255)


def test_equal_pairs_do_not_get_in_each_others_way(tmp_path):
    write_pairs(tmp_path, 1, side=200)
    one = pair_files(tmp_path, 1)[0]
    for attempt in range(5):
        entries = PatchCache(tmp_path / f"cache{attempt}", 64, 99).entries([one] * 8, 3)
        assert len({entry.path for entry in entries}) == 1 and entries[0].patches().shape[1] == 16


def test_patches_cut_short_are_cut_anew(tmp_path, files):
    folder = PatchCache(tmp_path / "cache", 32, 99)
    path = folder.entries(files, 3)[0].path
    whole = path.read_bytes()
    for broken in (b"", whole[:200], whole[:-1]):
        cache._mapped.cache_clear()
        path.write_bytes(broken)
        assert folder.entries(files, 3)[0].path.read_bytes() == whole


def test_cache_below_a_file_is_one_sentence(tmp_path, files):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data\.cache: cannot write patches"):
        PatchCache(tmp_path / "file" / "cache", 32, 99).entries(files, 3)
