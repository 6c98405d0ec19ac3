import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from qprune_cli.evaluate.quality import PERFECT, examples, judge, psnr, ssim, ssim3d
from qprune_cli.types import ImageSet, Pair, Quality


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_agree_with_scikit_image_on_clipped_values(channels):
    rng = np.random.default_rng(0)
    clean = rng.uniform(size=(40, 50, channels)).astype(np.float32)
    noisy = (clean + rng.normal(0, 0.2, clean.shape)).astype(np.float32)
    clipped = np.clip(noisy, 0, 1)
    assert noisy.max() > 1
    found = noisy.transpose(2, 0, 1), clean.transpose(2, 0, 1)
    assert abs(psnr(*found) - peak_signal_noise_ratio(clean, clipped, data_range=1)) < 1e-4
    expected = structural_similarity(
        clean.astype(float),
        clipped.astype(float),
        data_range=1,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert abs(ssim(*found) - expected) < 1e-6


def test_psnr_by_hand():
    assert np.isclose(psnr(np.full((1, 8, 8), 0.6), np.full((1, 8, 8), 0.5)), 20)


def test_image_without_any_error_has_a_finite_psnr():
    black = np.zeros((3, 16, 16), np.float32)
    assert psnr(black - 0.1, black) == PERFECT == 100


def test_images_of_different_sizes_are_judged_one_by_one():
    rng = np.random.default_rng(0)
    pairs = tuple(Pair(str(k), *(rng.uniform(size=(3, side, 20)).astype(np.float32) for _ in range(2))) for k, side in enumerate((16, 30)))
    quality = judge([pair.input for pair in pairs], ImageSet(pairs))
    assert quality["psnr"].tolist() == [psnr(pair.input, pair.target) for pair in pairs]


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim3d_is_the_formula_of_the_literature(channels):
    """A Gaussian of 11 x 11 x 11 taps, sigma 1.5, replicated borders, over (C, H, W) as one volume."""
    rng = np.random.default_rng(0)
    clean = rng.uniform(size=(channels, 24, 30))
    noisy = np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1)
    taps = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    window = taps[:, None, None] * taps[:, None] * taps

    def blurred(volume):
        padded = torch.nn.functional.pad(torch.from_numpy(volume)[None, None], (5,) * 6, mode="replicate")
        return torch.nn.functional.conv3d(padded, window[None, None])[0, 0]

    a, b = blurred(noisy), blurred(clean)
    var_a, var_b, cov = blurred(noisy**2) - a**2, blurred(clean**2) - b**2, blurred(noisy * clean) - a * b
    expected = ((2 * a * b + 1e-4) * (2 * cov + 9e-4) / ((a**2 + b**2 + 1e-4) * (var_a + var_b + 9e-4))).mean()
    assert abs(ssim3d(noisy, clean) - float(expected)) < 1e-5
    assert np.isclose(ssim3d(clean, clean), 1)


def test_3d_ssim_is_measured_when_it_is_asked_for():
    rng = np.random.default_rng(0)
    images = ImageSet((Pair("a", *rng.uniform(size=(2, 3, 16, 20)).astype(np.float32)),))
    assert judge([images.pairs[0].input], images).measures.keys() == {"psnr", "ssim"}
    quality = judge([images.pairs[0].input], images, volume=True)
    assert quality.measures.keys() == {"psnr", "ssim", "ssim3d"} and quality["ssim3d"][0] == ssim3d(*images.pairs[0][1:])


def test_examples_are_the_worst_the_median_and_the_best():
    values = np.array([30.0, 10.0, 20.0, 50.0, 40.0])
    assert examples(Quality(tuple("abcde"), {"psnr": values, "ssim": values})) == {"worst": 1, "median": 0, "best": 3}
