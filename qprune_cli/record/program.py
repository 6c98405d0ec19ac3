"""The smaller network as a program that runs without qprune: torch.export's format."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from qprune_cli.record.folder import Folder

LOG = logging.getLogger("qprune_cli")
BATCH, HEIGHT, WIDTH = 2, 61, 83  # of an example that is special in no way: no power of 2, no square


def exported(model: nn.Module, shape: Sequence[int], any_size: bool) -> tuple[ExportedProgram, bool] | None:
    """Follow a network with torch.export, for any number of images, and for any size of them, where it allows.

    Args:
        model: in evaluation mode.
        shape: (C, H, W) of an image that it surely takes; tried where an odd size does not work.
        any_size: whether the size is to be free as well.

    Returns:
        The program and whether number and size of the images are free as asked; None where it cannot be followed.
    """
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as the format wants weights
    device = next(model.parameters()).device
    every, number = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}, {0: Dim.AUTO}
    odd, given = (BATCH, shape[0], HEIGHT, WIDTH), (BATCH, *shape)
    attempts: list[tuple[tuple[int, ...], dict[int, Any]]] = [(odd, every), (given, every)] if any_size else [(given, number)]
    attempts.append(((1, *shape), {}))
    for size, free in attempts:
        try:
            with quiet():
                return torch.export.export(plain, (torch.zeros(*size, device=device),), dynamic_shapes=(free,)), bool(free)
        except Exception as error:  # torch.export raises many kinds; all mean that this way of it does not work
            LOG.debug("torch.export with %s: %s", list(size), error)
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch from logging what it tries and gives up."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def write_program(folder: Folder, model: nn.Module, shape: Sequence[int], any_size: bool) -> None:
    """model.pt2: load it with ``torch.export.load(path).module()``.

    Args:
        folder: where to.
        model: the smaller network, in evaluation mode.
        shape: (C, H, W) of an image that it takes.
        any_size: whether it takes others.
    """
    program_and_freedom = exported(model, shape, any_size)
    if program_and_freedom is None:
        LOG.warning("model.pt2 is left out: torch.export cannot follow the network")
        return
    program, free = program_and_freedom
    if not free:
        LOG.warning("model.pt2 takes images of shape %s only: torch.export cannot follow the network for others", [1, *shape])
    with folder.complete("model.pt2") as path:
        save_program(program, path)


def save_program(program: ExportedProgram, path: Path) -> None:
    """Write a program without its example, which would be saved as a pickle."""
    program._example_inputs = None
    whole = BytesIO()
    torch.export.save(program, whole)
    path.write_bytes(whole.getbuffer())  # torch's own writer ends the process where the disk is full
