"""Many masks that change by random swaps, side by side: the chains of an annealing."""

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Ints

SIDE = 16  # kept and dropped filters that a chain draws an exchange from in one step
DRAWS = 64  # proposals of a chain that measure the typical change of the damage


class SwapChains:
    """b masks, one per chain, whose marginals and damages are kept up to date while filters are exchanged in place.

    Args:
        problem: the problem.
        keep: (b, n) feasible masks to start from; they are copied.

    Attributes:
        keep: (b, n) the masks now.
        marginal: (b, n) marginals of the filters at these masks.
        damage: (b,) damage of these masks.
        kept: (b, l) kept filters of each layer.
        best: (b, n) the best mask that each chain has passed.
        best_damage: (b,) damage of these masks.
        across: whether filters of two layers may be exchanged.
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
        self._start = np.array([filters[0] for filters in problem.filters_of])
        self._width = np.array([len(filters) for filters in problem.filters_of])
        blocks = problem.pairs.blocks or tuple(np.zeros((0, 0)) for _ in problem.filters_of)
        self._flat: Floats = np.concatenate([block.ravel() for block in blocks] or [np.zeros(0)])
        self._base = np.cumsum([0, *(block.size for block in blocks)])[:-1]

    @property
    def filters_per_step(self) -> int:
        """Number of filters that a chain considers in one step."""
        return 2 * SIDE

    def typical_change(self, rng: np.random.Generator) -> float:
        """Median size of the change of damage by random exchanges; 1 where none changes it. Draws from ``rng``."""
        sizes = []
        for _ in range(DRAWS // len(self.keep) + 1):
            change, _, _ = self._proposals(rng)
            sizes.append(np.abs(change[np.isfinite(change)]))
        values = np.concatenate(sizes)
        return float(np.median(values)) if values.any() else 1.0

    def step(self, rng: np.random.Generator, temperature: float) -> None:
        """Do one exchange, or none, in every chain: drawn by Boltzmann weights at a temperature (heat bath).

        Args:
            rng: draws the proposals and the choice among them.
            temperature: in units of the damage, above 0.
        """
        change, i, j = self._proposals(rng)
        chains, count = len(change), change[0].size
        weight = np.concatenate([np.zeros((chains, 1)), -change.reshape(chains, count) / temperature], axis=1)
        chosen = (weight + rng.gumbel(size=weight.shape)).argmax(axis=1) - 1
        moved = np.flatnonzero(chosen >= 0)
        a, b = np.divmod(chosen[moved], j.shape[1])
        self._exchange(moved, i[moved, a], j[moved, b], change[moved, a, b])

    def _proposals(self, rng: np.random.Generator) -> tuple[Floats, Ints, Ints]:
        """Draw exchanges of each chain, half of the time all within one layer.

        Returns:
            (b, SIDE, SIDE) changes of damage, inf where not allowed; the (b, SIDE) filters that go, and the (b, SIDE) that come back.
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
        """(b, SIDE, SIDE) couplings of filters i (b, SIDE) with j (b, SIDE); ``same`` marks pairs of one layer."""
        layer = self.problem.layer_of[i]
        couplings = np.zeros(same.shape)
        if len(self._flat):
            row = self._base[layer] + (i - self._start[layer]) * self._width[layer] - self._start[layer]
            position = np.where(same, row[:, :, None] + j[:, None, :], 0)
            couplings = np.where(same, self._flat[position], 0.0)
        factor = self.problem.pairs.factor
        if factor is not None:
            couplings = couplings + np.einsum("rba,rbc->bac", factor[:, i], factor[:, j])
        return couplings

    def _exchange(self, chains: Ints, i: Ints, j: Ints, change: Floats) -> None:
        """Exchange one kept filter for one dropped filter in some chains, and bring marginals, damages and bests up to date."""
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
                for chain, index, k in zip(chains, layer, filters, strict=True):
                    start, width = self._start[index], self._width[index]
                    base = self._base[index] + (k - start) * width
                    self.marginal[chain, start : start + width] += sign * self._flat[base : base + width]
        better = self.damage < self.best_damage - 1e-12
        self.best[better], self.best_damage[better] = self.keep[better], self.damage[better]
