"""From torch to numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.embedding import embed
from qprune_cli.embedding.embed import embedded, taps_of, variables_at_gates
from qprune_cli.errors import StructureError, UserError
from qprune_cli.graph.trace import trace
from tests.program.networks import lively, numbers_of


def convolutions():
    return lively(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2, stride=2, bias=True)))


def test_matrices_equal_the_jacobians_of_torch():
    double, _, network = numbers_of(convolutions(), (2, 6, 6))
    for op, module in zip(network.ops[1:], double, strict=True):
        if op.kind == "linear":
            shape = (1, 2, 6, 6) if module is double[0] else (1, 3, 3, 3)
            slope = torch.autograd.functional.jacobian(lambda x, module=module: module(x).flatten(), torch.zeros(shape).double())
            assert np.allclose(op.matrices[0].toarray(), slope.flatten(1).numpy())
            assert np.allclose(op.constant, module(torch.zeros(shape).double()).detach().flatten().numpy())


def test_matrices_hold_no_entry_that_is_zero():
    _, _, network = numbers_of(convolutions(), (2, 6, 6))
    matrix = network.ops[1].matrices[0]
    assert matrix.nnz == 2 * 3 * 16**2 and (matrix.data != 0).all()  # 3 taps a side, fewer at the edges: 16 of 6 x 3


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d(2, stride=1),
        nn.MaxPool2d(4, ceil_mode=True),
        nn.MaxPool2d(2, dilation=2),
    ],
    ids=str,
)
def test_windows_are_those_of_the_pool(pool):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), pool, nn.Conv2d(2, 1, 1))
    _, _, network = numbers_of(model, (1, 6, 6))
    value = torch.randn(4, 2, 6, 6).double()
    windows = next(op.windows for op in network.ops if op.kind == "max")
    padded = np.concatenate([value.flatten(1).numpy(), np.full((4, 1), -np.inf)], axis=1)
    assert np.allclose(padded[:, windows].max(axis=2), pool(value).flatten(1).numpy())


def test_operations_come_in_order_with_scores_behind_gates():
    _, layout, network = numbers_of(convolutions(), (2, 6, 6))
    assert [op.kind for op in network.ops] == ["input", "linear", "relu", "max", "linear"]
    assert layout.groups[0].gate == "1" and [op.scores is not None for op in network.ops] == [False, False, True, False, False]
    assert network.ops[2].scores.tolist() == [k for k in range(3) for _ in range(36)]
    assert network.n == 3 and network.layer_of.tolist() == [0, 0, 0]


def test_coupled_filters_share_a_score():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 3, 1), nn.Conv2d(3, 1, 1)

        def forward(self, x):
            return self.c(self.a(x) + self.b(x))

    _, layout, network = numbers_of(Sum(), (1, 2, 2), "group")
    assert layout.n == 3
    gated = [op.scores.tolist() for op in network.ops if op.scores is not None]
    assert gated == [[0] * 4 + [1] * 4 + [2] * 4] * 2
    assert {name: own.tolist() for name, own in variables_at_gates(layout).items()} == {"a": [0, 1, 2], "b": [0, 1, 2]}


def test_value_that_is_used_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.act, self.b = nn.Linear(3, 2), nn.ReLU(), nn.Linear(4, 1)

        def forward(self, x):
            x = self.act(self.a(x))
            return self.b(torch.cat([x + x, x - 0.25 * x], dim=1))

    double, _, network = numbers_of(Twice(), (3,))
    sums = [op for op in network.ops if op.kind == "linear" and op.name == "add"]
    assert len(sums[0].matrices) == 1 and np.allclose(sums[0].matrices[0].toarray(), 2 * np.eye(2))
    assert double.a.weight.dtype == torch.float64


def test_published_term_divides_by_filters_times_taps():
    model = nn.Sequential(
        nn.Conv2d(1, 3, 5), nn.ReLU(), nn.Conv2d(3, 4, (1, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)
    )
    layout = trace(model, torch.zeros(1, 1, 6, 6))
    assert taps_of(model, layout).tolist() == [3 * 25, 4 * 2, 6]


@pytest.mark.parametrize("unknown", [nn.GELU(), nn.Sigmoid(), nn.LeakyReLU(), nn.SiLU(), nn.Tanh()], ids=str)
def test_operation_without_a_formulation_is_named(unknown):
    model = nn.Sequential(nn.Linear(3, 2), unknown, nn.Linear(2, 1))
    with pytest.raises(StructureError, match=rf"operation '{type(unknown).__name__}' at '1': .*scorer.mode=decoupled") as caught:
        numbers_of(model, (3,))
    assert "\n" not in str(caught.value)


def test_product_of_two_values_is_refused():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)

        def forward(self, x):
            return self.c(self.a(x) * self.b(x))

    with pytest.raises(StructureError, match="operation 'mul'"):
        numbers_of(Product(), (1, 3, 3))


def test_network_that_is_too_large_is_refused_with_a_way_out(monkeypatch):
    monkeypatch.setattr(embed, "MOST", 50)
    model = convolutions().double()
    with pytest.raises(UserError, match=r"scorer.mode=joint: .* gives 72 numbers .* a smaller scorer.patch"):
        embedded(model, trace(model, torch.zeros(1, 2, 6, 6).double()), (2, 6, 6))
