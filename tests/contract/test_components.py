"""What every component of a role owes; components are found by their yaml files."""

import copy
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.errors import UserError
from qprune_cli.evaluate.masked import silenced_merit
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.graph.trace import trace
from qprune_cli.places import components, config_dir, roles
from qprune_cli.replay.metric import MaskMetric
from qprune_cli.search.evaluations import EvaluationLog
from qprune_cli.types import frozen
from tests.conftest import factored_problem, priced_problem, random_problem, write_pairs
from tests.data.test_sidd import write_scenes
from tests.images.labelled_files import write_cifar, write_idx

ROLES = ("data", "model", "scorer", "solver", "refine", "compensate", "finetune", "baselines", "transfer")
FACTORY = ["model.factory=qprune_cli.model.dncnn:DnCNNNetwork", "model.arguments={channels: 3, width: 4, depth: 3, batchnorm: true}"]
ROOT = ["data.root=."]
SMALL = ["scorer.outputs=300", "scorer.lambdas=[5]", "scorer.jobs=1"]  # programs of seconds
NEEDS = {"custom": FACTORY, "mip": SMALL} | dict.fromkeys(("pairs", "sidd", "mnist", "fashion_mnist", "cifar10"), ROOT)
NEEDS |= {"retrain": ["transfer.data.root=."]}

MACHINES = {("solver", "dwave"), ("solver", "leap")}


FEW = 60  # evaluations
# One component under two names: what it owes is looked at once, and that the names mean the same.
ALIASES = [(role, name) for role in ("solver", "refine") for name, purpose in components(role).items() if purpose.startswith("alias")]


def cases(*names):
    return [pytest.param(role, name, id=f"{role}={name}") for role in names for name in components(role)]


def kinds(role):
    """The components of a role, each under its first name."""
    return [name for name in components(role) if (role, name) not in ALIASES]


@cache
def composed(role, name, *overrides):
    if (role, name) in MACHINES:
        pytest.importorskip("dwave.system")
        pytest.skip("it needs an account of D-Wave")
    return compose_jobs("run", [f"{role}={name}", *NEEDS.get(name, []), *overrides]).jobs[0]


def built(role, name, *overrides):
    return composed(role, name, *overrides).component(role)


@pytest.mark.parametrize(("role", "name"), cases(*ROLES, "train"))
def test_yaml_states_every_field_and_says_what_it_is_for(role, name):
    values = OmegaConf.load(config_dir() / role / f"{name}.yaml")
    assert components(role)[name], "the first comment says what it is for"
    if "_target_" not in values:
        assert "alias" in components(role)[name]
        return
    stated = set(values) - {"_target_", "defaults"}
    assert stated == {field.name for field in fields(get_class(values._target_))}


@pytest.mark.parametrize(("role", "name"), cases(*ROLES))
def test_component_can_be_built_and_is_frozen(role, name):
    component = built(role, name)
    for field in fields(component):
        with pytest.raises(AttributeError):
            setattr(component, field.name, None)


@pytest.mark.parametrize(("role", "name"), cases(*ROLES))
def test_unknown_setting_is_refused(role, name):
    job = composed(role, name)
    section = job.settings[role] | {"unknown_setting": 1}
    with pytest.raises(UserError, match=f"{role}.unknown_setting: no such setting"):
        replace(job, settings=job.settings | {role: section}).component(role)


@pytest.mark.parametrize(("role", "name"), ALIASES)
def test_an_alias_is_the_component_that_it_names(role, name):
    stated = OmegaConf.load(config_dir() / role / f"{name}.yaml")
    few = [f"refine.evaluations={FEW}"] if role == "refine" else []  # how long it searches is all that may differ
    assert "_target_" not in stated
    assert built(role, name, *few) == built(role, stated.defaults[0], *few)


def test_every_role_is_covered():
    assert set(roles()) == {*ROLES, "train", "experiment", "scale"}


