"""Single operations and corner cases; whole networks are in test_zoo.py."""

import operator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qprune_cli.cost.cost import Cost, footprint_of
from qprune_cli.errors import StructureError
from qprune_cli.graph.trace import trace
from qprune_cli.surgery.shrink import idle_filters, shrink
from scripts.zoo import difference, shaken


class Middle(nn.Module):
    """A convolution of 6 filters, something, and a head."""

    def __init__(self, something, width=6, head=None, **parts):
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
        self.something = something
        for name, part in parts.items():
            setattr(self, name, part)
        self.head = head or nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, x):
        return self.head(self.something(self, self.conv(x), self.other(x)))


def weights(*shape):
    return nn.Parameter(torch.rand(*shape))


def last(net, a, b):
    return net.part(a.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + b


def first_times_second(halves):
    return halves[0] * halves[1]


def spread(x, height):
    return F.adaptive_avg_pool2d(x, 1).expand(-1, -1, height, 12)


def changed_by(function):
    def changed(net, a, b):
        again = a
        function(a)
        return again * 2 + b

    return changed


def piece_in_place(net, a, b):
    first, second = torch.cat([a, b], 1).chunk(2, dim=1)
    first = F.relu(first, inplace=True)
    return torch.cat([first, second], 1)[:, 3:9]


def bias_elsewhere(net, a, b):
    return net.free(a.relu() * net.conv.bias.view(1, -1, 1, 1))


def shared_norm(net, a, b):
    return net.free(torch.cat([net.part(a)[:, :4], net.part(b)[:, 4:]], 1))


def tied():
    parts = {name: nn.Conv2d(6, 6, 1) for name in ("part", "twin", "free")}
    model = Middle(lambda net, a, b: net.free(net.part(a) + net.twin(b)), **parts)
    model.twin.weight = model.part.weight
    return model


SIZES = (1, 2, 0, 1)
OPERATIONS = {
    "strided": Middle(lambda net, a, b: net.part(a), part=nn.Conv2d(6, 6, 3, stride=2)),
    "dilated": Middle(lambda net, a, b: net.part(a), part=nn.Conv2d(6, 6, 3, dilation=2, padding_mode="reflect", padding=2)),
    "grouped": Middle(lambda net, a, b: net.part(a), part=nn.Conv2d(6, 6, 3, groups=2)),
    "grouped unevenly": Middle(lambda net, a, b: net.part(a), 9, part=nn.Conv2d(6, 9, 3, groups=3)),
    "depthwise": Middle(lambda net, a, b: net.part(a), part=nn.Conv2d(6, 6, 3, groups=6)),
    "depthwise times 2": Middle(lambda net, a, b: net.part(a), 12, part=nn.Conv2d(6, 12, 3, groups=6)),
    "transposed": Middle(lambda net, a, b: net.part(a), part=nn.ConvTranspose2d(6, 6, 3, stride=2, output_padding=1)),
    "transposed grouped": Middle(lambda net, a, b: net.part(a), 4, part=nn.ConvTranspose2d(6, 4, 2, groups=2)),
    "transposed depthwise": Middle(lambda net, a, b: net.part(a), part=nn.ConvTranspose2d(6, 6, 2, groups=6, bias=False)),
    "BatchNorm behind a sum": Middle(lambda net, a, b: net.part(a + b), part=nn.BatchNorm2d(6)),
    "BatchNorm without statistics": Middle(lambda net, a, b: net.part(a), part=nn.BatchNorm2d(6, track_running_stats=False)),
    "InstanceNorm": Middle(lambda net, a, b: net.part(a + b), part=nn.InstanceNorm2d(6, affine=True)),
    "GroupNorm": Middle(lambda net, a, b: net.part(a + b), part=nn.GroupNorm(2, 6)),
    "PReLU": Middle(lambda net, a, b: net.part(a + b), part=nn.PReLU(6)),
    "PReLU of one slope": Middle(lambda net, a, b: net.part(a + b), part=nn.PReLU()),
    "Sigmoid": Middle(lambda net, a, b: torch.sigmoid(a + b)),
    "pooling": Middle(lambda net, a, b: F.avg_pool2d(F.max_pool2d(a, 2, padding=1), 2, padding=1)),
    "adaptive pooling": Middle(lambda net, a, b: F.adaptive_max_pool2d(a, 4) + nn.functional.adaptive_avg_pool2d(b, 4)),
    "interpolate to a size": Middle(lambda net, a, b: F.interpolate(F.max_pool2d(a, 2), size=b.shape[2:], mode="bilinear") + b),
    "padding": Middle(lambda net, a, b: F.pad(a, SIZES) + F.pad(b, SIZES, mode="replicate") + F.pad(a, SIZES, value=0.3)),
    "PixelShuffle": Middle(lambda net, a, b: net.part(a), 3, part=nn.Sequential(nn.Conv2d(6, 12, 1), nn.PixelShuffle(2))),
    "PixelUnshuffle": Middle(lambda net, a, b: net.part(a), 24, part=nn.PixelUnshuffle(2)),
    "add": Middle(lambda net, a, b: a + b),
    "add in place": Middle(lambda net, a, b: torch.relu(operator.iadd(a, b)) + a),
    "sub": Middle(lambda net, a, b: a - b),
    "sub by keyword": Middle(lambda net, a, b: torch.sub(other=a, input=b)),
    "clamp in place": Middle(changed_by(lambda x: torch.clamp_(x, 0, 1))),
    "sigmoid in place": Middle(changed_by(torch.sigmoid_)),
    "ELU in place": Middle(changed_by(F.elu_)),
    "power in place": Middle(changed_by(lambda x: operator.ipow(x, 2))),
    "ReLU in place, its input read again": Middle(lambda net, a, b: net.part(a) * b + a, part=nn.ReLU(True)),
    "pre-activation in place": Middle(lambda net, a, b: a + net.part(a), part=nn.Sequential(nn.ReLU(True), nn.Conv2d(6, 6, 1))),
    "piece in place": Middle(piece_in_place),
    "shared PReLU": Middle(lambda net, a, b: net.free(net.part(a) + net.part(b) * 2), part=nn.PReLU(6), free=nn.Conv2d(6, 6, 1)),
    "shared BatchNorm": Middle(shared_norm, part=nn.BatchNorm2d(6), free=nn.Conv2d(6, 6, 1)),
    "shared ReLU and pooling": Middle(lambda net, a, b: net.part(a) + net.part(b), part=nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))),
    "bias of a layer read elsewhere": Middle(bias_elsewhere, free=nn.Conv2d(6, 6, 1)),
    "tied weights": tied(),
    "buffer": Middle(lambda net, a, b: a * net.mean + net.other_mean, mean=weights(1, 6, 1, 1).detach(), other_mean=torch.rand(1)),
    "constant": Middle(lambda net, a, b: a * torch.tensor(2.0) + b),
    "expand": Middle(lambda net, a, b: a * b.mean((2, 3), keepdim=True).expand_as(a) + spread(b, a.size(2))),
    "unsqueeze and squeeze": Middle(lambda net, a, b: a * b.mean((2, 3)).unsqueeze(-1).unsqueeze(-1) + b.amax((2, 3))[..., None, None]),
    "spatial attention": Middle(lambda net, a, b: a * torch.sigmoid(net.part(b.mean(1, keepdim=True))), part=nn.Conv2d(1, 1, 3, padding=1)),
    "one position": Middle(lambda net, a, b: F.adaptive_avg_pool2d(a, 1) + b),
    "narrow": Middle(lambda net, a, b: a.narrow(1, 1, 4) + torch.narrow(b, 1, 2, 4), 4),
    "mul": Middle(lambda net, a, b: a * b),
    "number": Middle(lambda net, a, b: 1 - (a * 2 + 0.5) / 3),
    "power": Middle(lambda net, a, b: a**2 + torch.clamp(b, 0.1, 0.5)),
    "largest": Middle(lambda net, a, b: torch.maximum(a, b) - torch.minimum(a, b)),
    "parameter": Middle(lambda net, a, b: a * net.scale + net.shift, scale=weights(6, 1, 1), shift=weights(1, 6, 1, 1)),
    "parameter used twice": Middle(lambda net, a, b: a * net.scale + b * net.scale, scale=weights(1, 6, 1, 1)),
    "channel attention": Middle(lambda net, a, b: a * torch.sigmoid(net.part(b.mean((2, 3), keepdim=True))), part=nn.Conv2d(6, 6, 1)),
    "attention of one channel": Middle(lambda net, a, b: a * net.part(b) + net.part(b), part=nn.Conv2d(6, 1, 1)),
    "added attention of one channel": Middle(lambda net, a, b: a + net.part(b), part=nn.Conv2d(6, 1, 1, bias=False)),
    "concatenation": Middle(lambda net, a, b: torch.cat([a, b, a], 1), 18),
    "gate": Middle(lambda net, a, b: first_times_second(torch.cat([a, b], 1).chunk(2, dim=1)), 6),
    "split": Middle(lambda net, a, b: torch.split(a, [2, 4], dim=1)[1] + b.split(4, dim=1)[0], 4),
    "slice": Middle(lambda net, a, b: a[:, 1:5, ::2, ::2] * b[:, 2:, ::2, ::2], 4),
    "permute and LayerNorm": Middle(lambda net, a, b: net.part((a + b).permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + a, part=nn.LayerNorm(6)),
    "transpose": Middle(lambda net, a, b: (a.transpose(1, 3) + b.transpose(1, 3)).transpose(1, 3).contiguous()),
    "number of channels": Middle(lambda net, a, b: a / a.shape[1] + b * b.size(1)),
    "flatten": Middle(lambda net, a, b: torch.flatten(F.adaptive_avg_pool2d(a, 2), 1), head=nn.Linear(24, 3)),
    "view and back": Middle(lambda net, a, b: a * net.part(b.amax((2, 3)).flatten(1)).view(b.size(0), 6, 1, 1), part=nn.Linear(6, 6)),
    "linear over the last dimension": Middle(last, part=nn.Linear(6, 6)),
    "dropout": Middle(lambda net, a, b: F.dropout(net.part(a), training=net.training), part=nn.Dropout2d()),
}  # fmt: skip


