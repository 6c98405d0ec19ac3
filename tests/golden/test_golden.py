"""One layout, one mask, one quality: they change only on purpose, with the reason in the commit."""

import numpy as np
import pytest

from qprune_cli.graph.trace import trace
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.solver.annealing import Annealing
from tests.conftest import random_problem
from tests.runs import read


def test_layout():
    layout = trace(HalfUNet(width=8, depth=3).build())
    blocks = ("encoder.0.0", "encoder.0.1", "encoder.1.0", "encoder.1.1", "encoder.2.0", "encoder.2.1", "decoder.0", "decoder.1")
    assert [(group.layer, group.gate, group.channels) for group in layout.groups] == [(f"{b}.conv", f"{b}.act", 8) for b in blocks]


def test_mask():
    problem = random_problem(0, widths=(16,) * 4, budget=20)
    solved = Annealing().solve(problem, seed=0)
    assert np.flatnonzero(solved.keep).tolist() == MASK
    assert solved.damage == pytest.approx(DAMAGE)


@pytest.mark.slow
def test_quality(refitted):
    metrics = read(refitted)
    assert metrics["identity"]["psnr"]["mean"] == pytest.approx(IDENTITY, abs=0.01)
    assert {name: stage["psnr"]["mean"] for name, stage in metrics["stages"].items()} == pytest.approx(PSNR, abs=0.05)


MASK = [4, 5, 6, 10, 14, 17, 21, 25, 26, 31, 33, 37, 44, 46, 47, 50, 52, 54, 62, 63]
DAMAGE = 109.965467977
IDENTITY = 25.817
PSNR = {"dense": 28.148, "solved": 27.801, "refined": 27.801, "compensated": 27.967}
