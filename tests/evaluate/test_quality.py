import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from qprune_cli.evaluate.quality import judge, psnr, ssim
from qprune_cli.types import ImageSet, Pair


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


def test_images_of_different_sizes_are_judged_one_by_one():
    rng = np.random.default_rng(0)
    pairs = tuple(Pair(str(k), *(rng.uniform(size=(3, side, 20)).astype(np.float32) for _ in range(2))) for k, side in enumerate((16, 30)))
    quality = judge([pair.noisy for pair in pairs], ImageSet(pairs))
    assert quality.psnr.tolist() == [psnr(pair.noisy, pair.clean) for pair in pairs]
