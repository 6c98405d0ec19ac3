import json
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qprune_cli.errors import UserError
from qprune_cli.record.folder import Folder, refuse_unwritable


def test_two_runs_never_share_a_folder(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: Folder.fresh(tmp_path / "runs", "same").path, range(20)))
    assert len(set(folders)) == 20 and all(folder.is_dir() for folder in folders)


def test_a_file_that_is_not_finished_never_has_its_name(tmp_path):
    folder = Folder.fresh(tmp_path, "run")
    folder.text("a.txt", "old")
    with pytest.raises(RuntimeError), folder.complete("a.txt") as path:
        path.write_text("half")
        raise RuntimeError
    assert (folder.path / "a.txt").read_text() == "old"


def test_numbers_of_numpy_go_into_json_and_nan_does_not(tmp_path):
    folder = Folder.fresh(tmp_path, "run")
    folder.json("a.json", {"a": np.float32(0.5), "b": np.arange(2), "c": np.bool_(True)})
    assert json.loads((folder.path / "a.json").read_text()) == {"a": 0.5, "b": [0, 1], "c": True}
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.json("b.json", {"a": float("nan")})
    assert not (folder.path / "b.json").exists()


def test_two_processes_never_work_in_one_folder(tmp_path):
    folder = Folder.fresh(tmp_path, "run")
    with folder.log(), pytest.raises(UserError, match="another process is at work"), Folder(folder.path).log():
        pass
    with Folder(folder.path).log():
        pass


def test_log_holds_what_went_wrong_and_the_terminal_does_not(tmp_path, caplog):
    folder = Folder.fresh(tmp_path, "run")
    with pytest.raises(ZeroDivisionError), folder.log():
        logging.getLogger("qprune_cli").warning("before")
        _ = 1 / 0
    assert "stopped" not in caplog.text
    log = (folder.path / "run.log").read_text()
    assert "before" in log and "ZeroDivisionError" in log


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda place, mode: False)
    with pytest.raises(UserError, match="may not be written"):
        refuse_unwritable(tmp_path / "runs")


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        refuse_unwritable(tmp_path / "file" / "runs")


def test_full_disk_is_one_sentence_and_an_earlier_file_stays(tmp_path):
    folder = Folder.fresh(tmp_path, "run")
    folder.text("a.txt", "old")
    with pytest.raises(UserError, match=r"a\.txt: cannot be written \(No space left"), folder.complete("a.txt"):
        raise OSError(28, "No space left on device")
    assert (folder.path / "a.txt").read_text() == "old"


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path):
    with pytest.raises(ValueError, match="stop"), Folder(tmp_path).complete("a.txt") as path:
        path.write_text("half")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []
