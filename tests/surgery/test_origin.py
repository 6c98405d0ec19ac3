import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.graph.trace import trace
from qprune_cli.surgery.origin import origins
from qprune_cli.surgery.shrink import shrink


class Joined(nn.Module):
    """Two branches that are added, so that the smaller network may reorder what they keep."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(3, 12, 3, padding=1)
        self.up, self.last = nn.ConvTranspose2d(12, 6, 2, 2), nn.Conv2d(6, 3, 1)

    def forward(self, x):
        return self.last(torch.relu(self.up(torch.relu(self.first(x) + self.second(x)))))


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_the_smaller_network_are_those_filters_of_the_dense_one(seed):
    torch.manual_seed(seed)
    model = Joined().eval()
    layout = trace(model)
    keep = np.random.default_rng(seed).random(layout.n) < 0.5
    for group in layout.split(np.arange(layout.n)).values():
        keep[group[0]] = True
    found, small = origins(model, layout, keep), dict(shrink(model, layout, keep).named_modules())
    assert found.keys() == layout.masks(keep).keys()
    for name, numbers in found.items():
        assert sorted(numbers) == np.flatnonzero(layout.masks(keep)[name]).tolist()
        old, new = model.get_submodule(name).bias, small[name].bias
        assert torch.equal(new, old[torch.as_tensor(numbers)])
