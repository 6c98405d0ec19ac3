"""The search of PROTES: draw masks, measure them, make the best of them more probable."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qprune_cli.search.train import Train
from qprune_cli.types import Bools, Floats

DECAY, DECAY_SQUARE, TINY = 0.9, 0.999, 1e-8  # of Adam
Measure = Callable[[Bools], tuple[Bools, Floats] | None]


class Adam:
    """Ascent with a step of about ``rate`` in every coordinate.

    References:
        Kingma, Ba, "Adam: a method for stochastic optimization", 2015.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.steps = rate, 0
        self.mean: Floats | float = 0.0
        self.square: Floats | float = 0.0

    def moved(self, values: Floats, slope: Floats) -> Floats:
        """One step up the slope."""
        self.steps += 1
        self.mean = DECAY * self.mean + (1 - DECAY) * slope
        self.square = DECAY_SQUARE * self.square + (1 - DECAY_SQUARE) * slope**2
        mean, square = self.mean / (1 - DECAY**self.steps), self.square / (1 - DECAY_SQUARE**self.steps)
        return np.asarray(values + self.rate * mean / (np.sqrt(square) + TINY))


@dataclass(frozen=True)
class Protes:
    """Draw a batch of masks, measure it, and raise the mean log-probability of its best ones by some steps of Adam.

    Args:
        samples: masks in a batch.
        elites: best masks that the train is pulled toward.
        memory: take the best of all masks so far; otherwise those of the last batch, as PROTES does.
        steps: of Adam for each batch.
        rate: of Adam, in logarithms of the matrices.

    References:
        Batsheva, Chertkov, Ryzhakov, Oseledets, "PROTES: probabilistic optimization with tensor sampling", NeurIPS 2023; written from
        its formulas. There the cores may change sign and absolute values are taken; here they are exponentials.

    Example:
        >>> seen = []
        >>> def ones(masks):
        ...     seen.extend(masks.sum(axis=1).tolist())
        ...     return (masks, masks.sum(axis=1).astype(float)) if len(seen) <= 500 else None
        >>> rng = np.random.default_rng(0)
        >>> train = Protes(samples=50, elites=5, steps=5, rate=0.2).climb(Train.random(8, 2, rng), ones, rng)
        >>> max(seen)
        8
    """

    samples: int = 100
    elites: int = 10
    memory: bool = False
    steps: int = 1
    rate: float = 0.05

    def climb(self, train: Train, measure: Measure, rng: np.random.Generator, first: Bools | None = None) -> Train:
        """Search until there is nothing more to measure.

        Args:
            train: where to begin.
            measure: (b, d) masks -> the masks to learn from, which may be other ones, and what they are worth, higher is better;
                None to stop.
            rng: draws the masks.
            first: (b, d) masks that are in the first batch.

        Returns:
            The train in the end.
        """
        adam = Adam(self.rate)
        best, worth = np.empty((0, len(train.theta)), bool), np.array([], float)
        masks = train.sample(rng, self.samples)
        if first is not None:
            masks = np.concatenate([first, masks])[: max(self.samples, len(first))]
        while (measured := measure(masks)) is not None:
            learnt, values = measured
            if self.memory:
                learnt, places = np.unique(np.concatenate([best, learnt]), axis=0, return_index=True)
                values = np.concatenate([worth, values])[places]
            order = np.argsort(-values, kind="stable")[: self.elites]
            best, worth = learnt[order], values[order]
            for _ in range(self.steps if len(best) else 0):
                train = Train(adam.moved(train.theta, train.slope(best)), train.runs)
            masks = train.sample(rng, self.samples)
        return train
