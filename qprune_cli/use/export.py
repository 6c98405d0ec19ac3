"""Taking the smaller network of a run elsewhere, in a file that was checked."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qprune_cli.errors import UserError, nearest
from qprune_cli.record.folder import Folder, file_digest
from qprune_cli.record.onnx import INPUT, check_onnx, write_onnx
from qprune_cli.record.program import exported
from qprune_cli.types import Floats
from qprune_cli.use.load import Run, load_run

FORMATS = ("onnx", "pt2")
TOLERANCE = 1e-4  # largest difference to PyTorch, of values in [0, 1]
SIZES = ((1, 72, 104), (3, 45, 131), (1, 128, 192), (2, 192, 64))  # number of images, height and width to check at


def export(folder: Path, form: str, output: Path | None = None, overwrite: bool = False) -> str:
    """Write the smaller network of a run as one file, run that file, and compare it with PyTorch at two sizes that it never saw.

    Beside the file lies a report of the same name with ``.json`` behind it: shapes, differences, versions, SHA-256.

    Args:
        folder: of a finished run.
        form: onnx or pt2.
        output: the file; None puts ``model.onnx`` or ``model.pt2`` into the folder of the run.
        overwrite: replace a file that is there.

    Returns:
        What was written and checked, to be read.

    Raises:
        UserError: the run is not whole, the file is there already, an operator is missing, or the file computes something else.
    """
    if form not in FORMATS:
        raise UserError(f"--format {form}: no such format; {nearest(form, FORMATS)}")
    if form == "onnx":
        check_onnx()
    path = output or folder / f"export.{form}"
    if path.suffix != f".{form}":
        raise UserError(f"--output {path}: its name does not end in .{form}; programs that open it look at that")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; give another --output, or --overwrite")
    run = load_run(folder)
    found = exported(run.model, run.plan["shape"][1:])
    if found is None:
        raise UserError(f"--format {form}: torch.export cannot follow the network; load it in Python with qprune_cli.load_run('{folder}')")
    program, free = found
    shapes = _shapes(run) if free else [tuple(program.example_inputs[0][0].shape)]
    details: dict[str, Any] = {"torch": torch.__version__}
    place = Folder(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with place.complete(path.name) as temporary:
        if form == "onnx":
            details |= {"opset": write_onnx(program, temporary)}
        else:
            program._example_inputs = None  # they would be saved as a pickle
            torch.export.save(program, temporary)
        checked = _checked(run.model, _runner(temporary, form), shapes)
        worst = max(entry["largest_difference"] for entry in checked)
        if worst > TOLERANCE:
            temporary.unlink()
            raise UserError(f"{path}: differs from PyTorch by {worst:.1e}, more than {TOLERANCE:g}; nothing was written")
    if form == "onnx":
        import onnxruntime

        details |= {"onnxruntime": onnxruntime.__version__}
    report = {
        "file": path.name,
        "format": form,
        "run": folder.name,
        "any_number_and_size": free,
        "checked": checked,
        "tolerance": TOLERANCE,
    }
    report |= {"sha256": file_digest(path), "versions": details}
    place.json(f"{path.name}.json", report)
    lines = [f"{path} ({path.stat().st_size:,} bytes)"]
    lines += [f"  images of shape {entry['shape']}: differs from PyTorch by at most {entry['largest_difference']:.1e}" for entry in checked]
    return "\n".join(
        [*lines, "  any number and size of images" if free else "  images of this shape only: torch.export could follow no other"]
    )


def _shapes(run: Run) -> Sequence[tuple[int, ...]]:
    """Two shapes that the network takes, other than those that it was exported with."""
    found = []
    for number, height, width in SIZES:
        shape = (number, run.channels, height, width)
        try:
            with torch.no_grad():
                run.model(torch.zeros(shape))
        except Exception:  # such as one that wants sides that can be halved
            continue
        found.append(shape)
    return found[:2]


def _checked(model: nn.Module, runner: Callable[[Floats], Floats], shapes: Sequence[tuple[int, ...]]) -> list[dict[str, Any]]:
    """Largest difference between the file and PyTorch on random images of each shape."""
    rng, checked = np.random.default_rng(0), []
    for shape in shapes:
        image = rng.uniform(size=shape).astype(np.float32)
        with torch.no_grad():
            wanted = model(torch.from_numpy(image)).numpy()
        checked.append({"shape": list(shape), "largest_difference": float(np.abs(runner(image) - wanted).max())})
    return checked


def _runner(path: Path, form: str) -> Callable[[Floats], Floats]:
    """What runs a file: onnxruntime, or torch.export."""
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda image: session.run(None, {INPUT: image})[0]
    program = torch.export.load(path).module()
    return lambda image: program(torch.from_numpy(image)).detach().numpy()
