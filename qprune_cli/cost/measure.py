"""All that is measured of a network beside its quality."""

import torch
from safetensors.torch import save
from torch import nn

from qprune_cli.cost.cost import counted
from qprune_cli.cost.memory import peak_activations
from qprune_cli.types import Latency, Memory, Quality, Stage


def measured(
    model: nn.Module, quality: Quality, shape: tuple[int, ...], filters: int | None = None, latency: Latency | None = None
) -> Stage:
    """Put together what is known of a network.

    Args:
        model: the network.
        quality: on the test images.
        shape: (C, H, W) of the image that multiply-accumulates and activations are counted for.
        filters: prunable filters that it has, where they are known.
        latency: where it was measured.
    """
    state = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}
    return Stage(quality, counted(model, shape, filters), Memory(peak_activations(model, shape), len(save(state, {}))), latency)
