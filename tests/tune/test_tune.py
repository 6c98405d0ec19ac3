"""A search from end to end, on the smallest network."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest

from qprune_cli import cli

pytest.importorskip("optuna")
SMALL = ["experiment=smoke", "~tune.space", "compensate=none", "solver=greedy", "fidelity=0", "latency=false", "certify=false"]


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
    rows = list(csv.DictReader((folder / "front.csv").open()))
    assert len(rows) == 2 and rows[1]["command"] == "the dense network" and float(rows[1]["macs_share"]) == 1
    assert "held_out_psnr" in rows[0] and "scorer=taylor" in rows[0]["command"] and (folder / rows[0]["folder"]).is_dir()
    before = finished(folder)
    assert cli.dispatch([word for word in words if "sparsity" not in word]) == 2
    assert finished(folder) == before and "2 finished" in capsys.readouterr().out
    with pytest.raises(cli.UserError, match="began otherwise"):
        cli.dispatch(words)


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on(tmp_path):
    words = [*SMALL, "scorer=taylor", "sparsity=interval(0.4,0.6)", "tune.trials=2", "tune.name=killed", f"output_root={tmp_path}"]
    command = [sys.executable, "-m", "qprune_cli", "tune", *words]
    folder = tmp_path / "tune" / "killed"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as process:
        for line in process.stdout:
            if line.startswith("1/2"):
                break
        while len(list(folder.glob("*/config.yaml"))) < 2:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    before, begun = finished(folder), {path.parent.name for path in folder.glob("*/config.yaml")}
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(before) == 1 and before.items() <= finished(folder).items()
    assert set(finished(folder)) == begun  # the killed trial was done, with the values that it had
    assert "1 finished" in done.stdout and "2/2" in done.stdout and "2 trials, 0 failed" in done.stdout
