"""Jobs are composed as Hydra composes them, and no slower than they must be."""

import pytest
from hydra import compose, initialize_config_dir

from qprune_cli.compose import jobs
from qprune_cli.compose.asked import compose_jobs
from qprune_cli.compose.jobs import Composer, freed, resolved
from qprune_cli.places import config_dir


@pytest.mark.parametrize(
    "words",
    [
        ["sparsity=0.3", "scorer=hybrid", "scorer.beta=0.7", "seed=3"],
        ["scale=tiny", "include=[a,b]", "data.camera.shot=[0,1]"],
        ["experiment=demo", "data.camera={shot: [0.1, 0.2]}", "refine=chain"],
        ["scorer=fisher", "scorer.loss=l1", "loss=mse", "exclude=[]"],
        ["model=mlp", "model.weights=null", "limits={a: [1, 2]}"],
        ["hydra.job.name=x", "sparsity=0.3"],
        ["data@transfer.data=digits", "transfer=retrain", "transfer.seeds=[0]"],
    ],
)
def test_a_job_is_what_hydra_makes_of_its_words(words):
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        whole = compose("run", freed(words), return_hydra_config=True)
        assert Composer("run").one(freed(words)) == resolved(whole, whole.hydra.runtime.choices)


def test_jobs_that_differ_in_values_alone_compose_their_components_once(monkeypatch):
    count = []
    monkeypatch.setattr(jobs, "compose", lambda *given, **named: count.append(given) or compose(*given, **named))
    found = compose_jobs("run", ["sparsity=0.25,0.5,0.75", "seed=0,1", "solver=greedy_taylor,random"], multirun=True).jobs
    assert len(found) == 12 and len({(job.settings["sparsity"], job.settings["seed"], job.components["solver"]) for job in found}) == 12
    assert len(count) == 3  # without a solver, and once with each


def test_lists_of_the_command_take_the_place_of_those_of_the_experiment():
    found = compose_jobs("run", ["experiment=paper_full", "solver=random,greedy_l1", "seed=7"])
    assert found.sweep is not None and found.sweep.title == "paper_full"
    assert {(job.components["solver"], job.settings["seed"]) for job in found.jobs} == {("random", 7), ("greedy_l1", 7)}
    assert {job.components["compensate"] for job in found.jobs} == {"none", "ridge"}


@pytest.mark.parametrize(("scale", "seeds", "model"), [("tiny", {0}, "half_unet_small"), ("cpu", {0, 1, 2}, "half_unet")])
@pytest.mark.parametrize("experiment", ["paper_full", "paper_layers", "ablation"])
def test_experiments_have_sizes(experiment, scale, seeds, model):
    found = compose_jobs("run", [f"experiment={experiment}", f"scale={scale}"]).jobs
    assert {job.settings["seed"] for job in found} == seeds and {job.components["model"] for job in found} == {model}


def test_the_largest_size_asks_for_data_and_weights():
    (job, *_) = compose_jobs("run", ["experiment=ablation", "scale=gpu"]).jobs
    assert job.components["data"] == "sidd"
    assert job.settings["data"]["root"] == "???" and job.settings["model"]["weights"] is None
