"""The command that a page shows makes the same settings again."""

import shlex
import subprocess
from importlib import import_module

import pytest

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.places import components
from qprune_cli.report.reference import methods, references
from qprune_cli.report.repeat import component, repeat_command, sweep_command
from qprune_cli.run.plan import RunPlan


def composed(words):
    job = compose_jobs("run", words).jobs[0]
    return job.settings | {"components": dict(job.components)}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["solver=hybrid_qubo", "sparsity=0.65", "seed=3"],
        ["solver=tabu", "scorer=hybrid_taylor", "refine=sequential_short", "compensate=none"],
        ["solver=mip", "model=mlp", "data=digits", "scorer.lambdas=[1,2.5]"],
        ["experiment=smoke", "loss=mse", "scorer.beta=0.1", "scorer=hybrid", "limits={encoder.*: [4, 64]}", "include=['enc*']"],
        ["finetune=distill", "finetune.steps=7", "baselines=standard", "baselines.draws=2"],
        ["baselines=standard", "baselines.scorers=[random,{taylor:{loss: mse}}]"],
        ["data=pairs", "data.root='/photos of mine/it\\'s'", "model.weights=null", "solver.reads=3", "solver=annealing"],
    ],
)
def test_the_command_composes_to_the_same_settings(words):
    config = composed(words)
    command = repeat_command(config)
    assert command.startswith("qprune run") and len(command) < 250
    shell = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True).stdout
    assert composed(shell.split("\0")[2:-1]) == config


def test_a_command_is_short_where_the_defaults_do():
    assert repeat_command(composed(["solver=hybrid_qubo"])) == "qprune run solver=hybrid_qubo sparsity=0.5"
    built = RunPlan.of(compose_jobs("run", ["solver=hybrid_qubo", "baselines=standard"]).jobs[0]).config  # as a run records it
    assert set(repeat_command(built).split()) == {"qprune", "run", "solver=hybrid_qubo", "baselines=standard", "sparsity=0.5"}


def test_components_of_other_folders_have_no_command():
    assert repeat_command(composed([]) | {"components": {"solver": "mine"}}) == ""


def test_a_sweep_is_repeated_as_lists(tmp_path):
    assert sweep_command(tmp_path) == ""
    told = '{"command": "run", "overrides": {"a": ["sparsity=0.25", "output_root=x"], "b": ["sparsity=0.5", "output_root=x"]}}'
    (tmp_path / "sweep.json").write_text(told)
    assert shlex.split(sweep_command(tmp_path)) == ["qprune", "run", "-m", "sparsity=0.25,0.5", f"hydra.sweep.dir={tmp_path}"]
    (tmp_path / "sweep.json").write_text(told.replace("0.5", "0.25"))
    assert sweep_command(tmp_path) == ""


@pytest.mark.parametrize("role", ["scorer", "solver", "refine", "compensate", "finetune", "baselines", "transfer"])
def test_every_component_is_described_and_its_references_are_those_of_its_docstring(role):
    for name in components(role):
        target = component(role, name)["_target_"]
        ((_, _, means, told),) = methods({"components": {role: name}, role: {"_target_": target}})
        module, _, last = target.rpartition(".")
        own = getattr(import_module(module), last).__doc__
        assert means and (told == references(own) or not references(own)), name
