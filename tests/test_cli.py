"""The command line as a user meets it."""

import subprocess
import sys

import pytest

from qprune_cli import cli
from qprune_cli.errors import UserError


@pytest.fixture
def answered(tmp_path, monkeypatch, capsys):
    """What a question is answered with; it leaves nothing behind."""
    monkeypatch.chdir(tmp_path)

    def ask(*arguments, **environment):
        monkeypatch.setattr(sys, "argv", ["qprune"])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            code = cli.dispatch([*arguments])
        except SystemExit as end:  # of Hydra's help
            code = end.code
        assert not code and not list(tmp_path.iterdir())
        return capsys.readouterr().out

    return ask


def test_help_names_every_command(capsys):
    assert cli.dispatch(["--help"]) == cli.dispatch([]) == 0
    out = capsys.readouterr().out
    assert all(f"qprune {command}" in out for command in cli.COMMANDS)


def test_cfg_job_prints_the_configuration_from_any_folder(answered):
    out = answered("run", "--cfg", "job", "solver=greedy_taylor", "sparsity=0.3")
    assert "sparsity: 0.3" in out and "scorer.taylor.Taylor" in out


def test_help_of_run_shows_components_and_settings(answered):
    out = answered("run", "--help")
    assert "hybrid_qubo" in out and "sparsity" in out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("qprune ", {"run", "train", "list"}),
        ("qprune run solver=", {"solver=annealing", "solver=hybrid_qubo"}),
        ("qprune run solver=annealing solver.", {"solver.reads=", "solver.sweeps="}),
        ("qprune train experiment=", {"experiment=train_half_unet"}),
    ],
)
def test_bash_completion(line, expected, answered):
    assert expected <= set(answered("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line))).split())


def test_bash_completion_can_be_installed(answered):
    out = answered("-sc", "install=bash")
    assert "complete" in out and subprocess.run(["bash", "-n"], input=out, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "did you mean 'run'"),
        (["run", "sparsity=1.5"], "sparsity=1.5: give the share of filters to remove, in [0, 1)"),
        (["run", "sparsity=-0.1"], "sparsity=-0.1"),
        (["run", "sparsity=nan"], "sparsity=nan"),
        (["run", "sparsity=half"], "sparsity"),
        (["run", "sparsty=0.5"], "did you mean 'sparsity'"),
        (["run", "solver=annealing", "solver.raeds=3"], "did you mean 'solver.reads'"),
        (["run", "+extra=3"], "extra: no such setting"),
        (["run", "solver=hybrid_quob"], "did you mean 'hybrid_qubo'"),
        (["run", "scorer=l1", "solver=hybrid_qubo"], "alias that brings scorer=hybrid"),
        (["run", "solver=annealing", "solver.reads=0"], "solver.reads=0"),
        (["run", "solver=annealing", "solver.reads=many"], "solver.reads"),
        (["run", "sparsity=0.3,0.5"], "sparsity"),
        (["run", "-m", "sparsity=0.3,1.5"], "sparsity=1.5"),
        (["run", "-m", "solver=greedy,gredy"], "did you mean 'greedy'"),
        (["run", "floor=-1"], "floor=-1"),
        (["run", "loss=pnsr"], "did you mean 'psnr'"),
        (["run", "budget=mac"], "budget=mac: no such budget; did you mean 'macs'"),
        (["run", "scope=all"], "scope=all: no such scope"),
        (["run", "rounds=0"], "rounds=0"),
        (["run", "limits={a: [3]}"], "limits: a: "),
        (["run", "device=gpu"], "device=gpu"),
        (["run", "data=pairs"], "data.root: a value is required"),
        (["run", "--from"], "--from: give the folder"),
        (["run", "--from", "nowhere"], "nowhere: holds no manifest.json"),
        (["run", "experiment=smok"], "did you mean 'smoke'"),
        (["train", "train.steps=0"], "train.steps=0"),
        (["train", "sparsity=0.5"], "sparsity: no such setting"),
        (["run", "+sorer.beta=3"], "did you mean 'scorer'"),
        (["run", "+solver@other=greedy"], "other: no such section"),
        (["run", "experiment=train_half_unet_small"], "train: no such section"),
        (["run", "~scorer"], "scorer: one component is required"),
        (["run", "scorer=null"], "scorer=null: no such scorer"),
        (["run", "-m", "--cfg", "job"], "leave --multirun, --from and --resume out"),
        (["run", "--config-path", "x"], "add yours with --config-dir"),
        (["run", "--config-dir", "nowhere"], "--config-dir nowhere: no such folder"),
        (["run", "--from", "x", "--cfg", "job"], "leave --multirun, --from and --resume out"),
        (["run", "--from=nowhere"], "nowhere: holds no manifest.json"),
        (["run", "experiment=train_half_unet"], "train: no such section"),
        (["run", "hydra.run.dir=x"], "output_root=FOLDER"),
        (["run", "sparsity=0.3,0.5"], "add -m"),
        (["run", "sparsity=[0.5"], "sparsity=[0.5: cannot be read"),
        (["run", "data.seed=-1"], "data.seed=-1"),
        (["run", "data.camera.shot=[0,1]"], "data.camera.shot"),
        (["run", "scorer=hybrid", "scorer.beta=inf"], "scorer.beta=inf"),
        (["run", "data.channels=1"], "model.channels=3: the images have 1"),
        (["run", f"output_root={'a' * 300}"], "output_root"),
        (["train", "model.weights=half_unet"], "training starts from fresh weights"),
        (["train", "train.precision=float16", "device=cpu"], "train.precision=float16: needs a CUDA device"),
        (["train", "--resume", "nowhere"], "nowhere: holds no config.yaml"),
        (["data", "check", "nowhere"], "nowhere: no such folder"),
        (["data", "fetch", "sidd"], "sidd: cannot be fetched"),
        (["data"], "the following arguments are required"),
        (["train", "train.seed=-1"], "train.seed=-1"),
        (["train", "train.weight_decay=-1"], "train.weight_decay=-1"),
        (["train", "train.crop=400"], "smaller than a crop of 400"),
        (["run", "--sparsity", "0.5"], "overrides are written key=value"),
        (["list", "solvers"], "did you mean 'solver'"),
    ],
)
def test_mistakes_get_one_sentence_and_nothing_is_written(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        cli.dispatch(arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_mistake_ends_with_exit_code_2_and_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "qprune_cli", "run", "sparsity=1.5"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("qprune: sparsity=1.5")
