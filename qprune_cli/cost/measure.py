"""Size, memory and latency of a network beside its quality, as one stage of a run."""

import torch
from safetensors.torch import save
from torch import nn

from qprune_cli.cost.cost import footprint_of
from qprune_cli.cost.memory import peak_activations
from qprune_cli.types import Latency, Memory, Quality, Stage


def measured(
    model: nn.Module, quality: Quality, shape: tuple[int, ...], filters: int | None = None, latency: Latency | None = None
) -> Stage:
    """Measure the size and the memory of a network, and put its quality and its latency beside them.

    Args:
        model: the network.
        quality: of the network on the test images.
        shape: (C, H, W) of the image that multiply-accumulates and activations are counted for.
        filters: prunable filters that it has, where they are known.
        latency: of one image; None where it was not measured.
    """
    state = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}
    return Stage(quality, footprint_of(model, shape, filters), Memory(peak_activations(model, shape), len(save(state, {}))), latency)
