"""Networks as numbers, and the same run with a mask, for the tests of programs."""

import copy
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from torch import nn

from qprune_cli.embedding.embed import embedded
from qprune_cli.graph.trace import trace
from qprune_cli.program.network import Op, ReluNetwork
from qprune_cli.surgery.silence import silence


def random_mlp(seed, sizes=(5, 6, 4, 3)):
    """Linear layers with ReLUs and gates between them."""
    rng, ops, layer_of, start = np.random.default_rng(seed), [Op("input")], [], 0
    for k, (inputs, outputs) in enumerate(pairwise(sizes)):
        matrix = sparse.csr_matrix(rng.normal(size=(outputs, inputs)))
        ops.append(Op("linear", (len(ops) - 1,), (matrix,), rng.normal(size=outputs)))
        if k < len(sizes) - 2:
            ops.append(Op("relu", (len(ops) - 1,), scores=np.arange(start, start + outputs)))
            layer_of += [k] * outputs
            start += outputs
    return ReluNetwork(tuple(ops), np.array(layer_of), np.array(sizes[1:-1]))


def samples(seed, count=3, inputs=5):
    return np.random.default_rng([7, seed]).uniform(size=(count, inputs))


def random_mask(seed, n, share=0.5):
    return (np.random.default_rng([8, seed]).random(n) < share).astype(float)


def lively(model, seed=0):
    """Weights and running statistics as after training: of both signs, and no two alike."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                module.bias.normal_(0, 0.2)
    return model.eval()


def numbers_of(model, shape, granularity="filter"):
    """The network in float64, its layout, and the same as numbers."""
    double = copy.deepcopy(model).double().eval()
    layout = trace(double, torch.zeros(1, *shape, dtype=torch.float64), granularity)
    return double, layout, embedded(double, layout, shape)


@torch.no_grad()
def silenced(double, layout, x, scores):
    """(N, outputs) of a network without the filters whose score is 0."""
    with silence(double, layout, np.asarray(scores) > 0.5):
        return double(torch.from_numpy(x)).flatten(1).numpy()
