"""qprune: make a trained PyTorch network smaller by choosing which filters to keep.

The Python API, loaded when first used: ``prune(model, data, sparsity=0.5)`` does it all; ``trace(model, example)`` finds the
prunable filters, ``silence(model, layout, keep)`` runs a network without some of them, ``shrink(model, layout, keep)`` builds the
smaller network that equals it, and ``load_run(folder)`` loads what a run has saved.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qprune_cli.api import prune
    from qprune_cli.graph.trace import trace
    from qprune_cli.surgery.shrink import shrink
    from qprune_cli.surgery.silence import silence
    from qprune_cli.use.load import load_run

__all__ = ["load_run", "prune", "shrink", "silence", "trace"]
_HOMES = {
    "load_run": "qprune_cli.use.load",
    "prune": "qprune_cli.api",
    "shrink": "qprune_cli.surgery.shrink",
    "silence": "qprune_cli.surgery.silence",
    "trace": "qprune_cli.graph.trace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qprune_cli' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
