"""A probability over masks as a Tensor Train, with the number of ones exact by construction."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qprune_cli.search.messages import Messages, before, behind
from qprune_cli.types import Bools, Floats, Ints

FLAT = 0.1  # spread of the random factors that tell the components of a rank apart


@dataclass(frozen=True)
class Train:
    r"""A probability over (d,) masks: a product of non-negative matrices, one for each variable and value.

    ``p(x) = 1' A_1[x_1] ... A_d[x_d] 1 / Z`` with ``A = exp(theta)``, over the masks whose runs of variables have so many ones; every
    other mask has probability 0, whatever theta is. ``Z``, samples and slopes come from sums over all completions of a mask, one for
    each number of ones still to come: ``R_i[k] = A_i[0] R_{i+1}[k] + A_i[1] R_{i+1}[k-1]``. These are kept with a logarithm of their
    own each, so thousands of variables neither overflow nor vanish. Where a run ends, the number of the next one begins; the rank
    vector carries on, so runs are not independent. Time goes with ``d * largest count * r**2``.

    Args:
        theta: (d, 2, r, r) logarithms of the matrices of value 0 and 1.
        runs: variables and ones of each run of neighbouring variables, all variables together; none leaves the number of ones free.

    References:
        Oseledets, "Tensor-train decomposition", SIAM J. Sci. Comput. 33, 2011.
        Batsheva, Chertkov, Ryzhakov, Oseledets, "PROTES: probabilistic optimization with tensor sampling", NeurIPS 2023 (sampling and
        likelihood in this format; the constraint is ours).
        Chen, Liu, "Statistical applications of the Poisson-binomial and conditional Bernoulli distributions", 1997 (rank 1).

    Example:
        >>> train = Train.random(4, rank=2, rng=np.random.default_rng(0), runs=[(4, 1)])
        >>> train.sample(np.random.default_rng(0), 3).sum(axis=1).tolist()
        [1, 1, 1]
        >>> float(np.exp(train.log_probability(np.eye(4, dtype=bool))).sum().round(9))
        1.0
    """

    theta: Floats
    runs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        assert self.theta.ndim == 4 and self.theta.shape[1] == 2 and self.theta.shape[2] == self.theta.shape[3], "(d, 2, r, r)"
        assert not self.runs or sum(size for size, _ in self.runs) == len(self.theta), "runs cover all variables"
        assert all(0 <= ones <= size and size > 0 for size, ones in self.runs), "a run has room for its ones"

    @staticmethod
    def random(d: int, rank: int, rng: np.random.Generator, runs: Sequence[tuple[int, int]] = ()) -> "Train":
        """Matrices of uniform random numbers, as PROTES begins."""
        return Train(np.log(rng.uniform(size=(d, 2, rank, rank)) + np.finfo(float).tiny), tuple(runs))

    @staticmethod
    def around(mask: Bools, eta: float, rank: int, rng: np.random.Generator, runs: Sequence[tuple[int, int]] = ()) -> "Train":
        """Concentrated around a mask: but for the number of ones, each variable differs from it with probability eta.

        Args:
            mask: (d,) the mask.
            eta: in (0, 1).
            rank: of the train.
            rng: draws small factors that tell the components of the rank apart.
            runs: as in ``Train``.
        """
        same = np.stack([~mask, mask], axis=1)[:, :, None, None]
        return Train(np.log(np.where(same, 1 - eta, eta)) + FLAT * rng.normal(size=(len(mask), 2, rank, rank)), tuple(runs))

    def sample(self, rng: np.random.Generator, samples: int) -> Bools:
        """(b, d) independent masks, variable by variable, each given the ones before and the sum over all completions."""
        d, rank = len(self.theta), self.theta.shape[-1]
        vector, scale = self._completions[0]
        drawn, masks = rng.uniform(size=(d, samples)), np.empty((samples, d), bool)
        prefix, row = np.ones((samples, rank)), np.full(samples, self._begins[0] + 1)
        for i in range(d):
            both = prefix @ self._wide[i]
            zero, one, less = both[:, :rank], both[:, rank:], row - self._taken
            top = np.maximum(scale[i, row], scale[i, less])
            weight = np.exp(scale[i, row] - top) * np.einsum("br,br->b", zero, vector[i, row])
            weight_one = np.exp(scale[i, less] - top) * np.einsum("br,br->b", one, vector[i, less])
            taken = drawn[i] * (weight + weight_one) < weight_one
            masks[:, i] = taken
            prefix = np.where(taken[:, None], one, zero)
            prefix /= prefix.sum(axis=1, keepdims=True)
            row = np.where(taken, less, row) if self._begins[i + 1] < 0 else np.full(samples, self._begins[i + 1] + 1)
        return masks

    def log_probability(self, masks: Bools) -> Floats:
        """(b, d) masks -> (b,) natural logarithms of their probabilities; -inf where the number of ones is another."""
        _, weight = self._prefixes(masks)
        right = np.ones(len(masks), bool)
        for stop, (size, ones) in zip(np.cumsum([size for size, _ in self.runs]), self.runs, strict=True):
            right &= masks[:, stop - size : stop].sum(axis=1) == ones
        return np.where(right, weight - self.log_sum, -np.inf)

    def slope(self, masks: Bools) -> Floats:
        """(b, d) masks -> (d, 2, r, r) derivative of their mean log-probability by theta.

        It is how often the masks use each entry of the matrices, less how often the train does.
        """
        d, places = len(self.theta), np.arange(len(self.theta))[:, None]
        prefixes, suffixes = self._prefixes(masks)[0], self._suffixes(masks)
        used = self._matrices[places, masks.T.astype(int)] * prefixes[:, :, :, None] * suffixes[:, :, None, :]
        used /= used.sum(axis=(2, 3), keepdims=True) * len(masks)
        one = masks.T[:, :, None, None]
        found = np.stack([np.where(one, 0, used).sum(axis=1), np.where(one, used, 0).sum(axis=1)], axis=1)
        assert found.shape == (d, 2, *self.theta.shape[2:])
        return np.asarray(found - self._usage)

    @cached_property
    def log_sum(self) -> float:
        """Logarithm of ``Z``."""
        vector, scale = self._completions[1]
        row = self._begins[0] + 1
        return float(scale[0, row] + np.log(vector[0, row].sum()))

    @cached_property
    def _matrices(self) -> Floats:
        """(d, 2, r, r) of largest entry 1 for each variable; a common factor changes no probability."""
        return np.asarray(np.exp(self.theta - self.theta.max(axis=(1, 2, 3), keepdims=True)))

    @cached_property
    def _wide(self) -> Floats:
        """(d, r, 2 r) both matrices of a variable side by side."""
        return np.concatenate([self._matrices[:, 0], self._matrices[:, 1]], axis=2)

    @cached_property
    def _begins(self) -> Ints:
        """(d + 1,) ones of the run that begins at a variable, 0 behind the last, -1 where none begins."""
        found = np.full(len(self.theta) + 1, -1)
        sizes, ones = zip(*(self.runs or ((len(self.theta), 0),)), strict=True)
        found[np.cumsum([0, *sizes])] = [*ones, 0]
        return found

    @property
    def _taken(self) -> int:
        """By how much a one lowers the number of ones still to come; 0 where that is free."""
        return int(bool(self.runs))

    @cached_property
    def _completions(self) -> tuple[Messages, Messages]:
        """All ways to fill what is behind each variable, and all ways to fill everything."""
        return behind(self._matrices, self._begins, self._taken)

    @cached_property
    def _usage(self) -> Floats:
        """(d, 2, r, r) how often the train uses each entry of its matrices: the derivative of the log sum."""
        (left, front), (right, back) = before(self._matrices, self._begins, self._taken), self._completions[0]
        less = slice(0, back.shape[1] - self._taken)
        found = []
        for rows, others in ((slice(None), slice(None)), (slice(self._taken, None), less)):
            weight = np.exp(front[:, rows] + back[:, others] - self.log_sum)
            found.append((left[:, rows] * weight[:, :, None]).transpose(0, 2, 1) @ right[:, others])
        return np.stack(found, axis=1) * self._matrices

    def _prefixes(self, masks: Bools) -> tuple[Floats, Floats]:
        """(d, b, r) products of the matrices before each variable, of sum 1, and (b,) logarithms of the whole products."""
        found, weight = np.empty((len(self.theta), len(masks), self.theta.shape[-1])), np.zeros(len(masks))
        chosen = self._matrices[np.arange(len(self.theta))[:, None], masks.T.astype(int)]  # (d, b, r, r)
        prefix = np.ones(found.shape[1:])
        for i, matrices in enumerate(chosen):
            found[i] = prefix
            prefix = (prefix[:, None, :] @ matrices)[:, 0]
            total = prefix.sum(axis=1)
            weight += np.log(total)
            prefix /= total[:, None]
        return found, weight

    def _suffixes(self, masks: Bools) -> Floats:
        """(d, b, r) products of the matrices behind each variable, of sum 1."""
        found = np.empty((len(self.theta), len(masks), self.theta.shape[-1]))
        chosen = self._matrices[np.arange(len(self.theta))[:, None], masks.T.astype(int)]
        suffix = np.ones(found.shape[1:])
        for i in reversed(range(len(chosen))):
            found[i] = suffix
            suffix = (chosen[i] @ suffix[:, :, None])[:, :, 0]
            suffix /= suffix.sum(axis=1, keepdims=True)
        return found
