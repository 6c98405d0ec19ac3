"""The task of networks that restore images: judged by PSNR and SSIM."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from qprune_cli.calibration.loss import refuse_labels
from qprune_cli.errors import UserError
from qprune_cli.evaluate.quality import examples, judge, outputs, psnrs
from qprune_cli.evaluate.trial import refuse_other_channels, shape_of, trial_output
from qprune_cli.types import REFERENCE_SIDE, SSIM_WINDOW, Floats, ImageSet, Measure, Quality

PSNR = Measure("psnr", "PSNR", "dB", 2, 10)
SSIM = Measure("ssim", "SSIM", "", 4, 9)
SSIM3D = Measure("ssim3d", "SSIM 3-D", "", 4, 9)


@dataclass(frozen=True)
class Restoration:
    """A noisy image becomes a clean one; PSNR and SSIM say how near (see ``Task``). Without a network the noisy image stays as it is."""

    name = "denoise"
    model_does = "restores images"
    data_has = "clean images"
    loss = "psnr"
    output = "restored"
    baseline_name = "noisy"
    more_images = "data.crops"
    restores = any_size = True
    primary = merit = PSNR

    @property
    def measures(self) -> dict[str, Measure]:
        """PSNR and both kinds of SSIM, by name."""
        return {measure.name: measure for measure in (PSNR, SSIM, SSIM3D)}

    def primaries(self, results: Floats, targets: Any) -> Floats:
        """(N,) PSNR in dB of (N, C, H, W) images, compared with clean ones."""
        return psnrs(results, targets)

    def merits(self, results: Floats, targets: Any) -> Floats:
        """(N,) PSNR in dB of (N, C, H, W) images, compared with clean ones: it is smooth already."""
        return psnrs(results, targets)

    def merits_of(self, quality: Quality) -> Floats:
        """(N,) PSNR in dB, from a quality that was measured before."""
        return quality["psnr"]

    def quality(self, model: nn.Module, images: ImageSet, volume: bool = False) -> Quality:
        """PSNR and SSIM of what a network makes of the noisy images."""
        return judge(outputs(model, images, label="measure"), images, volume)

    def baseline(self, reference: ImageSet, images: ImageSet, volume: bool = False) -> Quality:
        """Quality of the noisy images as they are; the reference images do not matter."""
        return judge((pair.input for pair in images.pairs), images, volume)

    def examples(self, quality: Quality) -> dict[str, int]:
        """Positions of the images with the worst, the median and the best PSNR."""
        return examples(quality)

    def shape(self, images: ImageSet) -> tuple[int, int, int]:
        """(C, H, W) of one reference size for all images, whose sizes differ."""
        return len(images.pairs[0].input), REFERENCE_SIDE, REFERENCE_SIDE

    def fits(self, result: Any, images: Any) -> bool:
        """Whether the results have the shape of the (N, C, H, W) images."""
        return shape_of(result) == list(images.shape)

    def refuse_loss(self, setting: str, loss: str, names: Collection[str]) -> None:
        """Refuse a loss that needs labels (see ``refuse_labels``)."""
        refuse_labels(setting, loss, names)

    def refuse_unjudgeable(self, images: ImageSet, channels: int) -> None:
        """Refuse images of other channels, or too small for the window of SSIM, or whose noisy and clean image are equal.

        Raises:
            UserError: it names the first such image.
        """
        refuse_other_channels(images, channels)
        for name, noisy, clean in images.pairs:
            if min(noisy.shape[1:]) < SSIM_WINDOW:
                raise UserError(f"image '{name}': {noisy.shape[2]} x {noisy.shape[1]} pixels; SSIM needs at least {SSIM_WINDOW} a side")
            if np.array_equal(noisy, clean):
                raise UserError(f"image '{name}': the noisy and the clean image are the same, so its PSNR is infinite; take it out")

    def refuse_unfit(self, model: nn.Module, parts: Sequence[ImageSet]) -> None:
        """Refuse a network that does not turn the first image into an image of the same shape.

        Raises:
            UserError: it says what the network gives.
        """
        image = parts[0].pairs[0].input
        result = trial_output(model, image)
        if not self.fits(result, image[None]):
            raise UserError(
                f"{type(model).__name__}: gives {shape_of(result)} for an image of shape {[1, *image.shape]}; return one image of the "
                "shape of the input"
            )

    def doubts(self, baseline: Quality, dense: Quality) -> list[str]:
        """One sentence where the dense network makes the images worse."""
        noisy, denoised = (float(quality.primary.mean()) for quality in (baseline, dense))
        if denoised >= noisy:
            return []
        return [
            f"the dense network ({PSNR.text(denoised)}) is worse than the noisy images ({PSNR.text(noisy)}): it may predict the noise "
            "(model.predicts=noise), be made for other images, or have other weights"
        ]
