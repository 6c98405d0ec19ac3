"""Many masks on the move by swaps, side by side."""

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints

SIDE = 16  # filters on either side of the exchanges that a chain looks at in one step
DRAWS = 64  # exchanges that say what a typical change of the damage is


class Chains:
    """``b`` masks with their marginals and damages kept up to date.

    Args:
        problem: the problem.
        keep: (b, n) feasible masks to start from; copied.
    """

    def __init__(self, problem: PruningProblem, keep: Bools) -> None:
        self.problem = problem
        self.keep = keep.copy()
        drop = (~keep).astype(np.float64)
        self.marginal: Floats = problem.linear + problem.pairs.field(drop)
        self.damage = problem.damage(keep)
        self.best, self.best_damage = keep.copy(), self.damage.copy()
        self.kept = np.stack([problem.kept_per_layer(mask) for mask in keep])
        self.across = problem.budget.exact and problem.budget.free
        self._start = np.array([own[0] for own in problem.filters_of])
        self._width = np.array([len(own) for own in problem.filters_of])
        blocks = problem.pairs.blocks or tuple(np.zeros((0, 0)) for _ in problem.filters_of)
        self._flat: Floats = np.concatenate([block.ravel() for block in blocks] or [np.zeros(0)])
        self._base = np.cumsum([0, *(block.size for block in blocks)])[:-1]

    @property
    def looked_at(self) -> int:
        """Filters that one step looks at."""
        return 2 * SIDE

    def typical(self, rng: np.random.Generator) -> float:
        """Median size of the change of damage by random exchanges."""
        sizes = []
        for _ in range(DRAWS // len(self.keep) + 1):
            change, _, _ = self._proposals(rng)
            sizes.append(np.abs(change[np.isfinite(change)]))
        values = np.concatenate(sizes)
        return float(np.median(values)) if values.any() else 1.0

    def step(self, rng: np.random.Generator, temperature: float) -> None:
        """One exchange, or none, in every chain."""
        change, i, j = self._proposals(rng)
        chains, count = len(change), change[0].size
        weight = np.concatenate([np.zeros((chains, 1)), -change.reshape(chains, count) / temperature], axis=1)
        chosen = (weight + rng.gumbel(size=weight.shape)).argmax(axis=1) - 1
        moved = np.flatnonzero(chosen >= 0)
        a, b = np.divmod(chosen[moved], j.shape[1])
        self._exchange(moved, i[moved, a], j[moved, b], change[moved, a, b])

    def _proposals(self, rng: np.random.Generator) -> tuple[Floats, Ints, Ints]:
        """(b, SIDE, SIDE) changes of damage, inf where not allowed, when (b, SIDE) kept filters go for (b, SIDE) dropped ones.

        Half of the time all are of one layer of each chain.
        """
        chains, n = self.keep.shape
        if self.across and rng.uniform() < 0.5:
            i, j = rng.integers(n, size=(2, chains, SIDE))
        else:
            layer = self.problem.layer_of[rng.integers(n, size=chains)][:, None]
            i, j = (self._start[layer] + rng.integers(self._width[layer], size=(chains, SIDE)) for _ in range(2))
        chain = np.arange(chains)[:, None]
        give, take = (
            np.where(self.keep[chain, i], self.marginal[chain, i], np.inf),
            np.where(self.keep[chain, j], np.inf, -self.marginal[chain, j]),
        )
        layers_i, layers_j = self.problem.layer_of[i], self.problem.layer_of[j]
        same = layers_i[:, :, None] == layers_j[:, None, :]
        change = give[:, :, None] + take[:, None, :] - self._between(i, j, same)
        if self.across:
            stuck = (self.kept[chain, layers_i] <= self.problem.budget.fewest[layers_i])[:, :, None]
            stuck = stuck | (self.kept[chain, layers_j] >= self.problem.budget.most[layers_j])[:, None, :]
            return np.where(stuck & ~same, np.inf, change), i, j
        return np.where(same, change, np.inf), i, j

    def _between(self, i: Ints, j: Ints, same: Bools) -> Floats:
        """(b, SIDE, SIDE) couplings."""
        layer = self.problem.layer_of[i]
        found = np.zeros(same.shape)
        if len(self._flat):
            row = self._base[layer] + (i - self._start[layer]) * self._width[layer] - self._start[layer]
            place = np.where(same, row[:, :, None] + j[:, None, :], 0)
            found = np.where(same, self._flat[place], 0.0)
        factor = self.problem.pairs.factor
        if factor is not None:
            found = found + np.einsum("rba,rbc->bac", factor[:, i], factor[:, j])
        return found

    def _exchange(self, chains: Ints, i: Ints, j: Ints, change: Floats) -> None:
        self.keep[chains, i], self.keep[chains, j] = False, True
        self.damage[chains] += change
        factor = self.problem.pairs.factor
        if factor is not None:
            both = factor[:, i] - factor[:, j]
            self.marginal[chains] += both.T @ factor
            self.marginal[chains, i] -= (both * factor[:, i]).sum(axis=0) + (factor[:, i] * factor[:, j]).sum(axis=0)
            self.marginal[chains, j] -= (both * factor[:, j]).sum(axis=0) - (factor[:, i] * factor[:, j]).sum(axis=0)
        for sign, filters in ((1, i), (-1, j)):
            layer = self.problem.layer_of[filters]
            self.kept[chains, layer] -= sign
            if len(self._flat):
                for chain, own, k in zip(chains, layer, filters, strict=True):
                    start, width = self._start[own], self._width[own]
                    base = self._base[own] + (k - start) * width
                    self.marginal[chain, start : start + width] += sign * self._flat[base : base + width]
        better = self.damage < self.best_damage - 1e-12
        self.best[better], self.best_damage[better] = self.keep[better], self.damage[better]
