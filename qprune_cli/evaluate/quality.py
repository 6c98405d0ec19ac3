"""Image quality: PSNR and SSIM per image, on values clipped to [0, 1]."""

from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn
from tqdm import tqdm

from qprune_cli.errors import UserError
from qprune_cli.types import SSIM_WINDOW, Floats, ImageSet, Quality

BATCH_PIXELS = 256 * 256  # activations of a larger batch leave a CPU's caches: twice as slow per image


def psnr(image: Floats, clean: Floats) -> float:
    """Peak signal-to-noise ratio in dB of a (C, H, W) image, clipped to [0, 1]."""
    return float(peak_signal_noise_ratio(clean.astype(np.float64), np.clip(image, 0, 1).astype(np.float64), data_range=1.0))


def ssim(image: Floats, clean: Floats) -> float:
    """Structural similarity of a (C, H, W) image, clipped to [0, 1]: 2-D, Gaussian window of sigma 1.5.

    References:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    settings: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    clipped = np.clip(image, 0, 1).astype(np.float64)
    return float(structural_similarity(clean.astype(np.float64), clipped, data_range=1.0, channel_axis=0, **settings))


@torch.inference_mode()
def outputs(model: nn.Module, images: ImageSet, label: str = "images") -> list[Floats]:
    """Run a network on all noisy images; returns one (C, H, W) float32 array per image, in order."""
    device = next(model.parameters()).device
    batch = max(1, BATCH_PIXELS // images.pairs[0].noisy[0].size)
    results: list[Floats] = []
    with tqdm(total=len(images), desc=label, unit="image", leave=False, disable=None) as bar:
        for noisy, _ in images.batches(batch):
            results.extend(model(torch.from_numpy(noisy).to(device)).cpu().numpy())
            bar.update(len(noisy))
    return results


def refuse_unjudgeable(images: ImageSet, channels: int) -> None:
    """Refuse images that have no PSNR or SSIM, or that a network cannot take.

    Raises:
        UserError: another number of channels, too small for the window of SSIM, or noisy equal to clean.
    """
    for name, noisy, clean in images.pairs:
        if len(noisy) != channels:
            raise UserError(
                f"image '{name}': {len(noisy)} channels where the network wants {channels}; set data.channels to model.channels"
            )
        if min(noisy.shape[1:]) < SSIM_WINDOW:
            raise UserError(f"image '{name}': {noisy.shape[2]} x {noisy.shape[1]} pixels; SSIM needs at least {SSIM_WINDOW} a side")
        if np.array_equal(noisy, clean):
            raise UserError(f"image '{name}': the noisy and the clean image are the same, so its PSNR is infinite; take it out")


def judge(results: list[Floats], images: ImageSet) -> Quality:
    """Compare results with the clean images, image by image."""
    compared = list(zip(results, images.pairs, strict=True))
    return Quality(
        names=images.names,
        psnr=np.array([psnr(result, pair.clean) for result, pair in compared]),
        ssim=np.array([ssim(result, pair.clean) for result, pair in compared]),
    )


def mean_psnr(model: nn.Module, images: ImageSet, label: str) -> float:
    """Mean over the images of the PSNR in dB; faster than ``judge``, which computes SSIM as well."""
    results = outputs(model, images, label=label)
    return float(np.mean([psnr(result, pair.clean) for result, pair in zip(results, images.pairs, strict=True)]))
