"""The command line as a user meets it."""

import os
import re
import subprocess
import sys

import pytest
import torch

from qprune_cli import cli
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.errors import UserError
from qprune_cli.run.plan import RunPlan


def qprune(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "qprune_cli", *arguments], capture_output=True, text=True, cwd=cwd, env=os.environ | environment, check=False
    )


def test_help_names_every_command(capsys):
    assert cli.dispatch(["--help"]) == cli.dispatch([]) == 0
    out = capsys.readouterr().out
    assert all(f"qprune {command}" in out for command in cli.COMMANDS)


def test_list_shows_components_with_their_purpose(capsys):
    cli.dispatch(["list", "solver"])
    out = capsys.readouterr().out
    assert "annealing" in out and "capacity-driven search" in out and "scorer" not in out.split("\n")[0]


@pytest.mark.parametrize(
    ("alias", "solver", "scorer"),
    [
        ("hybrid_qubo", "Annealing", "Hybrid"),
        ("l1_qubo", "Annealing", "L1"),
        ("greedy_taylor", "Greedy", "Taylor"),
        ("greedy_l1", "Greedy", "L1"),
        ("greedy_fisher", "Greedy", "Fisher"),
        ("random", "Greedy", "Random"),
    ],
)
def test_aliases_are_a_solver_and_a_scorer(alias, solver, scorer):
    plan = RunPlan.of(compose_jobs("run", [f"solver={alias}"]).jobs[0])
    assert (type(plan.solver).__name__, type(plan.scorer).__name__) == (solver, scorer)
    assert (plan.scorer.beta > 0) == (alias in ("hybrid_qubo", "l1_qubo")) if hasattr(plan.scorer, "beta") else True


def test_an_alias_accepts_the_scorer_that_it_brings():
    assert compose_jobs("run", ["solver=hybrid_qubo", "scorer=hybrid"]).jobs[0].components["scorer"] == "hybrid"


def test_sweeps_are_composed_job_by_job():
    jobs = compose_jobs("run", ["sparsity=0.25,0.5", "solver=greedy_l1,random"], multirun=True).jobs
    assert [(job.settings["sparsity"], job.components["scorer"]) for job in jobs] == [
        (0.25, "l1"),
        (0.25, "random"),
        (0.5, "l1"),
        (0.5, "random"),
    ]


def test_sweeps_take_globs_over_names():
    jobs = compose_jobs("run", ["solver=glob(greedy_*)"], multirun=True).jobs
    assert {job.components["solver"] for job in jobs} == {"greedy_fisher", "greedy_l1", "greedy_taylor"}


def test_own_components_come_from_a_folder_of_configs(tmp_path):
    (tmp_path / "solver").mkdir()
    (tmp_path / "solver" / "mine.yaml").write_text(
        "# mine\n_target_: qprune_cli.solver.annealing.Annealing\nreads: 2\nsweeps: 3\nsteps: 4\n"
    )
    job = compose_jobs("run", ["solver=mine"], str(tmp_path)).jobs[0]
    assert job.component("solver").reads == 2 and job.components["solver"] == "mine"
    with pytest.raises(UserError, match="did you mean 'mine'"):
        compose_jobs("run", ["solver=mnie"], str(tmp_path))


def test_cfg_job_prints_the_configuration_from_any_folder(tmp_path):
    done = qprune("run", "--cfg", "job", "solver=greedy_taylor", "sparsity=0.3", cwd=tmp_path)
    assert done.returncode == 0 and "sparsity: 0.3" in done.stdout and "scorer.taylor.Taylor" in done.stdout
    assert not list(tmp_path.iterdir())


def test_help_of_run_shows_components_and_settings(tmp_path):
    done = qprune("run", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "hybrid_qubo" in done.stdout and "sparsity" in done.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("qprune ", {"run", "train", "list"}),
        ("qprune run solver=", {"solver=annealing", "solver=hybrid_qubo"}),
        ("qprune run solver=annealing solver.", {"solver.reads=", "solver.sweeps="}),
        ("qprune train experiment=", {"experiment=train_half_unet"}),
    ],
)
def test_bash_completion(line, expected, tmp_path):
    done = qprune("-sc", "query=bash", cwd=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert done.returncode == 0 and expected <= set(done.stdout.split())


def test_bash_completion_can_be_installed(tmp_path):
    done = qprune("-sc", "install=bash", cwd=tmp_path)
    assert done.returncode == 0 and "complete" in done.stdout
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0


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


def test_a_mistake_ends_with_exit_code_2_and_without_a_traceback(tmp_path):
    done = qprune("run", "sparsity=1.5", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("qprune: sparsity=1.5")


NETS = """
import torch
from torch import nn

def good(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))

def broken():
    raise RuntimeError("no such luck")

def words():
    return "a network"

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = good()
    def forward(self, x):
        if x.mean() > 0.5:
            return x
        return self.net(x)
"""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.factory=nets:nothing"], "'nets' has no function 'nothing'"),
        (["model.factory=nowhere:good"], "'nowhere' cannot be imported"),
        (["model.factory=nets:broken"], "it raised RuntimeError: no such luck"),
        (["model.factory=nets:words"], "it returned str"),
        (["model.factory=nets:good", "model.arguments.width=5"], r"'0.weight' has shape \(4, 3, 3, 3\), not \(5, 3, 3, 3\)"),
        (["model.factory=nets:good", "model.checkpoint=nothing.pth"], "no such file"),
        (["model.factory=nets:good", "sparsity=0.9"], "keep at least 1"),
        (["model.factory=nets:Branching"], r"at nets.py:\d+ `if x.mean\(\) > 0.5:`.*model.wrap="),
    ],
)
def test_a_custom_network_that_cannot_be_pruned_is_refused_before_anything_is_written(overrides, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("nets", None)
    import nets

    torch.save((nets.Branching() if "Branching" in overrides[0] else nets.good()).state_dict(), "weights.pth")
    job = ["qprune", "run", "data.crops=4", "model=custom", "model.checkpoint=weights.pth", *overrides, "output_root=out"]
    monkeypatch.setattr(sys, "argv", job)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("qprune: ") and said.count("\n") == 1
    assert re.search(message, said), said
    assert not (tmp_path / "out").exists()