@pytest.mark.parametrize("granularity", ["filter", "group"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_follows_any_mask(name, granularity):
    torch.manual_seed(0)
    model = shaken(OPERATIONS[name]).double()
    image = torch.rand(2, 3, 10, 12, dtype=torch.float64)
    try:
        layout = trace(model, image, granularity)
    except StructureError as error:
        assert granularity == "group" and "no layer whose filters could go" in str(error)
        return
    before = {key: value.clone() for key, value in model.state_dict().items()}, set(vars(model))
    cost = Cost(model, layout, (3, 10, 12))
    rng = np.random.default_rng(0)
    keeps = [rng.uniform(size=layout.n) < share for share in (0.2, 0.4, 0.6, 0.6, 0.8, 0.9)]
    for keep in [*keeps, np.zeros(layout.n, bool), np.ones(layout.n, bool)]:
        small = shrink(model, layout, keep)
        assert difference(model, small, layout, keep, image) < 1e-10
        said, found = cost.footprint(keep), footprint_of(small, (3, 10, 12))
        assert (said.params, said.macs) == (found.params, found.macs)
        assert small.state_dict().keys() <= model.state_dict().keys()
    assert before[1] == set(vars(model)) and all(torch.equal(value, before[0][key]) for key, value in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["filter", "group"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_smaller_network_can_be_made_smaller_again(name, granularity):
    torch.manual_seed(0)
    model = shaken(OPERATIONS[name]).double()
    image = torch.rand(2, 3, 10, 12, dtype=torch.float64)
    layout, rng = trace(model, image), np.random.default_rng(0)
    small = shrink(model, layout, rng.uniform(size=layout.n) < 0.7)
    try:
        again = trace(small, image, granularity)
    except StructureError as error:
        assert "no layer whose filters could go" in str(error)
        return
    for _ in range(2):
        keep = rng.uniform(size=again.n) < 0.6
        assert difference(small, shrink(small, again, keep), again, keep, image) < 1e-10


def test_what_only_served_a_dropped_branch_goes_as_well():
    model = shaken(Middle(lambda net, a, b: a + net.part(b) * net.scale, part=nn.Conv2d(6, 6, 3, padding=1), scale=weights(1, 6, 1, 1)))
    layout = trace(model)
    keep = np.concatenate([np.full(group.channels, group.layer != "part") for group in layout.groups])
    small = shrink(model, layout, keep)
    assert small.state_dict().keys() == {"conv.weight", "conv.bias", "head.weight", "head.bias"}
    assert idle_filters(small, layout, keep) == 6


def test_a_gate_whose_other_half_has_gone_takes_its_filters_along():
    model = shaken(Middle(lambda net, a, b: first_times_second(net.part(a).chunk(2, dim=1)), 3, part=nn.Conv2d(6, 6, 1)))
    layout = trace(model)
    keep = np.ones(layout.n, bool)
    keep[layout.n - 1] = False  # the partner of the third filter of `part`
    small = shrink(model, layout, keep)
    assert small.part.out_channels == 4 and idle_filters(small, layout, keep) == 1
    assert not [name for name, _ in small.named_modules() if "select" in name]


def test_a_kept_depthwise_filter_keeps_its_bias_when_its_input_has_gone():
    model = shaken(Middle(lambda net, a, b: net.part(a), part=nn.Conv2d(6, 6, 3, padding=1, groups=6)))
    layout = trace(model)
    small = shrink(model, layout, {"conv": np.array([False] * 5 + [True])})
    assert small.conv.out_channels == 1 and small.part.groups == 6
    assert torch.equal(small.part.bias, model.part.bias) and not small.part.weight[:5].any()


def changed_view(x):
    x[:, :2].mul_(2)
    return x


class Refused(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function, self.head = nn.Conv2d(3, 4, 1), function, nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(self.function(self.conv(x)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.fft.fft2(x).real, "operation 'fft_fft2' at 'fft_fft2', test_shrink.py:"),
        (lambda x: torch.softmax(x, 1), "no rule says how its channels follow its input; add one in graph/rules/table.py"),
        (lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1), "only over the positions of an image"),
        (lambda x: torch.cat([x, x], 2), "joins along another dimension"),
        (lambda x: x.view(x.shape[0], 2, 2, *x.shape[2:]).flatten(1, 2), "where the channels go when"),
        (lambda x: x[:, 0:1] / x, "is divided by"),
        (lambda x: F.pad(x, (0, 0, 0, 0, 0, 0)), "it pads the channels"),
        (lambda x: x.reshape(x.shape), "it holds the number of channels"),
        (lambda x: x * x.numel(), "no rule says whether it depends on the number of channels"),
        (lambda x: torch.add(x, x, alpha=2), "only its plain form"),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], "max_pool2d"),
        (lambda x: x.chunk(2, dim=2)[0], "cuts along another dimension"),
        (lambda x: x[:, [0, 1, 2, 3]], "only slices have a rule"),
        (lambda x: operator.setitem(x, (slice(None), slice(0, 2)), 0) or x, r"cannot follow .*a part of a tensor is assigned to"),
        (changed_view, "it changes 'conv' or a part of it in place, which is used again"),
        (lambda x: torch.add(x, 1, out=x), "add.*it changes its input in place"),
        (lambda x: torch.cat(x.chunk(2, 1), 1), "its pieces go on together"),
        (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), "its pieces go on together"),
        (lambda x: torch.cat([x, x.transpose(1, 2)], 1)[:, :4], "does not take"),
        (lambda x: x.permute(0, 2, 3, 1)[:, :, None].squeeze(2).permute(0, 3, 1, 2), "takes single entries out"),
        (lambda x: x * torch.max(x, 1, keepdim=True)[0], "operation 'max'"),
        (lambda x: x * x.zero_(), "it changes its input in place"),
    ],
)  # fmt: skip
def test_what_has_no_rule_is_refused_by_name(function, message):
    with pytest.raises(StructureError, match=message):
        trace(shaken(Refused(function)))


