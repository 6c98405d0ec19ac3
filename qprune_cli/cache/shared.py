"""What runs of one network on the same images have in common: the dense network's quality, scores, how far they can be trusted."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from qprune_cli.cache.store import Entry, Store
from qprune_cli.clock import Clock
from qprune_cli.scores import Pairs, Scores
from qprune_cli.types import Bools, ImageSet, Layout, Quality, Splits
from qprune_cli.weights.checkpoint import weights_digest
from qprune_cli.weights.fingerprint import output_fingerprint

LOG = logging.getLogger("qprune_cli")
DRAWN = 4  # crops that tell sources of training images apart


@dataclass
class Shared:
    """Recalls what earlier runs have computed for the same network and images.

    Every method takes what makes the result, and calls it where nobody has; the time that it took then is added to the clock, so that
    the seconds of a run say what its methods cost, whoever was first.

    Args:
        store: where results are kept.
        dense: the network.
        layout: its filters.
        splits: the images.
        clock: takes the time.
        recalled: what was taken from earlier runs, one line each.
    """

    store: Store
    dense: nn.Module
    layout: Layout
    splits: Splits
    clock: Clock
    recalled: list[str] = field(default_factory=list)

    def scores(self, scorer: Mapping[str, Any], seed: int, keep: Bools, network: nn.Module, make: Callable[[], Scores]) -> Scores:
        """Scores of a scorer at a mask.

        Args:
            scorer: its settings.
            seed: it was given.
            keep: (n,) the mask.
            network: with weights that were re-fitted, or the dense one.
            make: computes them.
        """
        title = f"{str(scorer.get('_target_')).rsplit('.', 1)[-1]}, {int(keep.sum())} of {self.layout.n} filters, seed {seed}"
        key = {"scorer": scorer, "seed": seed}
        return _unpacked(self._recall("scores", lambda: self._there(keep, network) | key, "score", title, lambda: _packed(make())))

    def quality(self, name: str, volume: bool, make: Callable[[], Quality]) -> Quality:
        """Quality on the test images, of the dense network or of what needs none.

        Args:
            name: dense or identity.
            volume: whether the 3-D SSIM belongs to it.
            make: measures it.
        """

        def key() -> dict[str, Any]:
            source = self._network if name == "dense" else [self.splits.task, self._calibration]
            return {"of": name, "by": source, "images": self._test, "volume": volume}

        entry = self._recall("quality", key, "measure", name, lambda: _measured(make()))
        return Quality(self.splits.test.names, {measure: entry.arrays[measure] for measure in entry.notes["measures"]})

    def baseline(self, settings: Mapping[str, Any], title: str, volume: bool, make: Callable[[], dict[str, Quality]]) -> dict[str, Quality]:
        """Quality of the mask that a method is compared with, by stage.

        Args:
            settings: all that it depends on beside network and images.
            title: what it is, in short.
            volume: whether the 3-D SSIM belongs to it.
            make: measures it.
        """

        def key() -> dict[str, Any]:
            images = [self._calibration, self._refinement, self._test]
            return {"network": self._network, "images": images, "settings": settings, "volume": volume}

        def made() -> Entry:
            qualities = make()
            arrays = {f"{stage}.{name}": values for stage, quality in qualities.items() for name, values in quality.measures.items()}
            return Entry(arrays, {"stages": {stage: list(quality.measures) for stage, quality in qualities.items()}})

        entry = self._recall("baseline", key, "baselines", title, made)
        return {
            stage: Quality(self.splits.test.names, {name: entry.arrays[f"{stage}.{name}"] for name in measures})
            for stage, measures in entry.notes["stages"].items()
        }

    def tuned(
        self, settings: Mapping[str, Any], seed: int, volume: bool, make: Callable[[], tuple[Quality, dict[str, Any]]]
    ) -> tuple[Quality, dict[str, Any]]:
        """Quality of the dense network after more training, and how that went.

        Args:
            settings: of the training; ``crop`` is the side of a crop.
            seed: it was given.
            volume: whether the 3-D SSIM belongs to the quality.
            make: trains and measures.
        """

        def key() -> dict[str, Any]:
            drawn = images_digest(self.splits.train.draw(np.random.default_rng(seed), DRAWN, settings["crop"]))
            images = [drawn, self._refinement, self._test]
            return {"network": self._network, "images": images, "settings": settings, "seed": seed, "volume": volume}

        def made() -> Entry:
            quality, record = make()
            return Entry(dict(quality.measures), {"measures": list(quality.measures), "record": record})

        entry = self._recall("tuned", key, "finetune", f"dense network, {settings['steps']} steps, seed {seed}", made)
        quality = Quality(self.splits.test.names, {measure: entry.arrays[measure] for measure in entry.notes["measures"]})
        return quality, dict(entry.notes["record"])

    def fidelity(self, settings: Mapping[str, Any], keep: Bools, network: nn.Module, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """How far scores can be trusted at a mask.

        Args:
            settings: of scorer and fidelity, the scores' own hash included.
            keep: (n,) the mask.
            network: with weights that were re-fitted, or the dense one.
            make: finds out.
        """
        title = f"{int(keep.sum())} of {self.layout.n} filters"
        key = {"settings": settings}
        return dict(self._recall("fidelity", lambda: self._there(keep, network) | key, "fidelity", title, lambda: Entry({}, make())).notes)

    def _there(self, keep: Bools, network: nn.Module) -> dict[str, Any]:
        """What everything that is computed at a mask depends on."""
        refitted = None if network is self.dense else weights_digest(network)
        return {"network": self._network, "images": self._calibration, "keep": _array(keep), "refitted": refitted}

    def _recall(self, kind: str, key: Callable[[], Mapping[str, Any]], stage: str, title: str, make: Callable[[], Entry]) -> Entry:
        if self.store.folder is None:  # nothing is hashed for nothing
            return make()
        entry = self.store.recall(kind, key(), title, make)
        if entry.hit:
            self.clock.add(stage, entry.seconds)
            self.recalled.append(f"{kind}: {title}")
            LOG.info("%s (%s): as an earlier run has found in %.1f s", kind, title, entry.seconds)
        return entry

    @cached_property
    def _network(self) -> list[Any]:
        """Weights, filters, and what the network answers, which tells networks of the same weights and other operations apart."""
        device = str(next(self.dense.parameters()).device.type)
        return [
            weights_digest(self.dense),
            hashlib.sha256(repr(self.layout).encode()).hexdigest(),
            [f"{value:.3g}" for value in output_fingerprint(self.dense, self.layout.shape)],
            device,
        ]

    @cached_property
    def _calibration(self) -> str:
        return images_digest(self.splits.calibration)

    @cached_property
    def _refinement(self) -> str:
        return images_digest(self.splits.refinement)

    @cached_property
    def _test(self) -> str:
        return images_digest(self.splits.test)


def images_digest(images: ImageSet) -> str:
    """SHA-256 of names, shapes and values of all images."""
    digest = hashlib.sha256()
    for pair in images.pairs:
        digest.update(repr((pair.name, pair.input.shape, pair.target.shape)).encode())
        for array in (pair.input, pair.target):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def scores_digest(scores: Scores) -> str:
    """SHA-256 over all arrays that scores hold, couplings included."""
    packed = _packed(scores)
    return hashlib.sha256("".join(name + _array(array) for name, array in packed.arrays.items()).encode()).hexdigest()


def _array(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _packed(scores: Scores) -> Entry:
    arrays: dict[str, NDArray[Any]] = {"linear": scores.linear} | {f"block{k}": block for k, block in enumerate(scores.pairs.blocks)}
    arrays |= {name: value for name, value in (("factor", scores.pairs.factor), ("dead", scores.dead)) if value is not None}
    return Entry(arrays, json.loads(json.dumps(dict(scores.notes), default=lambda value: value.tolist())))


def _unpacked(entry: Entry) -> Scores:
    blocks = tuple(entry.arrays[f"block{k}"] for k in range(sum(name.startswith("block") for name in entry.arrays)))
    return Scores(entry.arrays["linear"], Pairs(blocks, entry.arrays.get("factor")), entry.arrays.get("dead"), entry.notes)


def _measured(quality: Quality) -> Entry:
    return Entry(dict(quality.measures), {"measures": list(quality.measures)})
