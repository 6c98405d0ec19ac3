"""qprune: make a trained PyTorch network smaller by choosing which filters to keep.

The Python API, loaded when first used: ``trace(model)`` finds the prunable filters, ``silence(model, layout, keep)`` runs a
network without some of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qprune_cli.structure.silence import silence
    from qprune_cli.structure.trace import trace

__all__ = ["silence", "trace"]
_HOMES = {"trace": "qprune_cli.structure.trace", "silence": "qprune_cli.structure.silence"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qprune_cli' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
