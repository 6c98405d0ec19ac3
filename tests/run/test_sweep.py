"""Sweeps from the command line: what is shared, what is skipped, what a kill leaves, and that results stay the same."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qprune_cli import cli
from tests.processes import begun, ended, killed
from tests.runs import DIGITS, carried_out, made_once, read

SWEEP = [*DIGITS, "-m", "sparsity=0.25,0.5", "solver=greedy_taylor,random"]


def results(sweep: Path) -> dict[str, dict]:
    """What the jobs of a sweep found, without times."""
    jobs = [path.parent for path in sweep.glob("*/metrics.json")]
    return {job.name: {"stages": read(job)["stages"], "mask": np.load(job / "mask.npz")["keep"].tolist()} for job in jobs}


def only(root: Path) -> Path:
    (sweep,) = (root / "sweeps").iterdir()
    return sweep


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return only(made_once(tmp_path_factory, "uninterrupted", lambda folder: carried_out(*SWEEP, f"output_root={folder}")))


@pytest.fixture
def copied(uninterrupted, tmp_path):
    """A copy that may be added to; its root is the folder that it lies in."""
    return shutil.copytree(uninterrupted, tmp_path / "sweeps" / uninterrupted.name)


def test_jobs_share_what_they_have_in_common(uninterrupted):
    taken = [read(path.parent, path.name)["cache"] for path in uninterrupted.glob("*/manifest.json")]
    kinds = [sorted(line.split(":")[0] for line in one) for one in taken]
    assert len(kinds) == 4 and kinds.count(["quality", "quality", "scores"]) >= 2


def test_repeating_the_command_does_nothing_again(uninterrupted, capsys):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.glob("*/*")}
    code = cli.dispatch([*SWEEP[:-2], "solver=random,greedy_taylor", "sparsity=0.5,0.25", f"output_root={uninterrupted.parents[1]}"])
    assert code == 0 and "4 jobs (4 finished)" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.glob("*/*")} == before


def test_more_jobs_go_into_a_folder_that_is_named(copied, tmp_path, capsys):
    words = [f"hydra.sweep.dir={copied}", f"output_root={tmp_path}"]
    assert cli.dispatch([*DIGITS, "-m", "sparsity=0.5,0.6", "solver=random", *words]) == 0
    assert "2 jobs (1 finished)" in capsys.readouterr().out
    assert len(results(copied)) == 5


def test_without_the_cache_results_are_the_same(uninterrupted, tmp_path):
    assert cli.dispatch([*SWEEP[:-2], "sparsity=0.5", "solver=greedy_taylor", "cache=false", f"output_root={tmp_path}"]) == 0
    ((name, found),) = results(only(tmp_path)).items()
    assert results(uninterrupted)[name] == found
    assert read(only(tmp_path) / name, "manifest.json")["cache"] == []


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_same_results(uninterrupted, tmp_path, capsys):
    words = [*SWEEP, f"output_root={tmp_path}"]
    first = begun(*words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert killed(first, lambda: list(tmp_path.glob("sweeps/*/*/manifest.json"))) == -signal.SIGKILL
    time.sleep(1.5)  # its workers follow it
    sweep = only(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in sweep.glob("*/manifest.json")}
    assert len(before) < 4
    assert cli.dispatch(words) == 0
    assert f"{len(before)} finished" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert results(uninterrupted) == results(sweep) and len(results(sweep)) == 4
    assert not list(sweep.rglob("*unfinished*"))


@pytest.mark.slow
def test_two_sweeps_at_once_in_one_folder_do_each_job_once(uninterrupted, tmp_path):
    both = [begun(*SWEEP, f"output_root={tmp_path}", output=tmp_path / f"{k}.txt") for k in range(2)]
    assert [ended(process) for process in both] == [0, 0], [path.read_text() for path in tmp_path.glob("*.err")]
    sweep = only(tmp_path)
    assert results(uninterrupted) == results(sweep)
    logs = [path.read_text() for path in sweep.glob("*/run.log")]
    assert len(logs) == 4 and not any("Traceback" in log for log in logs)
    assert all(log.count("dense") == logs[0].count("dense") for log in logs), "a job was done twice"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local"])
def test_a_launcher_of_its_own_processes_gives_the_same(uninterrupted, tmp_path, launcher):
    words = [*SWEEP[:-2], "sparsity=0.25", "solver=greedy_taylor", f"hydra/launcher={launcher}", f"output_root={tmp_path}"]
    assert cli.dispatch(words) == 0
    ((name, found),) = results(only(tmp_path)).items()
    assert results(uninterrupted)[name] == found


@pytest.mark.slow
def test_trainings_are_swept_and_skipped_as_well(tmp_path, capsys):
    quick = ["train.steps=4", "train.validate_every=2", "data.crops=2", "data.crop_size=16"]
    words = ["train", "-m", "model=half_unet_small", *quick, "train.seed=0,1", f"output_root={tmp_path}"]
    assert [cli.dispatch(words), cli.dispatch(words)] == [0, 0]
    assert len(list(only(tmp_path).glob("*/model.safetensors"))) == 2
    assert "2 jobs (2 finished)" in capsys.readouterr().out and not (only(tmp_path) / "table.csv").exists()


def test_an_experiment_that_is_a_sweep_runs_as_one_and_takes_other_lists(tmp_path, capsys):
    words = ["experiment=ablation", "scale=tiny", "scorer=hybrid", "compensate=none", "refine=none", "scorer.beta=0.5", "sparsity=0.5"]
    assert cli.dispatch(["run", *words, f"output_root={tmp_path}"]) == 0
    assert "ablation" in only(tmp_path).name and "1 job" in capsys.readouterr().out


def test_a_worker_ends_with_the_process_that_started_it():
    worker = "import os, time; from qprune_cli.sweep.orphan import end_with; end_with(os.getppid()); print(os.getpid(), flush=True); "
    program = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', '{worker}time.sleep(600)']); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    number = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{number}").exists() and "State:\tZ" not in Path(f"/proc/{number}/status").read_text():
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra/launcher=jobli"], "did you mean 'joblib'"),
        (["hydra/sweeper=optuna"], "qprune tune"),
        (["hydra.sweep.subdir=x"], "hydra.sweep.dir=FOLDER"),
        (["solver=greedy,gredy"], "did you mean 'greedy'"),
        (["sparsity=0.5,1.5"], "sparsity=1.5"),
        (["scorer.beta=0,1"], "scorer.beta"),
        (["scale=huge"], "no such scale"),
        (["hydra/launcher=joblib", "hydra.launcher.n_job=2"], "did you mean 'hydra.launcher.n_jobs'"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=many"], "another kind"),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=0"], "cpus_per_task=0"),
        (["model.weights=nowhere.safetensors"], "no such file"),
    ],
)
@pytest.mark.slow
def test_mistakes_are_found_before_any_job_starts(tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.setattr("sys.argv", ["qprune", *DIGITS, "-m", *words, f"output_root={tmp_path}"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    error = capsys.readouterr().err
    assert end.value.code == 2 and said in error and "Traceback" not in error and not list(tmp_path.iterdir())


def test_a_launcher_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr("hydra._internal.config_loader_impl.ConfigLoaderImpl.get_group_options", lambda *_, **__: ["basic"])
    with pytest.raises(ValueError, match=r"hydra/launcher=submitit_slurm: is not installed; pip install 'qprune\[slurm\]'"):
        cli.dispatch(["run", "-m", "seed=0,1", "hydra/launcher=submitit_slurm"])
