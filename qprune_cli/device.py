"""The setting ``device``: which device networks are computed on."""

import torch

from qprune_cli.errors import UserError, nearest

DEVICES = ("auto", "cpu", "cuda")


def pick_device(device: str) -> torch.device:
    """Turn the setting ``device`` into a device.

    Args:
        device: auto (cuda where there is one), cpu or cuda.

    Raises:
        UserError: unknown, or cuda was asked for and there is none.
    """
    if device not in DEVICES:
        raise UserError(f"device={device}: no such device; {nearest(device, DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: PyTorch sees no CUDA device; use device=cpu or device=auto")
    return torch.device("cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu")
