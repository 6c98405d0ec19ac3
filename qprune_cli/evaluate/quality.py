"""Image quality: PSNR and SSIM per image, on values clipped to [0, 1]."""

from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn
from tqdm import tqdm

from qprune_cli.types import Floats, ImageSet, Quality


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
def outputs(model: nn.Module, images: ImageSet, batch: int = 8, label: str = "images") -> list[Floats]:
    """Run a network on all noisy images; returns one (C, H, W) float32 array per image, in order."""
    device = next(model.parameters()).device
    results: list[Floats] = []
    with tqdm(total=len(images), desc=label, unit="image", leave=False, disable=None) as bar:
        for noisy, _ in images.batches(batch):
            results.extend(model(torch.from_numpy(noisy).to(device)).cpu().numpy())
            bar.update(len(noisy))
    return results


def judge(results: list[Floats], images: ImageSet) -> Quality:
    """Compare results with the clean images, image by image."""
    compared = list(zip(results, images.pairs, strict=True))
    return Quality(
        names=images.names,
        psnr=np.array([psnr(result, pair.clean) for result, pair in compared]),
        ssim=np.array([ssim(result, pair.clean) for result, pair in compared]),
    )
