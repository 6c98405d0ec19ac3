import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.regression.moments import Moments

CPU = torch.device("cpu")


def problem(seed, groups=2, inputs=4, outputs=3, count=30):
    generator = torch.Generator().manual_seed(seed)
    rows, targets = (torch.randn(count, groups, size, generator=generator, dtype=torch.float64) for size in (inputs, outputs))
    rows[..., -1] = 1
    start = torch.randn(groups, inputs, outputs, generator=generator, dtype=torch.float64)
    return rows, targets, start


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([1e-4, 0.1, 10.0]))
def test_ridge_is_the_least_squares_fit_of_the_stacked_system(seed, strength):
    rows, targets, start = problem(seed)
    seen = Moments(2, 4, 3, CPU).add(rows[:11], targets[:11]).add(rows[11:], targets[11:])
    fitted = seen.ridge(start, strength, free=True)
    for group in range(2):
        x, y = rows[:, group].numpy(), targets[:, group].numpy()
        weight = np.sqrt(strength * np.mean((x[:, :-1] ** 2).sum(axis=0)))
        stacked = np.vstack([x, weight * np.eye(4)[:-1]])
        wanted = np.linalg.lstsq(stacked, np.vstack([y, weight * start[group, :-1].numpy()]), rcond=None)[0]
        assert np.allclose(fitted[group], wanted)


@given(st.integers(0, 10**6))
def test_the_error_is_that_of_the_rows(seed):
    rows, targets, start = problem(seed)
    seen = Moments(2, 4, 3, CPU).add(rows, targets)
    assert torch.allclose(seen.error(start), ((torch.einsum("pgd,gdo->pgo", rows, start) - targets) ** 2).sum(dim=0))


def test_inputs_that_are_always_zero_keep_their_weights_and_a_strong_ridge_moves_the_bias_alone():
    rows, targets, start = problem(0)
    rows[..., 1] = 0
    seen = Moments(2, 4, 3, CPU).add(rows, targets)
    assert torch.equal(seen.ridge(start, 1e-3, free=True)[:, 1], start[:, 1])
    strong = seen.ridge(start, 1e9, free=True)
    assert torch.allclose(strong[:, :-1], start[:, :-1], atol=1e-6) and not torch.allclose(strong[:, -1], start[:, -1])
