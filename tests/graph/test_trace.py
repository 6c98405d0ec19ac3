import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.errors import StructureError, UserError
from qprune_cli.graph.trace import trace
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.model.nafnet import NAFNet


def test_plain_half_unet_has_768_filters_in_12_layers():
    layout = trace(HalfUNet().build())
    assert layout.n == 768 and len(layout.groups) == 12
    assert layout.groups[0].layer == "encoder.0.0.conv" and layout.groups[0].gate == "encoder.0.0.act"


def test_ghost_half_unet_counts_depthwise_filters_as_well():
    assert trace(HalfUNet(ghost=True).build()).n == 768


def test_filters_that_are_the_output_stay():
    names = [group.layer for group in trace(HalfUNet(width=4, depth=2).build()).groups]
    assert "head" not in names


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 3, 1)), "no layer whose filters could go; '0' stays because it is the network's output"),
        (nn.Sequential(nn.ReLU()), "holds no convolution or linear layer"),
        (
            Branching(),
            r"torch.fx cannot follow its forward pass at test_trace.py:\d+ `return self.conv\(x\) if x.sum\(\) > 0 else x`.*wrap",
        ),
    ],
)
def test_networks_that_cannot_be_pruned_are_refused(model, message):
    with pytest.raises(StructureError, match=message):
        trace(model)


def test_example_states_the_channels_of_the_image():
    model = HalfUNet(width=4, depth=2).build()
    assert trace(model, torch.zeros(1, 3, 8, 8)).groups == trace(model).groups
    with pytest.raises(StructureError, match=r"does not take an input of shape \[1, 4, 8, 8\]"):
        trace(model, torch.zeros(1, 4, 8, 8))


def test_an_activation_shared_by_two_layers_is_not_taken_for_a_gate():
    act = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 4, 1), act, nn.Conv2d(4, 4, 1), act, nn.Conv2d(4, 3, 1))
    assert [group.gate for group in trace(model).groups] == ["0", "2"]
    assert torch.isfinite(model(torch.zeros(1, 3, 4, 4))).all()


def test_gate_lies_behind_norm_and_activation_as_far_as_nothing_else_reads():
    chain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.PReLU(), nn.Dropout(), nn.Conv2d(4, 3, 1))
    assert trace(chain).groups[0].gate == "3"


class Forked(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        y = self.conv(x)
        return self.head(y + self.norm(y).relu())


def test_gate_stays_at_the_layer_where_its_output_is_read_twice():
    (group,) = trace(Forked()).groups
    assert group.gate == "conv" and group.consumers == ("head",) and set(group.through) == {"BatchNorm2d", "relu", "add"}


def test_layers_that_the_user_names_stay():
    model = HalfUNet(width=4, depth=2).build()
    layout = trace(model, keep_layers=["encoder.0.*", "decoder.1"])
    assert [group.layer for group in layout.groups] == ["encoder.1.0.conv", "encoder.1.1.conv", "decoder.0.conv"]
    assert {fixed.layer: fixed.why for fixed in layout.fixed}["decoder.1.conv"] == "model.keep_layers names it"
    with pytest.raises(UserError, match=r"no layer of this network matches 'encode.0'; did you mean 'encoder"):
        trace(model, keep_layers=["encode.0"])


def test_what_a_norm_over_channels_reads_stays_but_not_both_branches_of_a_sum():
    layout = trace(NAFNet(width=4, encoder=(1,), middle=1, decoder=(1,)).build())
    reasons = {fixed.layer: fixed.why for fixed in layout.fixed}
    assert reasons.keys() == {"intro", "down.0", "ending"}
    assert reasons["intro"] == "it feeds layer_norm at 'layer_norm', which needs all of its channels"
    assert {"encoder.0.0.conv3", "encoder.0.0.conv5", "up.0.0"} <= {group.layer for group in layout.groups}


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        self.free = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.head(self.free(self.conv(self.conv(self.first(x)))))


def test_a_layer_that_is_used_twice_stays_and_so_does_what_it_reads():
    layout = trace(Twice())
    assert [group.layer for group in layout.groups] == ["free"]
    assert {fixed.layer: fixed.why for fixed in layout.fixed} == {
        "first": "it feeds Conv2d at 'conv', which needs all of its channels",
        "conv": "it is used several times, or shares its weights",
        "head": "it is the network's output",
    }


class Sorting(nn.Module):
    def forward(self, x):
        return x.sort(dim=1).values


def sorting_network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), Sorting(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))


