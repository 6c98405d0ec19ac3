"""Programs of whole networks give what the networks give."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qprune_cli.program.build import Formulation, _propagated, joint_program, layer_program
from qprune_cli.program.builder import ProgramBuilder
from qprune_cli.program.network import ReluNetwork, simulate
from qprune_cli.program.solve import solve
from tests.program.networks import lively, numbers_of, random_mask, random_mlp, samples, silenced


class Residual(nn.Module):
    """A sum with a ReLU behind it, an up-sampling function, and a concatenation."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(6, 1, 1)
        self.act, self.behind = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        a = self.act(self.first(F.avg_pool2d(x, 2)))
        b = self.behind(a + self.second(a))
        up = F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(torch.cat([up, F.interpolate(a, scale_factor=2)], dim=1)) + x


class Functions(nn.Module):
    """ReLUs as functions, so that gates lie before them; a value that is used twice in a sum; a view."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3), nn.Linear(8, 2)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = torch.relu(self.second(x + x + (1 - 0.5 * x)))
        return self.last(x.view(x.size(0), -1)) / 2


NETWORKS = {
    "MLP": ((12,), lambda: nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))),
    "average pooling": (
        (1, 6, 6),
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
            *(nn.Flatten(), nn.Linear(3, 3)),
        ),
    ),
    "max pooling": (
        (1, 6, 6),
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()),
            *(nn.MaxPool2d(2, padding=1), nn.Flatten(), nn.Linear(12, 3)),
        ),
    ),
    "BatchNorm": (
        (1, 6, 6),
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3)),
        ),
    ),
    "BatchNorm without ReLU": (
        (1, 6, 6),
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Conv2d(2, 1, 1)),
    ),
    "bilinear nn.Upsample": (
        (1, 6, 6),
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
            *(nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"), nn.ReLU(), nn.Conv2d(2, 1, 1)),
        ),
    ),
    "transposed convolution": (
        (1, 6, 6),
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(3, 2, 2, stride=2), nn.ReLU(), nn.Conv2d(2, 1, 1)
        ),
    ),
    "groups": (
        (2, 6, 6),
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 1, 1)),
    ),
    "residual, interpolate, concatenation": ((1, 6, 6), Residual),
    "functions": ((1, 6, 6), Functions),
}


def program_outputs(network, x, scores, how=None):
    wanted = np.zeros((len(x), len(network.ops[-1].constant)))
    program = joint_program(network, x, wanted, 1.0, how or Formulation(loss="l1"), np.ones(network.n, bool))
    solved = solve(program.at(scores), 600)
    return None if solved.x is None else program.outputs_of(solved.x).reshape(len(x), -1)


@pytest.mark.parametrize("name", NETWORKS)
def test_valid_program_gives_what_the_network_gives_whole_and_silenced(name):
    shape, build = NETWORKS[name]
    model = lively(build())
    double, layout, network = numbers_of(model, shape)
    x = np.random.default_rng(0).uniform(size=(2, *shape))
    flat = x.reshape(2, -1)
    for scores in (np.ones(network.n), random_mask(0, network.n), random_mask(1, network.n, 0.3), np.zeros(network.n)):
        expected = silenced(double, layout, x, scores)
        assert np.allclose(simulate(network, flat, scores)[-1], expected, atol=1e-9)
        outputs = program_outputs(network, flat, scores)
        assert outputs is not None and np.abs(outputs - expected).max() < 1e-5
    with torch.no_grad():
        assert np.allclose(simulate(network, flat, np.ones(network.n))[-1], double(torch.from_numpy(x)).flatten(1).numpy(), atol=1e-9)


def test_published_gate_gives_the_uncut_network():
    for seed in range(5):
        network, x = random_mlp(seed), samples(seed)
        outputs = program_outputs(network, x, np.ones(network.n), Formulation(gate="published", loss="l1"))
        assert np.abs(outputs - simulate(network, x, np.ones(network.n))[-1]).max() < 1e-4


def test_published_gate_is_wrong_or_infeasible_for_most_masks_and_the_valid_one_is_exact_for_all():
    wrong, masks = 0, 8
    for seed in range(masks):
        network, x, scores = random_mlp(seed), samples(seed), random_mask(seed, 10)
        expected = simulate(network, x, scores)[-1]
        outputs = {gate: program_outputs(network, x, scores, Formulation(gate=gate, loss="l1")) for gate in ("valid", "published")}
        assert outputs["valid"] is not None and np.abs(outputs["valid"] - expected).max() < 1e-5
        wrong += outputs["published"] is None or np.abs(outputs["published"] - expected).max() > 1e-2
    assert wrong > masks / 2


def test_fixed_inputs_are_folded():
    network, x = random_mlp(0, (5, 6, 3)), samples(0)
    program = joint_program(network, x, np.zeros((3, 3)), 1.0, Formulation(loss="l1"), np.ones(6, bool))
    assert not program.integer.any() and set(program.outputs.indices) <= set(program.scores)
    assert len(program.cost) == 6 + 2 * 9  # the scores, and how far each output is above or below what is wanted
    assert np.allclose(program.outputs_of(np.append(np.ones(6), np.zeros(18))), simulate(network, x, np.ones(6))[-1].ravel())


def test_score_that_is_not_allowed_is_zero():
    network, x, allowed = random_mlp(1), samples(1), np.arange(10) % 3 > 0
    wanted = simulate(network, x, np.ones(10))[-1]
    for scores in ("continuous", "binary"):
        program = joint_program(network, x, wanted, 50.0, Formulation(loss="l1", scores=scores), allowed)
        solution = solve(program, 600).x[program.scores]
        assert np.allclose(solution[~allowed], 0) and solution[allowed].max() > 0.5


def bounds_of(network, x, tighten=0.0):
    """The network's last value in a program, with its bounds."""
    builder = ProgramBuilder()
    scores = builder.add_variables(np.zeros(network.n), np.ones(network.n))
    return _propagated(builder, network, x, scores, Formulation(), tighten)


