"""The search of PROTES: draw masks from a distribution, measure them, and make the best of them more probable."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qprune_cli.search.mask_distribution import MaskDistribution
from qprune_cli.types import Bools, Floats

DECAY, DECAY_SQUARE, TINY = 0.9, 0.999, 1e-8  # constants of Adam, as published
MeasureMasks = Callable[[Bools], tuple[Bools, Floats] | None]


class Adam:
    """Gradient ascent by Adam, with a step of about ``rate`` in every coordinate.

    Args:
        rate: size of a step.

    References:
        Kingma, Ba, "Adam: a method for stochastic optimization", 2015.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.steps = rate, 0
        self.mean: Floats | float = 0.0
        self.square: Floats | float = 0.0

    def moved(self, values: Floats, slope: Floats) -> Floats:
        """The values after one step up the slope; both of any one shape, the same at every call."""
        self.steps += 1
        self.mean = DECAY * self.mean + (1 - DECAY) * slope
        self.square = DECAY_SQUARE * self.square + (1 - DECAY_SQUARE) * slope**2
        mean, square = self.mean / (1 - DECAY**self.steps), self.square / (1 - DECAY_SQUARE**self.steps)
        return np.asarray(values + self.rate * mean / (np.sqrt(square) + TINY))


@dataclass(frozen=True)
class Protes:
    """Draw a batch of masks, measure it, and raise the mean log-probability of its best ones by some steps of Adam.

    Args:
        samples: number of masks in a batch.
        elites: number of best masks that the distribution is pulled toward.
        memory: take the best of all masks so far; otherwise those of the last batch, as PROTES does.
        steps: steps of Adam for each batch.
        rate: step size of Adam, in logarithms of the matrices.

    References:
        Batsheva, Chertkov, Ryzhakov, Oseledets, "PROTES: probabilistic optimization with tensor sampling", NeurIPS 2023; written from
        its formulas. There the cores may change sign and absolute values are taken; here they are exponentials.

    Example:
        >>> seen = []
        >>> def ones(masks):
        ...     seen.extend(masks.sum(axis=1).tolist())
        ...     return (masks, masks.sum(axis=1).astype(float)) if len(seen) <= 500 else None
        >>> rng = np.random.default_rng(0)
        >>> final = Protes(samples=50, elites=5, steps=5, rate=0.2).climb(MaskDistribution.random(8, 2, rng), ones, rng)
        >>> max(seen)
        8
    """

    samples: int = 100
    elites: int = 10
    memory: bool = False
    steps: int = 1
    rate: float = 0.05

    def climb(
        self, distribution: MaskDistribution, measure: MeasureMasks, rng: np.random.Generator, first: Bools | None = None
    ) -> MaskDistribution:
        """Search until the measure says stop.

        Args:
            distribution: the one to begin with.
            measure: takes (b, d) masks; returns (k, d) masks to learn from, which may be other ones, and their (k,) values, higher is
                better; None to stop.
            rng: draws the masks.
            first: (b, d) masks that are in the first batch; None for none.

        Returns:
            The distribution in the end.
        """
        adam = Adam(self.rate)
        best, best_values = np.empty((0, len(distribution.theta)), bool), np.array([], float)
        masks = distribution.sample(rng, self.samples)
        if first is not None:
            masks = np.concatenate([first, masks])[: max(self.samples, len(first))]
        while (measured := measure(masks)) is not None:
            candidates, values = measured
            if self.memory:
                candidates, rows = np.unique(np.concatenate([best, candidates]), axis=0, return_index=True)
                values = np.concatenate([best_values, values])[rows]
            order = np.argsort(-values, kind="stable")[: self.elites]
            best, best_values = candidates[order], values[order]
            for _ in range(self.steps if len(best) else 0):
                distribution = MaskDistribution(adam.moved(distribution.theta, distribution.slope(best)), distribution.runs)
            masks = distribution.sample(rng, self.samples)
        return distribution