def test_parametrized_weights_and_hooks_are_refused():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1)), nn.ReLU(), nn.Conv2d(4, 3, 1))
    with pytest.raises(StructureError, match="Parametrized"):
        trace(model)
    model = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 1)), nn.ReLU(), nn.Conv2d(4, 3, 1))
    with pytest.raises(StructureError, match="its weights are parametrized; fuse them first"):
        trace(model)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    model[0].register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(StructureError, match="a hook changes what it does"):
        trace(model)


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x, mask=None, scale: float = 2.0, flag=False):
        y = self.conv(x) * scale
        return self.head(y if mask is None and not flag else y * mask)


def test_arguments_with_defaults_keep_them():
    model = shaken(Optional())
    layout = trace(model)
    keep = np.array([True, False, True, False])
    assert difference(model, shrink(model, layout, keep), layout, keep, torch.rand(1, 3, 5, 6)) < 1e-6


class TwoInputs(Optional):
    def forward(self, x, y):
        return self.head(self.conv(x) + self.conv(y))


def test_a_network_of_two_inputs_is_refused():
    with pytest.raises(StructureError, match=r"takes more than one input \(y\)"):
        trace(TwoInputs())


class Box(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(True)
        self.conv = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        return self.conv(self.relu(x))


def test_a_black_box_that_works_in_place_is_fed_a_copy_or_refused():
    fine = shaken(Middle(lambda net, a, b: net.part(a) + b, part=Box())).double()
    layout = trace(fine, wrap=["Box"])
    keep = np.arange(layout.n) % 2 == 0
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    assert difference(fine, shrink(fine, layout, keep), layout, keep, image) < 1e-10
    with pytest.raises(StructureError, match=r"Box.*it changes 'conv' or a part of it in place, which is used again"):
        trace(Middle(lambda net, a, b: net.part(a) + a, part=Box()), wrap=["Box"])


def test_the_gate_lies_before_what_changes_a_value_that_is_read_again():
    layout = trace(OPERATIONS["ReLU in place, its input read again"])
    assert {group.layer: group.gate for group in layout.groups}["conv"] == "conv"


def test_an_example_without_a_batch_is_refused():
    with pytest.raises(StructureError, match=r"it reads \[3, 16, 16\]; give images as \(N, C, H, W\)"):
        trace(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3)), torch.zeros(3, 16, 16))


def test_a_hook_on_the_network_itself_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    model.register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(StructureError, match="a hook changes what it does"):
        trace(model)


def test_deep_networks_of_gates_are_traced_in_no_time():
    class Swish(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(40))
            self.norm, self.head = nn.GroupNorm(1, 3), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            for conv in self.convs:
                x = x + conv(x)
                x = x * torch.sigmoid(x)
            return self.head(self.norm(x))

    assert trace(Swish()).n > 0  # exponential in the number of blocks, this would never end
