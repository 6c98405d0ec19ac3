"""A probability distribution over masks in the form of a Tensor Train, with the number of ones exact by construction."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qprune_cli.search.messages import Messages, backward_messages, forward_messages
from qprune_cli.types import Bools, Floats, Ints

SPREAD = 0.1  # standard deviation of the random logarithms that make the components of a rank differ


@dataclass(frozen=True)
class MaskDistribution:
    r"""A probability distribution over (d,) masks: a product of non-negative matrices, one for each variable and value.

    ``p(x) = 1' A_1[x_1] ... A_d[x_d] 1 / Z`` with ``A = exp(theta)``, over the masks whose runs of variables have their given numbers of
    ones; every other mask has probability 0, whatever theta is. ``Z``, samples and gradients come from sums over all completions of a
    mask, one for each number of ones still to come: ``R_i[k] = A_i[0] R_{i+1}[k] + A_i[1] R_{i+1}[k-1]``. Each sum has a logarithm of
    its own as scale, so thousands of variables neither overflow nor vanish. Where a run ends, the count of the next one begins; the rank
    vector carries on, so runs are not independent. Time grows with ``d * largest count * r**2``.

    Args:
        theta: (d, 2, r, r) logarithms of the matrices of each variable for value 0 and for value 1.
        runs: for each run of neighbouring variables its length and its number of ones; the runs cover all variables. An empty tuple
            leaves the number of ones free.

    References:
        Oseledets, "Tensor-train decomposition", SIAM J. Sci. Comput. 33, 2011.
        Batsheva, Chertkov, Ryzhakov, Oseledets, "PROTES: probabilistic optimization with tensor sampling", NeurIPS 2023 (sampling and
        likelihood in this format; the constraint is ours).
        Chen, Liu, "Statistical applications of the Poisson-binomial and conditional Bernoulli distributions", 1997 (rank 1).

    Example:
        >>> distribution = MaskDistribution.random(4, rank=2, rng=np.random.default_rng(0), runs=[(4, 1)])
        >>> distribution.sample(np.random.default_rng(0), 3).sum(axis=1).tolist()
        [1, 1, 1]
        >>> float(np.exp(distribution.log_probability(np.eye(4, dtype=bool))).sum().round(9))
        1.0
    """

    theta: Floats
    runs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        assert self.theta.ndim == 4 and self.theta.shape[1] == 2 and self.theta.shape[2] == self.theta.shape[3], "(d, 2, r, r)"
        assert not self.runs or sum(size for size, _ in self.runs) == len(self.theta), "runs cover all variables"
        assert all(0 <= ones <= size and size > 0 for size, ones in self.runs), "a run has room for its ones"

    @staticmethod
    def random(d: int, rank: int, rng: np.random.Generator, runs: Sequence[tuple[int, int]] = ()) -> "MaskDistribution":
        """Make matrices of uniform random numbers, the start of PROTES; arguments as in ``around``."""
        return MaskDistribution(np.log(rng.uniform(size=(d, 2, rank, rank)) + np.finfo(float).tiny), tuple(runs))

    @staticmethod
    def around(mask: Bools, eta: float, rank: int, rng: np.random.Generator, runs: Sequence[tuple[int, int]] = ()) -> "MaskDistribution":
        """Make a distribution around a mask: each variable differs from it with probability ``eta``, apart from what the runs demand.

        Args:
            mask: (d,) the mask.
            eta: probability in (0, 1).
            rank: r, the size of the matrices.
            rng: draws small factors that make the components of the rank differ.
            runs: as in ``MaskDistribution``.
        """
        same = np.stack([~mask, mask], axis=1)[:, :, None, None]
        return MaskDistribution(np.log(np.where(same, 1 - eta, eta)) + SPREAD * rng.normal(size=(len(mask), 2, rank, rank)), tuple(runs))

    def sample(self, rng: np.random.Generator, samples: int) -> Bools:
        """Draw (samples, d) independent masks, variable by variable: each given the ones before it and the sum over all completions."""
        d, rank = len(self.theta), self.theta.shape[-1]
        vector, scale = self._completions[0]
        drawn, masks = rng.uniform(size=(d, samples)), np.empty((samples, d), bool)
        prefix, row = np.ones((samples, rank)), np.full(samples, self._begins[0] + 1)
        for i in range(d):
            both = prefix @ self._side_by_side[i]
            zero, one, less = both[:, :rank], both[:, rank:], row - self._decrement
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
        """(b, d) masks -> (b,) natural logarithms of their probabilities; -inf where a run has another number of ones."""
        _, weight = self._prefixes(masks)
        right = np.ones(len(masks), bool)
        for stop, (size, ones) in zip(np.cumsum([size for size, _ in self.runs]), self.runs, strict=True):
            right &= masks[:, stop - size : stop].sum(axis=1) == ones
        return np.where(right, weight - self.log_sum, -np.inf)

    def slope(self, masks: Bools) -> Floats:
        """(b, d) masks -> (d, 2, r, r) gradient of their mean log-probability by theta.

        It is how often the masks use each entry of the matrices, less how often masks of the distribution do.
        """
        d, index = len(self.theta), np.arange(len(self.theta))[:, None]
        prefixes, suffixes = self._prefixes(masks)[0], self._suffixes(masks)
        used = self._matrices[index, masks.T.astype(int)] * prefixes[:, :, :, None] * suffixes[:, :, None, :]
        used /= used.sum(axis=(2, 3), keepdims=True) * len(masks)
        is_one = masks.T[:, :, None, None]
        used_by_value = np.stack([np.where(is_one, 0, used).sum(axis=1), np.where(is_one, used, 0).sum(axis=1)], axis=1)
        assert used_by_value.shape == (d, 2, *self.theta.shape[2:])
        return np.asarray(used_by_value - self._usage)

    @cached_property
    def log_sum(self) -> float:
        """Natural logarithm of ``Z``, up to the factors that ``_matrices`` leaves out."""
        vector, scale = self._completions[1]
        row = self._begins[0] + 1
        return float(scale[0, row] + np.log(vector[0, row].sum()))

    @cached_property
    def _matrices(self) -> Floats:
        """(d, 2, r, r) matrices, of largest entry 1 for each variable; a common factor changes no probability."""
        return np.asarray(np.exp(self.theta - self.theta.max(axis=(1, 2, 3), keepdims=True)))

    @cached_property
    def _side_by_side(self) -> Floats:
        """(d, r, 2 r) both matrices of each variable side by side."""
        return np.concatenate([self._matrices[:, 0], self._matrices[:, 1]], axis=2)

    @cached_property
    def _begins(self) -> Ints:
        """(d + 1,) number of ones of the run that begins at a variable, 0 behind the last one, -1 where none begins."""
        begins = np.full(len(self.theta) + 1, -1)
        sizes, ones = zip(*(self.runs or ((len(self.theta), 0),)), strict=True)
        begins[np.cumsum([0, *sizes])] = [*ones, 0]
        return begins

    @property
    def _decrement(self) -> int:
        """By how much a one lowers the number of ones still to come: 1, or 0 where that number is free."""
        return int(bool(self.runs))

    @cached_property
    def _completions(self) -> tuple[Messages, Messages]:
        """The backward messages of each variable, and those of the whole chain."""
        return backward_messages(self._matrices, self._begins, self._decrement)

    @cached_property
    def _usage(self) -> Floats:
        """(d, 2, r, r) how often masks of the distribution use each entry of its matrices: the gradient of ``log_sum``."""
        (left, front), (right, back) = forward_messages(self._matrices, self._begins, self._decrement), self._completions[0]
        less = slice(0, back.shape[1] - self._decrement)
        usage = []
        for rows, others in ((slice(None), slice(None)), (slice(self._decrement, None), less)):
            weight = np.exp(front[:, rows] + back[:, others] - self.log_sum)
            usage.append((left[:, rows] * weight[:, :, None]).transpose(0, 2, 1) @ right[:, others])
        return np.stack(usage, axis=1) * self._matrices

    def _prefixes(self, masks: Bools) -> tuple[Floats, Floats]:
        """(d, b, r) products of the matrices before each variable, scaled to a sum of 1, and (b,) logarithms of the whole products."""
        prefixes, weight = np.empty((len(self.theta), len(masks), self.theta.shape[-1])), np.zeros(len(masks))
        chosen = self._matrices[np.arange(len(self.theta))[:, None], masks.T.astype(int)]  # (d, b, r, r)
        prefix = np.ones(prefixes.shape[1:])
        for i, matrices in enumerate(chosen):
            prefixes[i] = prefix
            prefix = (prefix[:, None, :] @ matrices)[:, 0]
            total = prefix.sum(axis=1)
            weight += np.log(total)
            prefix /= total[:, None]
        return prefixes, weight

    def _suffixes(self, masks: Bools) -> Floats:
        """(d, b, r) products of the matrices behind each variable, scaled to a sum of 1."""
        suffixes = np.empty((len(self.theta), len(masks), self.theta.shape[-1]))
        chosen = self._matrices[np.arange(len(self.theta))[:, None], masks.T.astype(int)]
        suffix = np.ones(suffixes.shape[1:])
        for i in reversed(range(len(chosen))):
            suffixes[i] = suffix
            suffix = (chosen[i] @ suffix[:, :, None])[:, :, 0]
            suffix /= suffix.sum(axis=1, keepdims=True)
        return suffixes
