"""The store: each result is computed once, whole or not at all, whoever asks."""

import os
import subprocess
import sys

import numpy as np
import pytest

from qprune_cli.cache import store as module
from qprune_cli.cache.listing import clear, kept, listing
from qprune_cli.cache.store import Entry, Store
from qprune_cli.errors import UserError


def never() -> Entry:
    pytest.fail("it is there already")


def made() -> Entry:
    return Entry({"a": np.arange(3), "b": np.array([True, False])}, {"warnings": ["one"]})


def test_a_result_comes_back_as_it_was(tmp_path):
    store = Store(tmp_path)
    first = store.recall("sums", {"of": [1, 2]}, "two", made)
    again = store.recall("sums", {"of": [1, 2]}, "two", never)
    assert (first.hit, again.hit) == (False, True) and again.notes == {"warnings": ["one"]}
    assert {name: (array.tolist(), array.dtype) for name, array in again.arrays.items()} == {
        name: (array.tolist(), array.dtype) for name, array in made().arrays.items()
    }


@pytest.mark.parametrize("other", [("sums", {"of": [2, 1]}), ("products", {"of": [1, 2]})])
def test_another_key_or_kind_is_another_result(tmp_path, other):
    store = Store(tmp_path)
    store.recall("sums", {"of": [1, 2]}, "two", made)
    assert not store.recall(*other, "two", made).hit


def test_other_code_or_versions_find_nothing(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.recall("sums", {}, "", made)
    monkeypatch.setattr(module, "code_digest", lambda: "other")
    assert not store.recall("sums", {}, "", made).hit
    monkeypatch.undo()
    monkeypatch.setattr(module, "version", lambda name: "0.0")
    assert not store.recall("sums", {}, "", made).hit


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"PK" + content[5:]])
def test_a_damaged_file_is_computed_anew(tmp_path, damage):
    store = Store(tmp_path)
    store.recall("sums", {}, "", made)
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    assert not store.recall("sums", {}, "", made).hit
    assert store.recall("sums", {}, "", never).hit


def test_an_error_leaves_nothing_behind(tmp_path):
    def fail() -> Entry:
        raise ValueError

    with pytest.raises(ValueError):
        Store(tmp_path).recall("sums", {}, "", fail)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_processes_that_ask_at_once_compute_once(tmp_path):
    program = (
        "import sys, time, numpy as np\nfrom pathlib import Path\nfrom qprune_cli.cache.store import Entry, Store\n"
        "def make():\n    print('made', flush=True); time.sleep(2)\n    return Entry({'a': np.arange(5)}, {})\n"
        "assert Store(Path(sys.argv[1])).recall('sums', {}, '', make).arrays['a'].tolist() == [0, 1, 2, 3, 4]\n"
    )
    asking = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0] for process in asking]
    assert [process.returncode for process in asking] == [0, 0, 0] and "".join(said).count("made") == 1
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".npz"]


def test_a_store_that_cannot_be_written_is_done_without(tmp_path, caplog, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert Store(tmp_path).recall("sums", {}, "", made).notes == made().notes
    assert "No space left on device" in caplog.text
    file = tmp_path / "file"
    file.touch()
    assert Store(file).recall("sums", {}, "", made).notes == made().notes


def test_the_cache_is_listed_and_cleared(tmp_path, monkeypatch):
    monkeypatch.setenv("QPRUNE_CACHE", str(tmp_path))
    store = Store.of_user(True)
    for key in range(2):
        store.recall("scores", {"key": key}, f"Taylor {key}", made)
    store.recall("quality", {}, "dense", made)
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "one.npy").write_bytes(b"x" * 2**20)
    assert "2 files" in listing(["scores"]) and "Taylor 1: 0.0 s" in listing(every=True) and "1.0 MiB" in listing(["patches"])
    with pytest.raises(UserError, match="did you mean 'scores'"):
        listing(["score"])
    old = next(one for one in kept() if one.kind == "quality").path
    os.utime(old, (0, 0))
    assert clear(days=30).endswith("1 file deleted, 1 KiB") and not old.exists()
    assert "2 files" in clear(["scores"]) and [one.kind for one in kept()] == ["patches"]


def test_without_a_store_everything_is_computed():
    assert not Store.of_user(False).recall("sums", {}, "", made).hit
