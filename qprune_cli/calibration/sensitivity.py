"""From one pass over the calibration images to scores."""

from collections.abc import Callable

from torch import nn

from qprune_cli.calibration.dead import dead_first
from qprune_cli.calibration.gates import GateStatistics, gate_statistics
from qprune_cli.calibration.weights import weight_norms
from qprune_cli.scores import Pairs, Scores
from qprune_cli.types import Bools, Floats, Layout, Splits


def sensitivity(
    worth: Callable[[GateStatistics], Floats],
    model: nn.Module,
    layout: Layout,
    splits: Splits,
    loss: str,
    batch: int,
    keep: Bools | None,
) -> Scores:
    """Score filters by what the gate statistics at a mask say of each alone; dead filters go first.

    Args:
        worth: takes the statistics and gives (n,) linear terms.
        model: the network, in evaluation mode.
        layout: its filters.
        splits: whose calibration images are looked at.
        loss: a name of ``LOSSES``.
        batch: images per pass.
        keep: (n,) the mask; None keeps all.

    Raises:
        UserError: the loss does not fit the network, or is not finite on an image.
    """
    seen = gate_statistics(model, layout, splits.calibration, loss, batch, keep)
    return dead_first(Scores(worth(seen), Pairs.none(), seen.dead), weight_norms(model, layout))
