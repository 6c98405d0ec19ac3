import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.cost.timing import Table, Timing
from qprune_cli.graph.trace import trace


def test_between_measured_widths_time_is_linear_and_beyond_them_it_stays():
    table = Table(np.array([1.0, 3.0]), np.array([2.0, 4.0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert table.at(1, 2) == 1 and table.at(2, 3) == pytest.approx(2.5) and table.at(9, 9) == 4


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 3, 3)),
        nn.Sequential(nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 3, groups=64), nn.ReLU(), nn.ConvTranspose2d(64, 3, 2, stride=2)),
    ],
)
@pytest.mark.slow
def test_the_dense_network_is_predicted_as_it_was_measured_and_a_smaller_one_below(model):
    layout = trace(model.eval(), torch.empty(1, 3, 32, 32))
    timing = Timing(model, layout, (3, 64, 64), threads=1)
    whole = np.ones(layout.n, bool)
    few = np.concatenate([np.arange(group.channels) < 2 for group in layout.groups])
    assert 0 < timing.milliseconds(few) < timing.milliseconds(whole)
    assert all((table.times > 0).all() for table in timing.tables.values())