@pytest.mark.parametrize("name", kinds("solver"))
@pytest.mark.parametrize("signed", [False, True])
def test_solver_is_exact_repeatable_and_leaves_the_problem_alone(name, signed):
    solver = built("solver", name)
    for seed, budget, floor in ((0, 6, 1), (1, 12, 0), (2, 1, 0), (3, 9, 3), (4, 8, 2)):
        problem = random_problem(seed, budget=budget, floor=floor, signed=signed)
        before = problem.linear.copy()
        solved, again = solver.solve(problem, seed), solver.solve(problem, seed)
        assert solved.keep.sum() == budget and problem.feasible(solved.keep) and solved.feasible
        assert np.isclose(solved.damage, problem.damage(solved.keep[None])[0])
        assert solved.bound is None or solved.bound <= solved.damage + 1e-9
        assert np.array_equal(solved.keep, again.keep)
        assert np.array_equal(problem.linear, before)


@pytest.mark.parametrize("name", kinds("solver"))
@pytest.mark.parametrize("union", [False, True])
def test_solver_never_exceeds_a_cost_and_is_repeatable(name, union):
    solver = built("solver", name)
    if union and name == "scip":
        pytest.skip("it takes chains only, and says so")
    for seed, share in ((0, 0.6), (1, 0.3), (2, 0.95)):
        problem = priced_problem(seed, share=share, union=union, signed=seed == 2)
        solved, again = solver.solve(problem, seed), solver.solve(problem, seed)
        assert solved.feasible and problem.feasible(solved.keep) and problem.budget.spent(solved.keep) <= problem.budget.limit
        assert np.isclose(solved.damage, problem.damage(solved.keep[None])[0])
        assert solved.bound is None or solved.bound <= solved.damage + 1e-9
        assert np.array_equal(solved.keep, again.keep)


@pytest.mark.parametrize("name", kinds("solver"))
def test_solver_takes_couplings_across_layers(name):
    solver = built("solver", name)
    for seed in range(3):
        problem = factored_problem(seed)
        solved, again = solver.solve(problem, seed), solver.solve(problem, seed)
        assert solved.feasible and np.isclose(solved.damage, problem.damage(solved.keep[None])[0])
        assert solved.bound is None or solved.bound <= solved.damage + 1e-9
        assert np.array_equal(solved.keep, again.keep)


@pytest.mark.parametrize("masked", [False, True], ids=["dense", "masked"])
@pytest.mark.parametrize("name", components("scorer"))
def test_scorer_is_finite_repeatable_and_leaves_the_network_and_the_mask_alone(name, masked, small_model, small_layout, small_splits):
    scorer = built("scorer", name)
    before = {key: value.clone() for key, value in small_model.state_dict().items()}
    keep = np.arange(small_layout.n) % 3 > 0 if masked else None
    mask = None if keep is None else frozen(keep.copy())
    scores, again = (scorer.score(small_model, small_layout, small_splits, seed=3, keep=mask) for _ in range(2))
    assert mask is None or np.array_equal(mask, keep)
    assert scores.linear.shape == (small_layout.n,) and (scores.dead is None or scores.dead.shape == (small_layout.n,))
    weights, same = (one.pairs.entries(small_layout.n)[2] for one in (scores, again))
    assert np.isfinite(scores.linear).all() and np.isfinite(weights).all()
    assert np.array_equal(scores.linear, again.linear) and np.array_equal(weights, same)
    assert all(torch.equal(value, before[key]) for key, value in small_model.state_dict().items())
    assert not small_model.training and not any(module._forward_hooks for module in small_model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in small_model.parameters())


@pytest.mark.parametrize("name", components("scorer"))
def test_scorer_takes_a_mask_that_keeps_everything_for_none(name, small_model, small_layout, small_splits):
    scorer = built("scorer", name)
    everything = np.ones(small_layout.n, bool)
    dense, kept = (scorer.score(small_model, small_layout, small_splits, seed=3, keep=keep) for keep in (None, everything))
    assert np.array_equal(dense.linear, kept.linear)


@pytest.mark.parametrize("name", sorted(set(components("scorer")) - {"random", "l1", "l1_cosine"}))
def test_scorer_that_looks_at_images_refuses_a_damaged_network(name, small_model, small_layout, small_splits):
    damaged = copy.deepcopy(small_model)
    with torch.no_grad():
        next(damaged.parameters()).fill_(np.nan)
    with pytest.raises(UserError, match="not finite on the calibration images"):
        built("scorer", name).score(damaged, small_layout, small_splits, seed=0)