def until(network, k):
    return ReluNetwork(network.ops[:k], network.layer_of, network.filters)


@pytest.mark.parametrize("tighten", [0.0, 5.0])
def test_bounds_hold_for_any_scores(tighten):
    rng, networks = np.random.default_rng(0), [random_mlp(seed) for seed in range(3)]
    networks.append(numbers_of(lively(NETWORKS["max pooling"][1]()), (1, 6, 6))[2])
    for network in networks[:: 2 if tighten else 1]:
        width = 36 if network is networks[-1] else 5
        x = rng.uniform(size=width)
        scores = [rng.random(network.n) for _ in range(50)] + [rng.random(network.n).round() for _ in range(50)]
        values = [simulate(network, x[None], s) for s in scores]
        for k in range(1, len(network.ops)) if not tighten else (4, len(network.ops) - 1):
            value = bounds_of(until(network, k + 1), x, tighten)
            reached = np.concatenate([one[k] for one in values])
            assert (reached >= value.low - 1e-6).all() and (reached <= value.high + 1e-6).all()


def test_tightened_bounds_are_no_looser_and_some_are_tighter():
    gained = 0.0
    for seed in range(3):
        network, x = random_mlp(seed, (5, 6, 5, 4, 3)), samples(seed)[0]
        loose, tight = bounds_of(network, x), bounds_of(network, x, 10.0)
        assert (tight.low >= loose.low - 1e-6).all() and (tight.high <= loose.high + 1e-6).all()
        gained += float((tight.low - loose.low + loose.high - tight.high).sum())
    assert gained > 0.1


def test_tightened_program_has_the_same_optimum():
    network, x = random_mlp(2), samples(2, count=2)
    objectives = []
    for tighten in (0.0, 5.0):
        program = joint_program(network, x, np.array([0, 1]), 2.0, Formulation(tighten=tighten), np.ones(10, bool))
        objectives.append(solve(program, 600).objective)
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-4)


def test_relaxation_is_never_above_the_program():
    network, x = random_mlp(3), samples(3)
    objectives = {}
    for relu in ("binary", "relaxed"):
        how = Formulation(relu=relu)
        program = joint_program(network, x, np.array([0, 1, 2]), 5.0, how, np.ones(10, bool))
        assert program.integer.any() == (relu == "binary")
        objectives[relu] = solve(program, 600).objective
    assert objectives["relaxed"] <= objectives["binary"] + 1e-6


def test_layer_program_gives_base_and_columns():
    rng = np.random.default_rng(0)
    columns, base = rng.normal(size=(12, 4)), rng.normal(size=12)
    program = layer_program(columns, base, base + columns.sum(axis=1), 3.0, Formulation(loss="l1"), 4)
    for scores in (np.ones(4), rng.random(4)):
        assert np.allclose(program.outputs_of(solve(program.at(scores), 600).x), base + columns @ scores, atol=1e-6)
    assert np.array_equal(program.relaxed().cost, program.cost) and not program.integer.any()


def test_high_price_keeps_all_that_counts_and_a_low_one_nothing():
    rng = np.random.default_rng(0)
    columns, base = np.hstack([rng.normal(size=(12, 3)), np.zeros((12, 1))]), rng.normal(size=12)
    solutions = []
    for price in (1e3, 1e-3):
        program = layer_program(columns, base, base + columns.sum(axis=1), price, Formulation(loss="l1"), 4)
        solutions.append(solve(program, 600).x[program.scores])
    assert np.allclose(solutions[0], [1, 1, 1, 0], atol=1e-5) and np.allclose(solutions[1], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("gate", "valld", "no such gate; did you mean 'valid'"),
        ("relu", "smooth", "no such relu"),
        ("loss", "mse", "no such loss"),
        ("sparsity_term", "none", "no such sparsity_term"),
        ("scores", "ternary", "no such scores"),
        ("epsilon", -1.0, "at least 0"),
        ("tighten", float("inf"), "at least 0"),
    ],
)
def test_unknown_word_or_number_is_one_sentence(setting, value, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        replace(Formulation(), **{setting: value})
    assert f"scorer.{setting}={value}" in str(caught.value) and "\n" not in str(caught.value)
