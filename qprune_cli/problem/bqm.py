"""The problem as a binary quadratic model of dimod, and the way back."""

from dataclasses import dataclass

import dimod
import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats


@dataclass(frozen=True)
class CapacityModel:
    """``damage(d) + alpha * sum d``: the damage plus a uniform reward ``alpha`` for every kept filter.

    No penalty, so the couplings stay as they are. One variable per filter, numbered as in the layout, 1 = dropped.

    Args:
        problem: the problem.
    """

    problem: PruningProblem

    def bqm(self, alpha: float) -> dimod.BinaryQuadraticModel:
        """The model at one capacity."""
        pairs = self.problem.pairs
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            self.problem.linear + alpha, (pairs.i, pairs.j, pairs.weight), 0.0, dimod.BINARY, variable_order=range(self.problem.layout.n)
        )

    def bracket(self) -> tuple[float, float]:
        """Capacities at which everything is dropped, and at which everything is kept."""
        coupling = self.problem.coupling
        highest = self.problem.linear + np.maximum(coupling, 0).sum(axis=1)
        lowest = self.problem.linear + np.minimum(coupling, 0).sum(axis=1)
        margin = 1e-6 * (1 + float(np.abs(self.problem.linear).max()))
        return -float(highest.max()) - margin, -float(lowest.min()) + margin

    def temperatures(self) -> tuple[float, float]:
        """Inverse temperatures to anneal between, from the size of single flips.

        Hot: the largest flip is accepted half of the time. Cold: a flip of a ten-thousandth of it one time in a
        hundred; couplings and linear terms cancel, so what decides near the cut is small.
        """
        sizes = np.abs(self.problem.linear - np.median(self.problem.linear)) + np.abs(self.problem.coupling).sum(axis=1)
        largest = float(sizes.max()) or 1.0
        return float(np.log(2)) / largest, 1e4 * float(np.log(100)) / largest

    @staticmethod
    def decode(samples: dimod.SampleSet) -> tuple[Bools, Floats]:
        """Masks (reads, n), best energy first, and their energies (reads,)."""
        ordered = np.argsort(samples.record.energy, kind="stable")
        columns = np.argsort(np.asarray(samples.variables))
        return samples.record.sample[ordered][:, columns] == 0, samples.record.energy[ordered]