@pytest.mark.parametrize("name", kinds("refine"))
def test_refiner_is_never_worse_than_its_start_and_keeps_the_budget(name, small_model, small_layout, small_splits):
    rng = np.random.default_rng(0)
    problem = random_problem(0, widths=[group.channels for group in small_layout.groups], budget=small_layout.n // 2)
    start = problem.judge(rng.permutation(small_layout.n) < problem.budget.limit, seconds=0.0)
    images = small_splits.refinement
    few = [f"refine.evaluations={FEW}"] if hasattr(built("refine", name), "evaluations") else []
    refiner, found = built("refine", name, *few), []
    for _ in range(2):
        log = EvaluationLog(MaskMetric(Restoration(), small_model, small_layout, images, small_model), start.keep)
        found.append(refiner.refine(problem, start, log, seed=0))
    before, after = (silenced_merit(Restoration(), small_model, small_layout, keep, images) for keep in (start.keep, found[0].keep))
    assert after >= before - 1e-6 and problem.feasible(found[0].keep)
    assert np.array_equal(found[0].keep, found[1].keep)


@pytest.mark.parametrize("name", components("compensate"))
def test_compensation_never_hurts_on_the_refinement_images_and_leaves_the_network_alone(name, small_model, small_layout, small_splits):
    before = {key: value.clone() for key, value in small_model.state_dict().items()}
    for seed in range(3):
        keep = np.random.default_rng(seed).uniform(size=small_layout.n) < 0.7
        (fitted, _), (again, _) = (built("compensate", name).fit(small_model, small_layout, keep, small_splits, seed) for _ in range(2))
        psnr = [silenced_merit(Restoration(), model, small_layout, keep, small_splits.refinement) for model in (small_model, fitted)]
        assert psnr[1] >= psnr[0]
        assert {key: value.shape for key, value in fitted.state_dict().items()} == {key: value.shape for key, value in before.items()}
        assert all(torch.equal(value, again.state_dict()[key]) for key, value in fitted.state_dict().items())
    assert all(torch.equal(value, before[key]) for key, value in small_model.state_dict().items()) and not small_model.training


@pytest.mark.parametrize("name", components("model"))
def test_model_takes_its_images_and_has_filters_to_prune(name):
    component = built("model", name)
    trained = getattr(component, "weights", None)
    network = component.load() if trained else component.build().eval()
    assert not network.training
    classifies = getattr(component, "task", "denoise") == "classify"
    size = (component.side, component.side) if classifies else (19, 30)  # a denoiser takes any
    image = torch.zeros(2, component.channels, *size)
    assert trace(network, image if classifies else None).n > 0
    with torch.no_grad():
        assert network(image).shape == ((2, component.classes) if classifies else image.shape)
    if trained:
        first, second = (component.load().state_dict() for _ in range(2))
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", components("data"))
@pytest.mark.slow
def test_data_is_repeatable_and_its_images_are_float32_in_range(name, tmp_path):
    write_scenes(write_pairs(tmp_path) / "sidd")
    folders = {"pairs": tmp_path, "sidd": tmp_path / "sidd", "cifar10": write_cifar(tmp_path / "cifar")}
    folders |= dict.fromkeys(("mnist", "fashion_mnist"), write_idx(tmp_path / "idx"))
    where = [f"data.root={folders[name]}"] if name in folders else []
    classifies = getattr(built("data", name, *where), "task", "denoise") == "classify"
    few = ["data.calibration=10", "data.refinement=10"] if classifies else ["data.crop_size=16"] if name in folders else ["data.crops=4"]
    component = built("data", name, *where, *few)
    splits, again = component.load(seed=1), component.load(seed=1)
    assert splits.task == ("classify" if classifies else "denoise")
    for part in ("calibration", "refinement", "test"):
        images = getattr(splits, part)
        assert len(images) > 0 and len(set(images.names)) == len(images)
        for pair, same in zip(images.pairs, getattr(again, part).pairs, strict=True):
            assert pair.input.dtype == np.float32 and np.array_equal(pair.input, same.input)
            if classifies:
                assert pair.input.shape == (component.channels, component.side, component.side)
                assert pair.input.min() >= 0 and pair.input.max() <= 1
                assert pair.target.dtype == np.int64 and pair.target.shape == () and 0 <= pair.target < component.classes
                assert pair.target == same.target
            else:
                assert pair.target.dtype == np.float32 and pair.input.shape == pair.target.shape
                assert pair.target.min() >= 0 and pair.target.max() <= 1
    assert len(splits.train.draw(np.random.default_rng(0), 3, 16)) == 3