@pytest.mark.parametrize("name", ["Sorting", "1"])
def test_a_black_box_is_kept_whole(name):
    layout = trace(sorting_network(), wrap=[name])
    assert [group.layer for group in layout.groups] == ["2"] and layout.wrap == (name,)


def test_a_function_can_be_a_black_box():
    model = Calling()
    with pytest.raises(StructureError, match="operation 'sort'"):
        trace(model)
    assert [group.layer for group in trace(model, wrap=["tests.graph.test_trace:sorted_channels"]).groups] == ["free"]


def sorted_channels(x):
    return x.sort(dim=1).values


class Calling(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.free, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(self.free(sorted_channels(self.conv(x))))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Sortin", "no module or class of this network is called 'Sortin'; did you mean 'Sorting'"),
        ("nowhere:f", "'nowhere:f' cannot be imported"),
    ],
)
def test_a_black_box_that_is_not_there_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        trace(sorting_network(), wrap=[name])


def test_a_container_that_is_never_called_is_no_black_box():
    with pytest.raises(UserError, match=r"'encoder' is never called as a whole; name its parts"):
        trace(HalfUNet(width=4, depth=2).build(), wrap=["encoder"])


class ByHand(nn.Module):
    def forward(self, x):
        return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)


def test_a_refusal_names_the_module_to_keep_whole():
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), ByHand(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1))
    with pytest.raises(StructureError, match=r"operation 'std'.*test_trace.py:\d+.*keep the module around it whole with model.wrap=\[1\]"):
        trace(inner)
    assert trace(inner, wrap=["1"]).n == 4
    with pytest.raises(StructureError, match=r"cannot follow .*keep the module around it whole with model.wrap=\[0\]"):
        trace(nn.Sequential(Branching(), nn.ReLU()))
    with pytest.raises(StructureError, match="move it into a module or function of its own"):
        trace(Branching())


@pytest.mark.parametrize(("wrapper", "message"), [(nn.DataParallel, r"give that one, model\.module"), (torch.compile, r"model\._orig_mod")])
def test_wrapped_networks_are_refused_with_the_way_out(wrapper, message):
    with pytest.raises(StructureError, match=message):
        trace(wrapper(HalfUNet(width=4, depth=2).build()))


def test_groups_join_what_meets_in_a_sum():
    layout = trace(HalfUNet(width=4, depth=3).build(), granularity="group")
    members = {group.layer: [member.layer for member in group.members] for group in layout.groups}
    assert members["encoder.0.1.conv"] == ["encoder.0.1.conv", "encoder.1.1.conv", "encoder.2.1.conv"]
    assert layout.n == 4 * 6 and layout.sizes.sum() == 32


def test_groups_follow_halves_of_a_gate():
    layout = trace(NAFNet(width=4, encoder=(1,), middle=1, decoder=(1,)).build(), granularity="group")
    group = next(group for group in layout.groups if group.layer == "encoder.0.0.conv1")
    assert [(member.layer.split(".")[-1], member.filters) for member in group.members[:2]] == [
        ("conv1", (0, 1, 2, 3)),
        ("conv1", (4, 5, 6, 7)),
    ]
    masks = layout.masks(np.arange(layout.n) != 0)
    assert masks["encoder.0.0.conv1"].tolist() == [False, True, True, True] * 2
    assert masks["encoder.0.0.attention.1"].tolist() == [False, True, True, True]


def test_an_unknown_granularity_is_refused():
    with pytest.raises(UserError, match="granularity=layer: no such granularity"):
        trace(HalfUNet(width=4, depth=2).build(), granularity="layer")


def test_tracing_leaves_the_network_as_it_is():
    model = HalfUNet(width=4, depth=2).build().train()
    model.pool.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trace(model)
    assert model.training and not model.pool.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
