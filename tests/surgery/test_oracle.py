"""Torch-Pruning as an independent opinion, where it supports the network."""

import numpy as np
import pytest
import torch
import torch_pruning
from torch import nn

from qprune_cli.graph.trace import trace
from qprune_cli.surgery.shrink import shrink
from scripts.zoo import ZOO, shaken

PRUNERS = {
    nn.Conv2d: torch_pruning.prune_conv_out_channels,
    nn.ConvTranspose2d: torch_pruning.prune_conv_out_channels,
    nn.Linear: torch_pruning.prune_linear_out_channels,
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ["Half-UNet", "Half-UNet Ghost", "DnCNN", "U-Net", "REDNet", "VGG-16-BN", "MLP"])
def test_coupled_filters_leave_what_torch_pruning_leaves(name, seed):
    entry = ZOO[name]
    torch.manual_seed(0)
    model, other = shaken(entry.narrow()), shaken(entry.narrow())
    other.load_state_dict(model.state_dict())
    image = torch.rand(2, *entry.shape)
    layout = trace(model, image, "group")
    keep = np.random.default_rng(seed).uniform(size=layout.n) < 0.6
    for part in layout.split(keep).values():
        part[0] = True
    small = shrink(model, layout, keep)
    for group, kept in zip(layout.groups, layout.split(keep).values(), strict=True):
        member = group.members[0]
        gone = [member.filters[k] for k in np.flatnonzero(~kept)]
        if gone:
            graph = torch_pruning.DependencyGraph().build_dependency(other, example_inputs=image)
            layer = other.get_submodule(member.layer)
            graph.get_pruning_group(layer, PRUNERS[type(layer)], idxs=gone).prune()
    ours, theirs = ({key: tuple(value.shape) for key, value in net.state_dict().items()} for net in (small, other))
    assert ours == theirs
