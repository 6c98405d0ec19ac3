"""`qprune report` as a user meets it, and the page that every run writes."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from qprune_cli import cli
from qprune_cli.errors import UserError
from qprune_cli.record.folder import Folder
from qprune_cli.report import write


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def test_it_prints_where_the_page_is_and_takes_the_place_of_an_earlier_one(copy, capsys):
    (copy / "report.html").write_text("old")
    assert cli.dispatch(["report", str(copy)]) == 0
    assert capsys.readouterr().out == f"{copy / 'report.html'}\n" and "</html>" in (copy / "report.html").read_text()


def test_a_page_may_go_elsewhere_and_replaces_nothing_unasked(copy, tmp_path):
    page = tmp_path / "new" / "page.html"
    assert cli.dispatch(["report", str(copy), "--output", str(page)]) == 0 and not (copy / "report.html").exists()
    with pytest.raises(UserError, match="there already"):
        cli.dispatch(["report", str(copy), "--output", str(page)])
    page.write_text("old")
    assert cli.dispatch(["report", str(copy), "--output", str(page), "--overwrite"]) == 0 and page.read_text() != "old"


@pytest.mark.parametrize(
    ("path", "message"), [("nowhere", "no such folder"), (".", "holds no run"), ("file", "a file"), ("evaluation", "not of a run")]
)
def test_what_is_no_run_gets_one_sentence(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "config.yaml").write_text("{run: x, data: y}")
    with pytest.raises(UserError, match=message) as caught:
        cli.dispatch(["report", path])
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_sentence(copy, monkeypatch):
    def full(self, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(UserError, match="No space left"):
        cli.dispatch(["report", str(copy)])


def test_a_page_that_cannot_be_made_never_spoils_a_run(copy, monkeypatch, caplog):
    def broken(parts, above):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(write, "run_page", broken)
    assert write.report_of_run(copy, {"files": {}}) is None
    assert "could not be made" in caplog.text and "ZeroDivisionError" in caplog.text


def test_digests_of_a_run_do_not_cover_what_may_be_written_anew(copy):
    files = set(json.loads((copy / "manifest.json").read_text())["files"])
    cli.dispatch(["report", str(copy)])
    assert set(Folder(copy).digests()) == files | {"manifest.json"}


def test_torch_is_not_loaded(copy):
    program = (
        "import sys; from qprune_cli import cli\n"
        f"assert cli.dispatch(['report', {str(copy)!r}]) == 0\n"
        "assert not {'torch', 'hydra', 'dimod'} & set(sys.modules), 'a heavy import'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ)
