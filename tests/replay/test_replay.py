import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from qprune_cli.graph.network import Network
from qprune_cli.graph.trace import trace
from qprune_cli.replay.gated import GatedNetwork
from qprune_cli.replay.replay import Replay
from qprune_cli.surgery.silence import silence
from scripts.zoo import ZOO, shaken
from tests.surgery.test_shrink import Box, Middle
from tests.surgery.test_zoo import GRANULARITIES, random_mask, subject


def silenced(model, layout, keep, image):
    with torch.no_grad(), silence(model, layout, keep):
        return model(image)


def nearby(keep, seed, held=None):
    """Masks that differ from one in one filter, in two, in a tenth and in nearly all, of those that are held."""
    rng = np.random.default_rng(seed)
    held = np.ones_like(keep) if held is None else held
    for flips in (1, 2, max(3, len(keep) // 10), len(keep)):
        mask = keep.copy()
        mask[rng.choice(len(keep), flips, replace=False)] ^= True
        yield mask & held


def largest(found, expected):
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-3))


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("name", ZOO)
def test_replay_equals_the_silenced_network_for_any_mask(name, granularity):
    model, layout, image, _ = subject(name, granularity, torch.float64)
    network = GatedNetwork.of_dense(model, layout)
    for seed in range(2):
        keep = random_mask(layout, seed, 0.6)
        replay = Replay(network, keep, image)
        assert largest(replay.network_output, silenced(model, layout, keep, image)) < 1e-10
        for mask in nearby(keep, seed):
            assert largest(replay.at(mask), silenced(model, layout, mask, image)) < 1e-10
        assert torch.equal(replay.at(keep), replay.network_output)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("name", ZOO)
@pytest.mark.slow
def test_what_a_mask_leaves_equals_the_silenced_network_for_any_mask_inside(name, granularity):
    model, layout, image, _ = subject(name, granularity, torch.float64)
    network = Network(model, layout.shape, layout.wrap)
    for seed, share in enumerate((0.2, 0.5, 0.8)):
        held = random_mask(layout, seed, share)
        keep = held & random_mask(layout, seed + 9, 0.8)
        replay = Replay(GatedNetwork.of_mask(network, layout, held), keep, image)
        for mask in (keep, *nearby(keep, seed, held), np.zeros(layout.n, bool)):
            assert largest(replay.at(mask), silenced(model, layout, mask, image)) < 1e-10


def test_a_part_of_a_network_is_small():
    model, layout, _, _ = subject("Half-UNet", "filter", torch.float64)
    held = random_mask(layout, 0, 0.4)
    small = GatedNetwork.of_mask(Network(model, layout.shape), layout, held)
    assert sum(len(channels) for _, channels in small.gates.values()) == held.sum()


@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_order_changes_no_answer(channels_last):
    torch.manual_seed(0)
    model = shaken(ZOO["Half-UNet"].narrow())
    model = model.to(memory_format=torch.channels_last) if channels_last else model
    layout, image = trace(model), torch.rand(2, 3, 20, 26)
    keep = random_mask(layout, 0, 0.6)
    replay = Replay(GatedNetwork.of_dense(model, layout), keep, image)
    for mask in nearby(keep, 0):
        assert largest(replay.at(mask), silenced(model, layout, mask, image)) < 1e-5


def test_a_box_that_works_in_place_leaves_the_memory_as_it_is():
    model = shaken(Middle(lambda net, a, b: net.part(a) + b, part=Box())).double()
    layout, image = trace(model, wrap=["Box"]), torch.rand(1, 3, 8, 8, dtype=torch.float64)
    keep = np.arange(layout.n) % 3 > 0
    for network in (GatedNetwork.of_dense(model, layout), GatedNetwork.of_mask(Network(model, layout.shape, layout.wrap), layout, keep)):
        replay = Replay(network, keep, image)
        for mask in [keep & mask for mask in nearby(keep, 0)] * 2:
            assert largest(replay.at(mask), silenced(model, layout, mask, image)) < 1e-10


def macs(task):
    with FlopCounterMode(display=False) as counter:
        task()
    return counter.get_total_flops() // 2


def chain(*widths):
    convs = [nn.Conv2d(reads, gives, 3, padding=1) for reads, gives in zip((3, *widths), (*widths, 3), strict=True)]
    return nn.Sequential(*(layer for conv in convs for layer in (conv, nn.ReLU()))).eval()


def test_only_the_change_of_a_channel_is_convolved_and_nothing_before_it():
    torch.manual_seed(0)
    model, image = chain(8, 10, 12), torch.rand(1, 3, 7, 7)
    with torch.no_grad():
        for layer in model[::2]:
            layer.bias.add_(10)  # no filter is dead
    replay = Replay(GatedNetwork.of_dense(model, trace(model)), np.ones(30, bool), image)
    position = 9 * 7 * 7
    assert macs(lambda: replay.flipped(0)) == position * (1 * 10 + 10 * 12 + 12 * 3)
    assert macs(lambda: replay.flipped(8)) == position * (1 * 12 + 12 * 3)
    assert macs(lambda: replay.flipped(18)) == position * 3
    assert macs(lambda: replay.at(np.arange(30) > 1)) == position * (2 * 10 + 10 * 12 + 12 * 3)
    assert macs(lambda: replay.at(np.ones(30, bool))) == 0


def test_a_sum_hands_on_the_channels_that_changed():
    torch.manual_seed(0)
    model = shaken(Middle(lambda net, a, b: torch.relu(a + b) + nn.functional.max_pool2d(a, 3, 1, 1)))
    replay = Replay(GatedNetwork.of_dense(model, trace(model)), np.ones(12, bool), torch.rand(1, 3, 8, 8))
    assert {macs(lambda i=i: replay.flipped(i)) for i in range(12)} == {9 * 64 * 2}


def test_products_of_halves_show_a_convolution_what_changed():
    torch.manual_seed(0)
    model = shaken(Middle(lambda net, a, b: a[:, :3] * b[:, 3:], 3)).double()
    layout = trace(model)
    replay = Replay(GatedNetwork.of_dense(model, layout), np.ones(layout.n, bool), torch.rand(1, 3, 8, 8, dtype=torch.float64))
    assert macs(lambda: replay.flipped(0)) == 9 * 64 * 2
