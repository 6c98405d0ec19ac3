"""Running a network on images, and image quality: PSNR and SSIM per image, on values clipped to [0, 1]."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch import nn
from tqdm import tqdm

from qprune_cli.types import Floats, ImageSet, Quality

PERFECT = 100.0  # dB of an image without any error, such as a black one; infinity would swallow every mean
BATCH_PIXELS = 256 * 256  # activations of a larger batch leave a CPU's caches: twice as slow per image


def psnr(image: Floats, clean: Floats) -> float:
    """Peak signal-to-noise ratio in dB of a (C, H, W) image, clipped to [0, 1]; ``PERFECT`` where it has no error."""
    return float(psnrs(image[None], clean[None])[0])


def psnrs(images: Floats, clean: Floats) -> Floats:
    """(N,) peak signal-to-noise ratios in dB of (N, C, H, W) images, as ``psnr`` of each."""
    clipped = np.clip(images, 0, 1)
    error = np.square(clipped.astype(np.float64) - clean.astype(np.float64)).reshape(len(images), -1).mean(axis=1)
    same = (clipped == clean).reshape(len(images), -1).all(axis=1)
    ratios: Floats = np.where(same, PERFECT, 10 * np.log10(1 / np.where(same, 1, error)))
    return ratios


def ssim(image: Floats, clean: Floats) -> float:
    """Structural similarity of a (C, H, W) image, clipped to [0, 1]: 2-D, Gaussian window of sigma 1.5.

    References:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    settings: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    clipped = np.clip(image, 0, 1).astype(np.float64)
    return float(structural_similarity(clean.astype(np.float64), clipped, data_range=1.0, channel_axis=0, **settings))


def ssim3d(image: Floats, clean: Floats) -> float:
    """The 3-D variant of SSIM that the denoising literature reports, of a (C, H, W) image clipped to [0, 1].

    The Gaussian window (11 taps, sigma 1.5, borders replicated) runs over the colours as well, as MATLAB's ``ssim`` does on
    an H x W x 3 array, so values are far higher than those of ``ssim`` and must not be compared with them.
    """
    a, b = np.clip(image, 0, 1).astype(np.float64), clean.astype(np.float64)
    mean_a, mean_b, aa, bb, ab = (gaussian_filter(v, sigma=1.5, radius=5, mode="nearest") for v in (a, b, a * a, b * b, a * b))
    c1, c2 = 0.01**2, 0.03**2
    covariance, variances = ab - mean_a * mean_b, aa - mean_a**2 + bb - mean_b**2
    return float((((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean())


@torch.inference_mode()
def output_batches(model: nn.Module, images: ImageSet, label: str = "images") -> Iterator[tuple[Floats, Any]]:
    """Run a network on all images, in order; yields outputs and targets, (<=batch, ...) each, and shows a bar behind ``label``."""
    device = next(model.parameters()).device
    batch = max(1, BATCH_PIXELS // images.pairs[0].input[0].size)
    with tqdm(total=len(images), desc=label, unit="image", leave=False, disable=None) as bar:
        for inputs, targets in images.batches(batch):
            yield model(torch.from_numpy(inputs).to(device)).cpu().numpy(), targets
            bar.update(len(inputs))


def outputs(model: nn.Module, images: ImageSet, label: str = "images") -> Iterator[Floats]:
    """Run a network on all images, in order; yields one float32 output per image, such as (C, H, W)."""
    for results, _ in output_batches(model, images, label):
        yield from results


def mean_measure(measure: Callable[[Floats, Any], Floats], model: nn.Module, images: ImageSet, label: str) -> float:
    """Mean over the images of what a measure, such as ``psnrs``, makes of (N, ...) results and targets."""
    return float(np.concatenate([measure(results, targets) for results, targets in output_batches(model, images, label)]).mean())


def judge(results: Iterable[Floats], images: ImageSet, volume: bool = False) -> Quality:
    """PSNR and SSIM of results against the clean images, image by image.

    Args:
        results: (C, H, W) each, in order.
        images: pairs whose clean images they should equal.
        volume: measure ``ssim3d`` as well.
    """
    measures = (psnr, ssim, ssim3d) if volume else (psnr, ssim)
    values = [[measure(result, pair.target) for measure in measures] for result, pair in zip(results, images.pairs, strict=True)]
    return Quality(images.names, dict(zip((measure.__name__ for measure in measures), np.array(values).T, strict=True)))


def examples(quality: Quality) -> dict[str, int]:
    """Positions of the images with the worst, the median and the best PSNR, under these names."""
    order = np.argsort(quality["psnr"], kind="stable")
    return {"worst": int(order[0]), "median": int(order[len(order) // 2]), "best": int(order[-1])}
