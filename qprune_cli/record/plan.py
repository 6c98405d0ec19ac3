"""plan.json: what rebuilds the smaller network before its weights are read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from qprune_cli.record.folder import Folder
from qprune_cli.record.provenance import versions
from qprune_cli.types import Bools, Layout
from qprune_cli.weights.fingerprint import output_fingerprint


def write_plan(
    folder: Folder, config: Mapping[str, Any], layout: Layout, keep: Bools, digests: Mapping[str, str], small: nn.Module
) -> None:
    """Write what rebuilds the smaller network of an (n,) mask.

    Args:
        folder: of the run.
        config: the complete settings; those of the dense network and the granularity go into the plan.
        layout: the filters of the dense network.
        keep: (n,) the mask.
        digests: SHA-256 of the ``mask`` and of the dense ``weights``.
        small: the smaller network, whose fingerprint tells whether it was rebuilt as it was.
    """
    kept = {name: np.flatnonzero(mask) for name, mask in layout.masks(keep).items()}
    folder.json(
        "plan.json",
        {
            "schema": 1,
            "model": config["model"],
            "granularity": config["granularity"],
            "shape": layout.shape,
            "kept": kept,
            "answer": output_fingerprint(small, layout.shape),
            "sha256": {"dense": digests["weights"], "mask": digests["mask"]},
            "versions": versions(),
        },
    )
