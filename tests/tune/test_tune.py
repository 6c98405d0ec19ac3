"""A search from end to end, on the smallest network."""

import signal

import pytest

from qprune_cli import cli
from tests.processes import begun, killed
from tests.runs import QUICK, rows_of

pytest.importorskip("optuna")
SMALL = ["scale=tiny", "~tune.space", "compensate=none", "solver=greedy", *QUICK]


def finished(folder):
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/manifest.json")}


@pytest.mark.slow
def test_a_search_ends_with_a_front_tells_what_failed_and_is_not_done_twice(tmp_path, capsys):
    words = ["tune", *SMALL, "scorer=taylor", "floor=1,99", "sparsity=0.5,0.6", "tune.name=one", f"output_root={tmp_path}"]
    assert cli.dispatch([word for word in words if "sparsity" not in word]) == 2  # a floor that leaves nothing to take
    folder = tmp_path / "tune" / "one"
    out, err = capsys.readouterr()
    assert "2/2" in out and "floor=99" in err and len(finished(folder)) == 1
    assert [path.parent.name for path in folder.glob("*/failed.json")]
    rows = rows_of(folder, "front.csv")
    assert len(rows) == 2 and rows[1]["command"] == "the dense network" and float(rows[1]["macs_share"]) == 1
    assert "held_out_psnr" in rows[0] and "scorer=taylor" in rows[0]["command"] and (folder / rows[0]["folder"]).is_dir()
    before = finished(folder)
    assert cli.dispatch([word for word in words if "sparsity" not in word]) == 2
    assert finished(folder) == before and "2 finished" in capsys.readouterr().out
    with pytest.raises(cli.UserError, match="began otherwise"):
        cli.dispatch(words)


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on(tmp_path, capsys):
    words = ["tune", *SMALL, "scorer=taylor", "sparsity=interval(0.4,0.6)", "tune.trials=2", "tune.name=killed", f"output_root={tmp_path}"]
    folder, output = tmp_path / "tune" / "killed", tmp_path / "said.txt"

    def within_the_second():
        return output.exists() and "\n1/2" in f"\n{output.read_text()}" and len(list(folder.glob("*/config.yaml"))) == 2

    assert killed(begun(*words, output=output), within_the_second) == -signal.SIGKILL
    before, begun_folders = finished(folder), {path.parent.name for path in folder.glob("*/config.yaml")}
    assert cli.dispatch(words) == 0
    assert len(before) == 1 and before.items() <= finished(folder).items()
    assert set(finished(folder)) == begun_folders  # the killed trial was done, with the values that it had
    out = capsys.readouterr().out
    assert "1 finished" in out and "2/2" in out and "2 trials, 0 failed" in out
