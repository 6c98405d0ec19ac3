import numpy as np
import pytest

from qprune_cli.data.sample import Sample
from qprune_cli.errors import UserError
from qprune_cli.images.camera import COLOUR_MATRIX, Camera, bayer, demosaic, to_linear, to_srgb


def psnr(pair):
    return -10 * np.log10(np.mean((pair.input - pair.target).astype(np.float64) ** 2))


def lag_one(pair):
    """Correlation of the residual with itself one pixel to the right, mean over colours."""
    residual = (pair.input - pair.target).astype(np.float64)
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


FIXED = {"shot": (0.01, 0.01), "exposure": (1.0, 1.0), "white_balance": (1.0, 1.0), "colour": (0.0, 0.0), "quantised": False}


@pytest.mark.parametrize("mosaic", [True, False])
def test_noise_variance_follows_the_signal(mosaic):
    camera = Camera(read=0.1, mosaic=mosaic, **FIXED)
    for level in (0.1, 0.3):
        pair = camera.shoot("flat", np.full((3, 200, 200), level), np.random.default_rng(0))
        raw = to_linear(pair.input.astype(np.float64))
        assert np.isclose((bayer(raw) if mosaic else raw).var(), 0.01 * level + 0.1**2 * 0.01, rtol=0.05)


def test_without_a_mosaic_noise_is_white():
    pair = Camera(mosaic=False, **FIXED).shoot("flat", np.full((3, 200, 200), 0.2), np.random.default_rng(0))
    assert abs(lag_one(pair)) < 0.02


def test_row_offsets_are_shared_by_a_row():
    camera = Camera(read=0.0, offset=1.0, mosaic=False, **FIXED | {"shot": (1e-4, 1e-4)})
    pair = camera.shoot("flat", np.full((3, 400, 400), 0.2), np.random.default_rng(0))
    rows = (to_linear(pair.input.astype(np.float64)) - 0.2).mean(axis=2)
    assert np.isclose(rows.std(), np.sqrt(1e-4), rtol=0.1)


def test_colour_matrix_keeps_grey_and_couples_the_noise_of_colours():
    assert np.allclose(COLOUR_MATRIX.sum(axis=1), 1)
    pairs = [
        Camera(**FIXED | {"colour": (strength, strength)}, correction=(0.7, 0.7)).shoot(
            "flat", np.full((3, 200, 200), 0.2), np.random.default_rng(0)
        )
        for strength in (0.0, 0.5)
    ]
    for pair in pairs:
        assert np.allclose(pair.target, to_srgb(np.array(0.2)), atol=1e-4)
    plain, coupled = (np.corrcoef((pair.input - pair.target).reshape(3, -1)) for pair in pairs)
    assert coupled[0, 1] < plain[0, 1] - 0.1 and coupled[0, 2] > 0.2


def test_quantised_pictures_are_what_a_file_holds():
    pair = Camera().shoot("a", np.random.default_rng(1).uniform(size=(3, 16, 16)), np.random.default_rng(5))
    assert np.allclose(pair.input * 255, np.round(pair.input * 255), atol=1e-4)


@pytest.mark.parametrize(
    "setting",
    [
        {"shot": (0.0, 0.1)},
        {"shot": (0.1,)},
        {"exposure": (-1.0, 1.0)},
        {"read": -1.0},
        {"offset": float("nan")},
        {"white_balance": (0.5, 1.0)},
        {"colour": (0.5, 0.1)},
    ],
)
def test_impossible_cameras_are_refused(setting):
    with pytest.raises(UserError, match=f"data.camera.{next(iter(setting))}"):
        Camera(**setting)


def test_same_seed_same_photograph():
    clean = np.random.default_rng(1).uniform(size=(3, 16, 16))
    first, second = (Camera().shoot("a", clean, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.input, second.input)
