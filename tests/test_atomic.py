"""Files appear whole or not at all, and by one function alone."""

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qprune_cli.atomic import whole_file
from qprune_cli.record.folder import Folder

PACKAGE = Path(__file__).parents[1] / "qprune_cli"
RENAMING = {
    "atomic.py",
    "fetch/download.py",  # a part of a download stays when it is cut, to go on from
    "fetch/fetch.py",  # a folder, not a file: all that an archive holds
}


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("old")
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert (temporary.parent, temporary.suffix, path.read_text()) == (tmp_path, ".npz", "old")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_interrupted_block_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.txt"

    def write(text):
        with whole_file(path) as temporary:
            temporary.write_text(text)

    texts = [str(k) * 10_000 for k in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, texts))
    assert path.read_text() in texts and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_leaves_is_swept_up_by_the_next_one_in_the_folder(tmp_path):
    with whole_file(tmp_path / "finetuning-pruned-1.safetensors") as temporary:
        left = temporary.name
        temporary.write_text("whole")
    (tmp_path / left).write_text("half")
    assert left not in Folder(tmp_path).digests()
    with Folder(tmp_path).log():
        assert not (tmp_path / left).exists()


def renames(tree):
    """Calls that rename a file: ``path.replace(other)``, ``path.rename(other)``, ``os.replace``, ``shutil.move``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, node.func.value
            module = owner.id if isinstance(owner, ast.Name) else ""
            of_path = name in ("replace", "rename") and len(node.args) == 1 and not node.keywords
            if of_path or (module, name) in {("os", "replace"), ("os", "rename"), ("os", "renames"), ("shutil", "move")}:
                yield node


def test_nothing_else_renames_a_file_into_place():
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if any(renames(ast.parse(path.read_text())))}
    assert found == RENAMING
