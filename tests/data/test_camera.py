import numpy as np
import pytest

from qprune_cli.data.camera import Camera, bayer, demosaic, to_linear, to_srgb
from qprune_cli.data.sample import Sample
from qprune_cli.errors import UserError


def psnr(pair):
    return -10 * np.log10(np.mean((pair.noisy - pair.clean).astype(np.float64) ** 2))


def lag_one(pair):
    """Correlation of the residual with itself one pixel to the right, mean over colours."""
    residual = (pair.noisy - pair.clean).astype(np.float64)
    residual -= residual.mean(axis=(1, 2), keepdims=True)
    return np.mean((residual[:, :, 1:] * residual[:, :, :-1]).mean(axis=(1, 2)) / (residual**2).mean(axis=(1, 2)))


def test_transfer_curve_has_its_inverse():
    values = np.linspace(0, 1, 101)
    assert np.allclose(to_srgb(to_linear(values)), values)


def test_demosaic_keeps_flat_colours_and_every_measured_value():
    flat = np.broadcast_to(np.array([0.2, 0.5, 0.8]).reshape(3, 1, 1), (3, 8, 8))
    assert np.allclose(demosaic(bayer(flat)), flat)
    mosaic = np.random.default_rng(0).uniform(size=(8, 8))
    assert np.allclose(bayer(demosaic(mosaic)), mosaic)


def test_noise_of_the_sample_looks_like_that_of_sidd():
    test = Sample(crops=1).load(seed=0).test
    quality = np.array([psnr(pair) for pair in test.pairs])
    correlation = np.array([lag_one(pair) for pair in test.pairs])
    assert quality.min() >= 17 and quality.max() <= 35
    assert quality.min() <= 19 and quality.max() >= 32
    assert correlation.min() >= 0.3 and correlation.max() <= 0.6


def test_noise_variance_follows_the_signal():
    camera = Camera(shot=(0.01, 0.01), read=0.1, exposure=(1.0, 1.0), white_balance=(1.0, 1.0))
    for level in (0.1, 0.3):
        srgb = to_srgb(np.full((3, 200, 200), level))
        pair = camera.shoot("flat", srgb, np.random.default_rng(0))
        raw = bayer(to_linear(pair.noisy.astype(np.float64)))
        assert np.isclose(raw.var(), 0.01 * level + 0.1**2 * 0.01, rtol=0.05)


@pytest.mark.parametrize(
    "setting", [{"shot": (0.0, 0.1)}, {"shot": (0.1,)}, {"exposure": (-1.0, 1.0)}, {"read": -1.0}, {"white_balance": (0.5, 1.0)}]
)
def test_impossible_cameras_are_refused(setting):
    with pytest.raises(UserError, match=f"data.camera.{next(iter(setting))}"):
        Camera(**setting)


def test_same_seed_same_photograph():
    clean = np.random.default_rng(1).uniform(size=(3, 16, 16))
    first, second = (Camera().shoot("a", clean, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.noisy, second.noisy)
