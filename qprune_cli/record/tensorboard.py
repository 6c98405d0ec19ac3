"""Curves for TensorBoard, where they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from qprune_cli.errors import UserError


@contextmanager
def tensorboard(folder: Path, wanted: bool) -> Iterator[Callable[[int, Mapping[str, float | None]], None]]:
    """Give a function that writes the values of one step.

    Args:
        folder: where the event file goes.
        wanted: False gives a function that does nothing.
    """
    if not wanted:
        yield lambda step, values: None
        return
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=0) as writer:  # a resumed training tells its earlier steps again

        def write(step: int, values: Mapping[str, float | None]) -> None:
            for name, value in values.items():
                if value is not None:
                    writer.add_scalar(name, value, step)

        yield write


def check_tensorboard() -> None:
    """Say how to install TensorBoard where it is missing.

    Raises:
        UserError: it is missing.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise UserError("tensorboard=true: TensorBoard is not installed; pip install 'qprune[tensorboard]', or leave it out") from error
