"""The problem as a binary quadratic model (BQM) of dimod, and the way back from samples to masks."""

from dataclasses import dataclass
from functools import cached_property

import dimod
import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints


@dataclass(frozen=True)
class CapacityModel:
    """``damage(d) + alpha * sum w_i d_i``: the damage, and a price ``alpha`` of dropping filter i in proportion to its cost ``w_i``.

    The budget is no quadratic penalty, so the couplings stay as they are. One variable per filter, numbered as in the layout, 1 = dropped.

    Args:
        problem: the problem.
    """

    problem: PruningProblem

    @cached_property
    def weights(self) -> Floats:
        """(n,) share of the budget that each filter spends, scaled to a mean of 1."""
        if self.problem.budget.exact:
            return np.ones(self.problem.layout.n)
        width = np.array([group.channels for group in self.problem.layout.groups])
        price = np.maximum(self.problem.prices.marginal(width / 2), 0)[self.problem.layer_of]
        return np.maximum(price / max(float(price.mean()), np.finfo(float).tiny), 1e-3)

    @cached_property
    def _entries(self) -> tuple[Ints, Ints, Floats]:
        return self.problem.pairs.entries(self.problem.layout.n)

    @cached_property
    def _sums(self) -> tuple[Floats, Floats]:
        return self.problem.pairs.sums(self.problem.layout.n)

    def bqm(self, alpha: float) -> dimod.BinaryQuadraticModel:
        """The model at one reward ``alpha`` for kept filters."""
        i, j, weight = self._entries
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            self.problem.linear + alpha * self.weights, (i, j, weight), 0.0, dimod.BINARY, variable_order=range(self.problem.layout.n)
        )

    def bracket(self) -> tuple[float, float]:
        """Two rewards ``alpha``: one at which all filters are dropped, and one at which all are kept."""
        below, above = self._sums
        margin = 1e-6 * (1 + float(np.abs(self.problem.linear).max()))
        highest, lowest = (self.problem.linear + above + margin) / self.weights, (self.problem.linear + below - margin) / self.weights
        return -float(highest.max()), -float(lowest.min())

    def temperatures(self) -> tuple[float, float]:
        """The lowest and the highest inverse temperature to anneal between, from the size of single flips.

        Hot: the largest flip is accepted half of the time. Cold: a flip of a ten-thousandth of it one time in a
        hundred; couplings and linear terms cancel, so what decides near the cut is small.
        """
        below, above = self._sums
        sizes = np.abs(self.problem.linear - np.median(self.problem.linear)) + above - below
        largest = float(sizes.max()) or 1.0
        return float(np.log(2)) / largest, 1e4 * float(np.log(100)) / largest

    @staticmethod
    def decode(samples: dimod.SampleSet) -> tuple[Bools, Floats]:
        """(reads, n) masks of a sample set, least energy first, and their (reads,) energies."""
        ordered = np.argsort(samples.record.energy, kind="stable")
        columns = np.argsort(np.asarray(samples.variables))
        return samples.record.sample[ordered][:, columns] == 0, samples.record.energy[ordered]
