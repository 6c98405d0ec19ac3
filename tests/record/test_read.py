"""Result folders are read by one room, which says of every file what is wrong with it."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from qprune_cli.record.folder import Folder, file_digest
from qprune_cli.record.read import Unreadable, read_arrays, read_content, read_images, read_json, read_rows, read_settings

PACKAGE = Path(__file__).parents[2] / "qprune_cli"
PARSERS = {("json", "load"), ("json", "loads"), ("yaml", "load"), ("yaml", "safe_load"), ("np", "load")}
PARSERS |= {("csv", "reader"), ("csv", "DictReader"), ("pd", "read_csv")}
OTHERS = {  # who parses something else
    "cache/listing.py": "results that runs share",
    "cache/shared.py": "its own values, to make them plain",
    "cache/store.py": "results that runs share",
    "compare/settings.py": "what a user types",
    "images/cache.py": "patches of images",
    "record/refinement.py": "what a refinement keeps for itself until it ends",
    "report/repeat.py": "the configs that ship with qprune",
    "run/plan.py": "its own values, to make them plain",
    "train/state.py": "what a training keeps for itself until it ends",
    "weights/checkpoint.py": "checkpoints",
}


def test_files_are_read_as_they_were_written(tmp_path):
    folder = Folder(tmp_path)
    folder.json("a.json", {"a": [1, 2.5]})
    folder.text("config.yaml", yaml.safe_dump({"sparsity": 0.5}))
    folder.arrays("a.npz", {"keep": np.array([True, False])})
    folder.table("a.csv", [{"x": 1, "y": "one"}])
    rows = [{"image": name, "stage": stage, "psnr": 0.1 + 0.2} for stage in ("identity", "dense") for name in ("001", "NA")]
    folder.table("images.csv", rows)
    assert read_json(tmp_path, "a.json") == {"a": [1, 2.5]} and read_settings(tmp_path) == {"sparsity": 0.5}
    assert read_arrays(tmp_path, "a.npz")["keep"].tolist() == [True, False]
    assert read_rows(tmp_path, "a.csv") == [{"x": "1", "y": "one"}]
    names, values = read_images(tmp_path)
    assert names == ("001", "NA") and values["dense"]["psnr"].tolist() == [0.1 + 0.2] * 2


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (read_content, "a.json"),
        (read_json, "a.json"),
        (read_arrays, "a.npz"),
        (read_rows, "a.csv"),
        (lambda folder, _: read_settings(folder), "config.yaml"),
        (lambda folder, _: read_images(folder), "images.csv"),
    ],
)
def test_a_missing_file_is_named(tmp_path, read, name):
    with pytest.raises(Unreadable, match=f"{name} is missing or not readable") as caught:
        read(tmp_path, name)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize(
    ("read", "name", "content"),
    [
        (read_json, "a.json", b"{"),
        (read_json, "a.json", b"\xff"),
        (read_json, "a.json", b"[" * 100_000),
        (read_json, "a.json", b"[]"),
        (lambda folder, _: read_settings(folder), "config.yaml", b"data: ["),
        (lambda folder, _: read_settings(folder), "config.yaml", b""),
        (read_arrays, "a.npz", b""),
        (read_arrays, "a.npz", b"PK\x03\x04"),
        (read_rows, "a.csv", b"\xff"),
        (lambda folder, _: read_images(folder), "images.csv", b"image,stage,psnr\na,dense,1.0\n"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, read, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable, match=f"{name} is damaged"):
        read(tmp_path, name)


def test_a_pickle_is_never_opened(tmp_path):
    np.savez(tmp_path / "a.npz", evil=np.array([object()]))
    with pytest.raises(Unreadable, match="damaged"):
        read_arrays(tmp_path, "a.npz")


def test_an_altered_file_is_refused_where_the_manifest_lists_it(tmp_path):
    Folder(tmp_path).json("a.json", {"a": 1})
    digests = {"a.json": file_digest(tmp_path / "a.json")}
    assert read_json(tmp_path, "a.json", digests) == {"a": 1}
    Folder(tmp_path).json("a.json", {"a": 2})
    with pytest.raises(Unreadable, match=r"a\.json is damaged, or altered since the run wrote it"):
        read_json(tmp_path, "a.json", digests)
    assert read_json(tmp_path, "a.json", {"other.json": "0"}) == {"a": 2}


def parses(tree):
    """Calls that parse a file of one of the kinds that a run writes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in PARSERS:
            yield node


def test_nobody_else_parses_files_of_a_run():
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if any(parses(ast.parse(path.read_text())))}
    assert found == {"record/read.py", *OTHERS}


def test_whoever_reads_no_images_starts_without_pandas():
    program = "import sys, qprune_cli.record.read; assert not {'pandas', 'torch', 'scipy'} & set(sys.modules), 'a heavy import'"
    subprocess.run([sys.executable, "-c", program], check=True)
