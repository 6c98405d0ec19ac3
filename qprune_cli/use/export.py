"""Taking the smaller network of a run elsewhere, in a file that was checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from qprune_cli.errors import UserError, nearest
from qprune_cli.evaluate.task import Task, task_of
from qprune_cli.record.folder import Folder, file_digest
from qprune_cli.record.onnx import INPUT, check_onnx, write_onnx
from qprune_cli.record.program import exported, save_program
from qprune_cli.types import Floats
from qprune_cli.use.load import Run, check_whole, load_run

FORMATS = ("onnx", "pt2")
TOLERANCE = 1e-4  # largest difference to PyTorch, of values in [0, 1]; as a share of the largest where they go beyond
SIZES = ((1, 72, 104), (3, 45, 131), (1, 128, 192), (2, 192, 64))  # number of images, height and width to check at
NUMBERS = (1, 5)  # of images, where the size is given


@dataclass(frozen=True)
class Exported:
    """A file that was written, or was there, and how its results compare with those of PyTorch.

    Attributes:
        path: the file.
        free: whether it takes images of any number, and of any size where the network does, as far as was tried.
        any_size: whether the network does.
        checked: shape and largest difference to PyTorch, for each shape that was tried.
        versions: of what wrote and ran it.
    """

    path: Path
    free: bool
    any_size: bool
    checked: list[dict[str, Any]]
    versions: dict[str, Any]

    def __str__(self) -> str:
        lines = [f"{self.path} ({self.path.stat().st_size:,} bytes)"]
        for one in self.checked:
            lines.append(f"  images of shape {one['shape']}: differs from PyTorch by at most {one['largest_difference']:.1e}")
        what = "number and size" if self.any_size else "number"
        kind = "size" if self.any_size else "number"
        takes = f"any {what} of images" if self.free else f"not every {kind}: the network itself, or torch.export, refuses some"
        return "\n".join([*lines, f"  {takes}"])


def export(folder: Path, form: str, output: Path | None = None, overwrite: bool = False) -> Exported:
    """Write the smaller network of a run as one file, run that file, and compare it with PyTorch at two sizes that it never saw.

    Beside the file lies a report of the same name with ``.json`` behind it: shapes, differences, versions, SHA-256.

    Args:
        folder: of a finished run.
        form: onnx or pt2.
        output: the file; None writes ``model.onnx`` into the folder of the run, or takes the ``model.pt2`` that is there.
        overwrite: replace a file that is there.

    Returns:
        What was written and checked.

    Raises:
        UserError: the run is not whole, the file is there already, an operator is missing, or the file computes something else.
    """
    if form not in FORMATS:
        raise UserError(f"--format {form}: no such format; {nearest(form, FORMATS)}")
    if form == "onnx":
        check_onnx()
    path = output or folder / f"model.{form}"
    if path.suffix != f".{form}":
        raise UserError(f"--output {path}: its name does not end in .{form}; programs that open it look at that")
    run = load_run(folder)
    task = task_of(run.network)
    written = output is None and form == "pt2" and path.exists()
    if written:
        check_whole(folder, (path.name,))
    for taken in () if written or overwrite else (path, path.with_name(f"{path.name}.json")):
        if taken.exists():
            raise UserError(f"{taken}: exists already; give another --output, or --overwrite")
    followed = exported(run.model, run.plan["shape"][1:], task.any_size)
    if followed is None:
        raise UserError(f"--format {form}: torch.export cannot follow the network; load it in Python with qprune_cli.load_run('{folder}')")
    program, free = followed
    shapes, free = _shapes(task, run) if free else ([tuple(program.example_inputs[0][0].shape)], False)
    target = _folder(path)
    versions: dict[str, Any] = {"torch": torch.__version__}
    if written:
        checked = _checked(run.model, path, shapes)
    else:
        with target.complete(path.name) as temporary:
            versions |= _write(program, temporary, task.output)
            checked = _checked(run.model, temporary, shapes)
    done = Exported(path, free, task.any_size, checked, versions)
    freedom = "any_number_and_size" if task.any_size else "any_number"
    report = {"file": path.name, "run": folder.resolve().name, freedom: free, "checked": checked, "tolerance": TOLERANCE}
    target.json(f"{path.name}.json", report | {"versions": versions, "sha256": file_digest(path)})
    return done


def _folder(path: Path) -> Folder:
    """The folder of a file, made where it does not exist."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {path}: its folder cannot be made ({error.strerror}); give another one") from error
    return Folder(path.parent)


def _write(program: ExportedProgram, path: Path, output: str) -> dict[str, Any]:
    """Write a program as a file; returns versions."""
    if path.suffix == ".onnx":
        import onnxruntime

        return {"opset": write_onnx(program, path, output), "onnxruntime": onnxruntime.__version__}
    save_program(program, path)
    return {}


def _shapes(task: Task, run: Run) -> tuple[list[tuple[int, ...]], bool]:
    """Two shapes that the network takes, other than those that it was exported with; and whether it takes any."""
    _, channels, height, width = run.plan["shape"]
    if not task.any_size:
        return [(number, channels, height, width) for number in NUMBERS], True
    sizes = (*SIZES, (1, 2 * height, width), (2, height, 2 * width))
    shapes = [(number, channels, h, w) for number, h, w in sizes]
    taken: dict[tuple[int, ...], bool] = {shape: _takes(task, run.model, shape) for shape in shapes}
    return [shape for shape, ok in taken.items() if ok][:2], all(list(taken.values())[: len(SIZES)])


@torch.no_grad()
def _takes(task: Task, model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a network takes images of a shape, and gives what it should."""
    try:
        image = torch.zeros(shape)
        return task.fits(model(image), image)
    except Exception:  # such as one that wants sides that can be halved
        return False


def _checked(model: nn.Module, path: Path, shapes: Sequence[tuple[int, ...]]) -> list[dict[str, Any]]:
    """Largest difference between a file and PyTorch on random images of each shape.

    Raises:
        UserError: it is too large.
    """
    rng, run = np.random.default_rng(0), _runner(path)
    checked: list[dict[str, Any]] = []
    for shape in shapes:
        image = rng.uniform(size=shape).astype(np.float32)
        with torch.no_grad():
            wanted = model(torch.from_numpy(image)).numpy()
        worst = float(np.abs(run(image) - wanted).max())
        if not worst <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):  # a value that is not a number is none either
            raise UserError(
                f"{path.suffix[1:]}: the file differs from PyTorch by {worst:.1e} at {list(shape)}, more than {TOLERANCE:g}; do not use it"
            )
        checked.append({"shape": list(shape), "largest_difference": worst})
    return checked


def _runner(path: Path) -> Callable[[Floats], Floats]:
    """What runs a file: onnxruntime, or torch.export."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda image: session.run(None, {INPUT: image})[0]
    program = torch.export.load(path).module()
    return lambda image: program(torch.from_numpy(image)).detach().numpy()
