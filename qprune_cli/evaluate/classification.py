"""The task of networks that name the class of an image: judged by accuracy and cross-entropy."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from qprune_cli.calibration.loss import refuse_no_labels
from qprune_cli.calibration.samples import labels_of
from qprune_cli.errors import UserError
from qprune_cli.evaluate.quality import output_batches
from qprune_cli.evaluate.trial import refuse_other_channels, shape_of, trial_output
from qprune_cli.types import Floats, ImageSet, Ints, Measure, Quality

ACCURACY = Measure("accuracy", "accuracy", "%", 2, 10, 100, "points")
CROSS_ENTROPY = Measure("cross_entropy", "cross-entropy", "", 4, 15)
LOG_LIKELIHOOD = Measure("log_likelihood", "log-likelihood", "nats", 4, 16)


def correct(logits: Floats, labels: Ints) -> Floats:
    """(N, classes) logits and (N,) labels -> (N,) 1 where the largest logit is that of the label, else 0; NaN where one is not finite."""
    hits: Floats = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1) == labels, np.nan)
    return hits


def log_likelihoods(logits: Floats, labels: Ints) -> Floats:
    """(N,) log of the probability in nats that (N, classes) logits give the label: minus the cross-entropy."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    values: Floats = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    return values


@dataclass(frozen=True)
class Classification:
    """An image gets one of several classes (see ``Task``); accuracy is a share of the images, cross-entropy in nats.

    Without a network one knows the frequencies of the classes: the answer is always the most frequent one.
    """

    name = "classify"
    model_does = "names classes"
    data_has = "labels"
    loss = "cross_entropy"
    output = "logits"
    baseline_name = "majority"
    more_images = "data.refinement"
    restores = any_size = False
    primary = ACCURACY
    merit = LOG_LIKELIHOOD

    @property
    def measures(self) -> dict[str, Measure]:
        """Accuracy and cross-entropy, by name."""
        return {measure.name: measure for measure in (ACCURACY, CROSS_ENTROPY)}

    def primaries(self, results: Floats, targets: Any) -> Floats:
        """(N,) 1 where (N, classes) logits name the right class, else 0."""
        return correct(results, targets)

    def merits(self, results: Floats, targets: Any) -> Floats:
        """(N,) log-likelihoods in nats of the labels, by (N, classes) logits."""
        return log_likelihoods(results, targets)

    def merits_of(self, quality: Quality) -> Floats:
        """(N,) log-likelihoods in nats: minus the cross-entropies that were measured before."""
        return -quality["cross_entropy"]

    def quality(self, model: nn.Module, images: ImageSet, volume: bool = False) -> Quality:
        """Accuracy and cross-entropy of a network on each image; ``volume`` does not matter."""
        logits, labels = (np.concatenate(parts) for parts in zip(*output_batches(model, images, label="measure"), strict=True))
        return _judged(images.names, logits, labels)

    def baseline(self, reference: ImageSet, images: ImageSet, volume: bool = False) -> Quality:
        """Quality of the class frequencies of the reference images as probabilities; each class counts as if it had been seen once more."""
        frequent, labels = labels_of(reference), labels_of(images)
        counts = np.bincount(frequent, minlength=1 + max(int(frequent.max()), int(labels.max()))) + 1.0
        return _judged(images.names, np.repeat(np.log(counts / counts.sum())[None], len(labels), axis=0), labels)

    def examples(self, quality: Quality) -> dict[str, int]:
        """No images at all: a picture does not show how good a classifier is."""
        return {}

    def shape(self, images: ImageSet) -> tuple[int, int, int]:
        """(C, H, W) of the images themselves, which all have one size."""
        channels, height, width = images.pairs[0].input.shape
        return channels, height, width

    def fits(self, result: Any, images: Any) -> bool:
        """Whether each of the (N, C, H, W) images got one number for each class."""
        shape = shape_of(result)
        return len(shape) == 2 and shape[0] == len(images)

    def refuse_loss(self, setting: str, loss: str, names: Collection[str]) -> None:
        """Refuse a loss that compares images (see ``refuse_no_labels``)."""
        refuse_no_labels(setting, loss, names)

    def refuse_unjudgeable(self, images: ImageSet, channels: int) -> None:
        """Refuse images of other channels, and labels that are no whole number, at least 0.

        Raises:
            UserError: it names the first such image.
        """
        refuse_other_channels(images, channels)
        for name, _, label in images.pairs:
            if np.ndim(label) or not np.issubdtype(np.asarray(label).dtype, np.integer) or label < 0:
                raise UserError(f"image '{name}': its label is no whole number, at least 0; give a 0-d int64 array")

    def refuse_unfit(self, model: nn.Module, parts: Sequence[ImageSet]) -> None:
        """Refuse a network that does not give one logit for each class, or fewer than there are classes in all parts.

        Raises:
            UserError: it says what the network gives.
        """
        name, image = type(model).__name__, parts[0].pairs[0].input
        result = trial_output(model, image)
        if not self.fits(result, image[None]):
            raise UserError(f"{name}: gives {shape_of(result)} for an image of shape {[1, *image.shape]}; return [1, classes] logits")
        if (largest := max(int(labels_of(images).max()) for images in parts)) >= result.shape[1]:
            raise UserError(
                f"{name}: gives {result.shape[1]} logits, and there are labels up to {largest}; set model.classes={largest + 1}, or number "
                "the classes from 0"
            )

    def doubts(self, baseline: Quality, dense: Quality) -> list[str]:
        """One sentence where the dense network knows no more than which class is frequent."""
        majority, accuracy = (float(quality.primary.mean()) for quality in (baseline, dense))
        if accuracy > majority:
            return []
        return [
            f"the dense network ({ACCURACY.text(accuracy)}) is no better than always answering the most frequent class "
            f"({ACCURACY.text(majority)}): it may be made for other images, number the classes in another way, or have other weights"
        ]


def _judged(names: tuple[str, ...], logits: Floats, labels: Ints) -> Quality:
    """Accuracy and cross-entropy of (N, classes) logits against (N,) labels."""
    return Quality(names, {"accuracy": correct(logits, labels), "cross_entropy": -log_likelihoods(logits, labels)})
