"""No baselines: a run measures its own masks only."""

from collections.abc import Sequence
from dataclasses import dataclass

from qprune_cli.types import Baseline


@dataclass(frozen=True)
class NoBaselines:
    """A method is looked at alone, beside the dense network."""

    def list(self, seed: int) -> Sequence[Baseline]:
        """Return no baseline, whatever the seed."""
        return ()
