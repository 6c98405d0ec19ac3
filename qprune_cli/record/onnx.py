"""The smaller network as an ONNX file, which onnxruntime and many other programs run."""

import re
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import ExportedProgram

from qprune_cli.errors import UserError
from qprune_cli.record.program import quiet

NEEDED = ("onnx", "onnxscript", "onnxruntime")
INPUT = "image"


def check_onnx() -> None:
    """Refuse an export that lacks what it needs.

    Raises:
        UserError: a package is not installed.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"--format onnx: needs {', '.join(missing)}; install them with: pip install 'qprune[export]'")


def write_onnx(program: ExportedProgram, path: Path, output: str) -> int:
    """Write a program as one ONNX file, weights included.

    Args:
        program: what torch.export made of the network.
        path: where to.
        output: what the network gives.

    Returns:
        Version of the operator set.

    Raises:
        UserError: ONNX has no operator for an operation of the network.
    """
    check_onnx()
    try:
        with quiet():
            made = torch.onnx.export(
                program, (), None, input_names=[INPUT], output_names=[output], dynamo=True, external_data=False, verbose=False
            )
        assert made is not None
        made.save(path)
    except Exception as error:  # the exporter raises kinds of its own, one in another
        raise UserError(f"--format onnx: {_why(error)}; `--format pt2` gives a program that PyTorch runs") from error
    return int(made.model.opset_imports[""])


def _why(error: BaseException) -> str:
    """Name the operation that has no ONNX operator, or what else was said last."""
    chain: list[BaseException] = []
    while error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__ or error
    text = " ".join(str(one) for one in chain)
    if match := re.search(r"op='([\w.]+)'|(aten[.:]+[\w.]+)", text):
        return f"ONNX has no operator for '{match[1] or match[2]}', which the network uses"
    return f"the network cannot be written ({next(iter(str(chain[-1]).strip().splitlines()), type(chain[-1]).__name__)})"
