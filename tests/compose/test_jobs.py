"""Jobs are composed as Hydra composes them, and no slower than they must be."""

import pytest
from hydra import compose, initialize_config_dir

from qprune_cli.compose import composer
from qprune_cli.compose.composer import Composer, resolved
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.compose.keys import freed
from qprune_cli.errors import UserError
from qprune_cli.places import config_dir
from qprune_cli.run.plan import RunPlan

# One value in the place of each of their lists: what a size changes is the same for all.
EXPERIMENTS = {
    "paper_full": ["solver=random", "compensate=none"],
    "paper_layers": ["include=['encoder.0.*']", "refine=none"],
    "ablation": ["scorer=hybrid", "scorer.beta=0", "compensate=none", "refine=none"],
}


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


def test_jobs_that_differ_in_values_alone_compose_their_components_once(monkeypatch):
    count, original = [], composer.compose
    monkeypatch.setattr(composer, "compose", lambda *arguments: count.append(arguments) or original(*arguments))
    jobs = compose_jobs("run", ["sparsity=0.25,0.5,0.75", "seed=0,1", "solver=greedy_taylor,random"], multirun=True).jobs
    assert len(jobs) == 12 and len({(job.settings["sparsity"], job.settings["seed"], job.components["solver"]) for job in jobs}) == 12
    assert len(count) == 3  # without a solver, and once with each


def test_lists_of_the_command_take_the_place_of_those_of_the_experiment():
    composed = compose_jobs("run", ["experiment=paper_full", "solver=random,greedy_l1", "seed=7"])
    assert composed.sweep is not None and composed.sweep.title == "paper_full"
    assert {(job.components["solver"], job.settings["seed"]) for job in composed.jobs} == {("random", 7), ("greedy_l1", 7)}
    assert {job.components["compensate"] for job in composed.jobs} == {"none", "ridge"}


@pytest.mark.parametrize(("scale", "seeds", "model"), [("tiny", {0}, "half_unet_small"), ("cpu", {0, 1, 2}, "half_unet")])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.slow
def test_experiments_have_sizes(experiment, scale, seeds, model):
    jobs = compose_jobs("run", [f"experiment={experiment}", f"scale={scale}", *EXPERIMENTS[experiment]]).jobs
    assert {job.settings["seed"] for job in jobs} == seeds and {job.components["model"] for job in jobs} == {model}


def test_the_largest_size_asks_for_data_and_weights():
    job, *others = compose_jobs("run", ["experiment=ablation", "scale=gpu", *EXPERIMENTS["ablation"]]).jobs
    assert {one.settings["seed"] for one in (job, *others)} == {0, 1, 2, 3, 4}
    assert job.components["data"] == "sidd"
    assert job.settings["data"]["root"] == "???" and job.settings["model"]["weights"] is None
