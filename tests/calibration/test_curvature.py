import numpy as np
import pytest
import torch
from torch import nn

from qprune_cli.calibration.curvature import Curvature, curvature
from qprune_cli.calibration.loss import LOSSES, TEACHER_LOSSES
from qprune_cli.calibration.probes import PROBES
from qprune_cli.graph.trace import trace
from qprune_cli.types import ImageSet, Pair


def bends(loss, output, target):
    """Curvature of the loss of one image at its output, without that of the logarithm."""
    if loss == "psnr":
        mse = float((output - target).square().mean())
        return torch.eye(output.numel()) * 20 / np.log(10) / mse / output.numel()
    return torch.func.hessian(lambda o: LOSSES[loss](o[None].reshape(1, *output.shape[1:]), target)[0])(output.flatten())


@pytest.mark.parametrize("loss", ["psnr", "mse", "cross_entropy"])
@pytest.mark.slow
def test_random_vectors_at_the_output_have_the_curvature_of_the_loss_as_covariance(loss):
    torch.manual_seed(0)
    output = torch.randn(1, 5) if loss == "cross_entropy" else torch.randn(1, 1, 2, 3)
    target = torch.tensor([2]) if loss == "cross_entropy" else torch.randn(1, 1, 2, 3)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([PROBES[loss](output, target, generator).flatten() for _ in range(6000)])
    expected = bends(loss, output, target)
    assert torch.allclose(draws.T @ draws / len(draws), expected, atol=0.05 * float(expected.abs().max()))


def test_l1_bends_as_the_parabola_through_the_typical_error():
    output, clean = torch.tensor([[[[1.0, 2.0]]]]), torch.zeros(1, 1, 1, 2)
    drawn = PROBES["l1"](output, clean, torch.Generator().manual_seed(0))
    assert torch.allclose(drawn.square(), torch.tensor([[[[1 / (1.5 * 2), 1 / (2.0 * 2)]]]]))


def linear_network(side=6):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Identity(), nn.Conv2d(4, 1, 3, padding=1)).eval()
    rng = np.random.default_rng(0)
    images = [Pair(str(k), *rng.uniform(size=(2, 1, side, side)).astype(np.float32)) for k in range(6)]
    return model, trace(model, torch.empty(1, 1, side, side)), ImageSet(images)


@pytest.mark.slow
def test_the_model_of_mse_is_exact_where_the_network_is_linear_in_its_gates():
    model, layout, images = linear_network()
    keep = np.array([True, True, False, True])
    seen = curvature(model, layout, images, "mse", 4, keep, probes=1500, seed=0)

    def loss(gates):
        x = torch.from_numpy(np.stack([p.input for p in images.pairs]))
        y = torch.from_numpy(np.stack([p.target for p in images.pairs]))
        return LOSSES["mse"](model[2](model[0](x) * gates[:, None, None]), y).mean()

    at = torch.from_numpy(keep.astype(np.float32))
    assert np.allclose(seen.gradient, torch.func.grad(loss)(at).detach().numpy(), rtol=1e-4, atol=1e-6)
    exact = torch.func.hessian(loss)(at).detach().numpy()
    assert np.allclose(seen.factor.T @ seen.factor, exact, atol=0.05 * np.abs(exact).max())


def test_without_probes_the_rows_are_the_gate_gradients():
    model, layout, images = linear_network()
    seen = curvature(model, layout, images, "mse", 4, None, probes=0, seed=0)
    rows = seen.factor * np.sqrt(len(images))
    assert len(rows) == 6 and np.allclose(rows.mean(axis=0), seen.gradient)


def test_two_equal_halves_agree_and_two_that_have_nothing_in_common_do_not():
    rows = np.random.default_rng(0).normal(size=(3, 8))
    assert Curvature(np.zeros(8), (rows, rows), np.zeros(8, bool)).agreement() == pytest.approx(1)
    left, right = np.zeros((1, 8)), np.zeros((1, 8))
    left[0, :4], right[0, 4:] = 1, 1
    assert Curvature(np.zeros(8), (left, right), np.zeros(8, bool)).agreement() == 0
    assert Curvature(np.zeros(8), (rows, np.empty((0, 8))), np.zeros(8, bool)).agreement() == 0


@pytest.mark.parametrize("loss", ["psnr", "mse", "l1"])
def test_leaving_the_teacher_costs_nothing_to_first_order_and_more_the_further(loss):
    torch.manual_seed(0)
    clean, taught, step = torch.rand(3, 2, 1, 2, 3)
    values = [TEACHER_LOSSES[loss](taught + scale * step, clean, taught) for scale in (0.0, 0.1, 1.0)]
    assert (values[0] < values[1]).all() and (values[1] < values[2]).all()
    if loss == "psnr":
        assert torch.allclose(values[0], LOSSES["psnr"](taught, clean))


def test_the_teacher_is_run_without_the_mask_and_its_runs_are_not_counted():
    model, layout, images = linear_network()
    keep = np.array([True, True, False, True])
    plain = curvature(model, layout, images, "mse", 4, keep, probes=1, seed=0)
    taught = curvature(model, layout, images, "mse", 4, keep, probes=1, seed=0, teacher=model)
    assert np.allclose(plain.factor, taught.factor) and not np.allclose(plain.gradient, taught.gradient)
    whole = curvature(model, layout, images, "mse", 4, None, probes=1, seed=0, teacher=model)
    assert np.allclose(whole.gradient, 0, atol=1e-7)
