"""Image quality: PSNR and SSIM per image, on values clipped to [0, 1]."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch import nn
from tqdm import tqdm

from qprune_cli.errors import UserError
from qprune_cli.types import SSIM_WINDOW, Floats, ImageSet, Quality

PERFECT = 100.0  # dB of an image without any error, such as a black one; infinity would swallow every mean
BATCH_PIXELS = 256 * 256  # activations of a larger batch leave a CPU's caches: twice as slow per image


def psnr(image: Floats, clean: Floats) -> float:
    """Peak signal-to-noise ratio in dB of a (C, H, W) image, clipped to [0, 1]; ``PERFECT`` where nothing is wrong."""
    return float(psnrs(image[None], clean[None])[0])


def psnrs(images: Floats, clean: Floats) -> Floats:
    """The same of (N, C, H, W) images: (N,) dB."""
    clipped = np.clip(images, 0, 1)
    wrong = np.square(clipped.astype(np.float64) - clean.astype(np.float64)).reshape(len(images), -1).mean(axis=1)
    same = (clipped == clean).reshape(len(images), -1).all(axis=1)
    found: Floats = np.where(same, PERFECT, 10 * np.log10(1 / np.where(same, 1, wrong)))
    return found


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
def outputs(model: nn.Module, images: ImageSet, label: str = "images") -> Iterator[Floats]:
    """Run a network on all noisy images; yields one (C, H, W) float32 array per image, in order."""
    device = next(model.parameters()).device
    batch = max(1, BATCH_PIXELS // images.pairs[0].noisy[0].size)
    with tqdm(total=len(images), desc=label, unit="image", leave=False, disable=None) as bar:
        for noisy, _ in images.batches(batch):
            yield from model(torch.from_numpy(noisy).to(device)).cpu().numpy()
            bar.update(len(noisy))


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


@torch.no_grad()
def refuse_unfit(model: nn.Module, image: Floats) -> None:
    """Refuse a network that does not turn an image into an image of the same shape.

    Args:
        model: the network.
        image: (C, H, W) float32.

    Raises:
        UserError: it computes in another precision, cannot take the image, or gives something else.
    """
    name, parameter = type(model).__name__, next(model.parameters(), torch.zeros(0))
    if parameter.dtype != torch.float32:
        raise UserError(f"{name}: computes in {parameter.dtype}; convert it with model.float()")
    try:
        result = model(torch.from_numpy(image[None]).to(parameter.device))
    except Exception as error:  # the user's own code may raise anything
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{name}: does not take an image of shape {[1, *image.shape]} ({said}); set model.channels to the channels that it takes, or "
            "give images of a size that it takes"
        ) from error
    shape = list(result.shape) if isinstance(result, torch.Tensor) else f"a {type(result).__name__}"
    if shape != [1, *image.shape]:
        raise UserError(f"{name}: gives {shape} for an image of shape {[1, *image.shape]}; return one image of the shape of the input")


def judge(results: Iterable[Floats], images: ImageSet, volume: bool = False) -> Quality:
    """Compare results with the clean images, image by image.

    Args:
        results: (C, H, W) each, in order.
        images: what they should be.
        volume: measure ``ssim3d`` as well.
    """
    measures = (psnr, ssim, ssim3d) if volume else (psnr, ssim)
    values = [[measure(result, pair.clean) for measure in measures] for result, pair in zip(results, images.pairs, strict=True)]
    return Quality(images.names, *np.array(values).T)


def examples(quality: Quality) -> dict[str, int]:
    """Positions of the images with the worst, the median and the best PSNR."""
    order = np.argsort(quality.psnr, kind="stable")
    return {"worst": int(order[0]), "median": int(order[len(order) // 2]), "best": int(order[-1])}


def mean_psnr(model: nn.Module, images: ImageSet, label: str) -> float:
    """Mean over the images of the PSNR in dB; faster than ``judge``, which computes SSIM as well."""
    results = zip(outputs(model, images, label=label), images.pairs, strict=True)
    return float(np.mean([psnr(result, pair.clean) for result, pair in results]))
