"""A network run operation by operation gives what it gives whole."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qprune_cli.embedding.masked_run import MaskedRun
from qprune_cli.embedding.operations import is_affine
from qprune_cli.errors import UserError
from qprune_cli.graph.network import Network
from qprune_cli.graph.trace import trace
from qprune_cli.surgery.silence import silence
from tests.program.networks import lively


class Affine(nn.Module):
    """One operation between two layers."""

    def __init__(self, operation):
        super().__init__()
        self.a, self.act, self.b, self.operation = nn.Conv2d(1, 4, 1), nn.ReLU(), nn.LazyConv2d(1, 1), operation
        self.factor = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x):
        return self.b(self.operation(self, self.act(self.a(x))))


OPERATIONS = {
    "x + x": (lambda m, x: x + x, True),
    "1 - x": (lambda m, x: 1 - x, True),
    "0.5 * x": (lambda m, x: 0.5 * x, True),
    "x / 2": (lambda m, x: x / 2, True),
    "parameter * x": (lambda m, x: m.factor * x, True),
    "x * parameter": (lambda m, x: x * m.factor, True),
    "x * x": (lambda m, x: x * x, False),
    "-x": (lambda m, x: -x, True),
    "mean": (lambda m, x: x - x.mean((2, 3), keepdim=True), True),
    "cat": (lambda m, x: torch.cat([x, x], 1), True),
    "reflect": (lambda m, x: F.pad(x, (1, 1, 1, 1), mode="reflect"), True),
    "pad": (lambda m, x: F.pad(x, (1, 1, 1, 1), value=2.0), True),
    "shuffle": (lambda m, x: F.pixel_shuffle(x, 2), True),
    "average": (lambda m, x: F.avg_pool2d(x, 2), True),
    "max": (lambda m, x: F.max_pool2d(x, 2), False),
    "relu": (lambda m, x: F.relu(x), False),
    "sigmoid": (lambda m, x: torch.sigmoid(x), False),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_affine_exactly_where_it_keeps_lines_straight(name):
    operation, affine = OPERATIONS[name]
    model = Affine(operation)
    model(torch.zeros(1, 1, 6, 6))
    network = Network(model.eval(), (1, 1, 6, 6))
    operations = list(network.operations.values())
    between = operations[3:-2]  # behind input, layer and ReLU; before the layer and the output
    assert all(is_affine(network, operation) for operation in between) == affine
    with torch.no_grad():
        a, b = torch.randn(2, 1, 4, 6, 6)
        middle = operation(model, (a + b) / 2)
        straight = torch.allclose(middle, (operation(model, a) + operation(model, b)) / 2, atol=1e-5)
    assert straight == affine


def chain():
    return lively(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))
    )


def test_result_equals_the_silenced_network_and_gates_are_before_the_mask():
    model = chain()
    layout, x = trace(model, torch.zeros(1, 1, 8, 8)), torch.rand(2, 1, 8, 8)
    keep = np.array([True, False, True, False, True, True, False])
    run = MaskedRun(Network(model, layout.shape), layout, keep).over(x)
    with torch.no_grad(), silence(model, layout, keep):
        assert torch.allclose(run.network_output, model(x), atol=1e-6)
    (first,) = run.group_values(layout.groups[0])
    with torch.no_grad():
        assert torch.allclose(first, F.relu(model[0](x)), atol=1e-6)
    node, before = run.gate_value("1")
    assert torch.equal(before, first) and (run.results[node][:, 1] == 0).all() and torch.equal(run.results[node][:, 0], first[:, 0])


def test_operation_run_again_takes_new_operands_and_leaves_the_old_ones():
    model = chain()
    layout, x = trace(model, torch.zeros(1, 1, 8, 8)), torch.rand(2, 1, 8, 8)
    run = MaskedRun(Network(model, layout.shape), layout, None).over(x)
    operations = {operation.name: operation for operation in run.network.operations.values()}
    source = operations["1"].sources[0]
    before = run.results[source].clone()
    other = -torch.ones_like(before)
    assert (run.rerun(operations["1"].node, {source: other}) == 0).all() and (other == -1).all()
    assert torch.equal(run.results[source], before)
    assert torch.equal(run.rerun(operations["5"].node, {}), run.network_output)


def test_variable_that_is_zero_on_all_samples_is_dead():
    model = chain()
    with torch.no_grad():
        model[0].weight[1] = 0
        model[0].bias.copy_(torch.tensor([3.0, -1.0, 3.0]))
    layout = trace(model, torch.zeros(1, 1, 8, 8))
    dead = MaskedRun(Network(model, layout.shape), layout, None).over(torch.rand(2, 1, 8, 8)).dead(layout)
    assert dead[:3].tolist() == [False, True, False]


def test_damaged_network_is_refused_by_layer():
    model = chain()
    with torch.no_grad():
        model[2].weight[0] = np.nan
    layout = trace(model, torch.zeros(1, 1, 8, 8))
    run = MaskedRun(Network(model, layout.shape), layout, None).over(torch.rand(2, 1, 8, 8))
    with pytest.raises(UserError, match="layer '2': not finite on the calibration images"):
        run.refuse_damaged(layout)
