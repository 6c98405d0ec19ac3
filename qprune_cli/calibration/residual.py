"""What is left of a filter when the others of its layer stand in for it, and what that does to the layers behind."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from qprune_cli.calibration.batches import device_batches, first_input
from qprune_cli.calibration.hooks import hooked, maps_of
from qprune_cli.calibration.readers import Readers
from qprune_cli.errors import UserError
from qprune_cli.graph.execute import precision
from qprune_cli.graph.masks import per_layer
from qprune_cli.types import Bools, Floats, ImageSet, Layout


@torch.no_grad()
def activation_products(model: nn.Module, layout: Layout, images: ImageSet, batch: int, keep: Bools | None) -> dict[str, Floats]:
    """Per gate (width, width) sum of ``a_i a_j`` over images and positions, before the mask.

    Raises:
        UserError: the network gives values that are not finite.
    """
    with hooked(model, layout, keep, first_input(model, images)) as hooks:
        for inputs, _ in device_batches(model, images, batch, "fit"):
            model(inputs)
        products = {gate: hook.products.cpu().numpy() for gate, hook in hooks.items()}
    for gate, sums in products.items():
        if not np.isfinite(sums).all():
            raise UserError(f"module '{gate}': not finite on the calibration images; look for damaged images or weights")
    return products


def residual_maps(layout: Layout, products: Mapping[str, Floats], ridge: float, keep: Bools | None) -> dict[str, Floats]:
    r"""Fit every filter by the kept and live ones of its layer, itself excepted: ``delta = R a`` with ``R_ii = 1``, ``R_ij = -c_ij``.

    With K the products of the survivors plus the ridge: ``c_ij = -P_ij / P_ii`` for a survivor i, ``P = K^-1``, which is the
    regression on all others at once, and ``c_i = K^-1 a_S a_i`` for the rest.

    Args:
        layout: the filters.
        products: per gate (width, width).
        ridge: relative to the mean of the diagonal.
        keep: (n,) mask; None keeps all.

    Returns:
        Per gate (width, width), R.

    Example:
        >>> from qprune_cli.types import FilterGroup
        >>> layout = Layout((FilterGroup("a", "a", 2),))
        >>> residual_maps(layout, {"a": np.array([[1.0, 2.0], [2.0, 4.0]])}, 1e-9, None)["a"].round(3).tolist()
        [[1.0, -0.5], [-2.0, 1.0]]
    """
    masks = per_layer(layout, np.ones(layout.n, bool) if keep is None else keep)
    gates = {member.layer: member.gate for group in layout.groups for member in group.members}
    return {gates[layer]: _residual(products[gates[layer]], mask, ridge) for layer, mask in masks.items()}


def _residual(products: Floats, kept: Bools, ridge: float) -> Floats:
    """(width, width) R of one layer."""
    residual = np.eye(len(products))
    used = kept & (np.diagonal(products) > 0)
    if not used.any():
        return residual
    survivors = products[np.ix_(used, used)]
    inverse = np.linalg.inv(survivors + ridge * np.diagonal(survivors).mean() * np.eye(len(survivors)))
    residual[np.ix_(used, used)] = inverse / np.diagonal(inverse)[:, None]
    residual[np.ix_(~used, used)] -= products[np.ix_(~used, used)] @ inverse
    return residual


def readers_error(
    model: nn.Module,
    layout: Layout,
    images: ImageSet,
    residual: Mapping[str, Floats],
    batch: int,
    probes: int,
    generator: torch.Generator,
    keep: Bools | None,
) -> Floats:
    """(n,) error that each variable's residual makes in what reads it, as a share of its energy (see ``Readers``).

    Args:
        model: the network, in evaluation mode.
        layout: its filters.
        images: calibration images.
        residual: per gate (width, width) R, from activations to residuals.
        batch: images per pass.
        probes: random probes for every image.
        generator: draws the signs of the probes.
        keep: (n,) mask; None keeps all.
    """
    device, dtype = next(model.parameters()).device, precision(model)
    matrices = {gate: torch.from_numpy(matrix).to(device, dtype) for gate, matrix in residual.items()}
    total = torch.zeros(layout.n, dtype=torch.float64, device=device)
    with Readers(model, layout, keep) as readers:
        for inputs, _ in device_batches(model, images, batch, "score"):
            for slopes in readers.probes(inputs, probes, generator):
                errors = {gate: _error(unmasked, slope, matrices[gate]) for gate, (unmasked, slope) in slopes.items()}
                shares = [sum(errors[m.gate][:, list(m.filters)] for m in group.members) for group in layout.groups]
                total += torch.cat([torch.as_tensor(share) for share in shares], dim=1).double().square().sum(dim=0)
    result: Floats = (total / (len(images) * probes)).cpu().numpy()
    return result


def _error(unmasked: Tensor, slope: Tensor, residual: Tensor) -> Tensor:
    """(N, width) ``G_i . delta_i``: products of slopes and activations (N, width, width), weighed by the residual's rows."""
    crossed = torch.bmm(maps_of(slope), maps_of(unmasked).mT)
    return (crossed * residual).sum(dim=2)
