"""What tests of searches share: a metric without a network."""

from dataclasses import dataclass

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Quadratic
from qprune_cli.types import Measure


@dataclass
class FakeMetric:
    """30 dB less the damage of a problem, and on every image a random linear term of its own."""

    truth: PruningProblem
    image_terms: np.ndarray  # (images, n) linear term of each image
    measured: int = 0
    merit = Measure("psnr", "PSNR", "dB", 2, 10)

    @property
    def images(self) -> int:
        return len(self.image_terms)

    def measure(self, keep: np.ndarray, images: np.ndarray, near: np.ndarray) -> np.ndarray:
        self.measured += len(keep)
        return 30 - self.truth.damage(keep)[:, None] + keep @ self.image_terms[images].T

    def quadratic(self, keep: np.ndarray, images: np.ndarray, probes: int, seed: int) -> Quadratic:
        n = len(keep)
        gradient = -self.truth.linear - self.truth.pairs.field((~keep[None]).astype(float))[0] - self.image_terms[images].mean(axis=0)
        factor = np.zeros((1, n)) if self.truth.pairs.factor is None else self.truth.pairs.factor
        return Quadratic(gradient, factor, np.zeros(n, bool))


def fake_metric(problem: PruningProblem, images: int = 6, noise: float = 0.0, seed: int = 0) -> FakeMetric:
    """A metric whose truth is the damage of a problem, which images see with so much noise."""
    return FakeMetric(problem, noise * np.random.default_rng(seed).normal(size=(images, problem.layout.n)))
