"""What made a result: versions, commit, machine."""

import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np

from qprune_cli.types import Bools

PACKAGES = ("qprune", "torch", "numpy", "scipy", "scikit-image", "dimod", "dwave-samplers", "hydra-core", "omegaconf")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape results."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def git_commit() -> str | None:
    """Commit of the checkout that this code runs from, marked ``-dirty`` when files differ; None when installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return described.stdout.strip() or None


def mask_digest(keep: Bools) -> str:
    """SHA-256 of an (n,) mask, one byte per filter."""
    return hashlib.sha256(np.ascontiguousarray(keep, dtype=np.uint8).tobytes()).hexdigest()
