"""What the methods of a run are, and where they were published: taken from the docstrings of their components."""

import ast
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parents[1]
ROLES = ("scorer", "solver", "refine", "compensate", "finetune", "transfer", "model", "data")


class Method(NamedTuple):
    """A component that a run has used.

    Attributes:
        role: what it does in a run.
        name: as on the command line.
        means: the first line of its docstring.
        references: of its docstring; empty for none.
    """

    role: str
    name: str
    means: str
    references: str


def methods(config: Mapping[str, Any]) -> list[Method]:
    """Components of a run, in the order in which it uses them; what is not of this package is named alone."""
    names = config.get("components")
    if not isinstance(names, dict):
        return []
    return [_method(config, role, str(names[role])) for role in dict.fromkeys([*ROLES, *names]) if role in names]


def _method(config: Mapping[str, Any], role: str, name: str) -> Method:
    section = config.get(role)
    target = str(section.get("_target_", "")) if isinstance(section, dict) else ""
    docstring, module = _docstrings(target)
    means = " ".join(docstring.split("\n\n")[0].split()).replace("`", "")
    return Method(role, name, means, references(docstring) or references(module))


def _docstrings(target: str) -> tuple[str, str]:
    """Of a class and of its module, read without importing it; empty where there are none."""
    package, *modules, name = target.split(".") if target.count(".") > 1 else ("", "")
    path = PACKAGE.joinpath(*modules).with_suffix(".py")
    if package != PACKAGE.name or not path.is_file():
        return "", ""
    tree = ast.parse(path.read_text())
    component = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    return (component is not None and ast.get_docstring(component)) or "", ast.get_docstring(tree) or ""


def references(docstring: str) -> str:
    r"""The section "References" of a docstring, on one line.

    Example:
        >>> references("A method.\n\nReferences:\n    Someone, 1990,\n    arXiv:1.2.\n\nExample:\n    >>> 1\n    1")
        'Someone, 1990, arXiv:1.2.'
    """
    _, heading, rest = inspect.cleandoc(docstring).partition("References:\n")
    lines = rest.splitlines() if heading else []
    end = next((k for k, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    return " ".join(" ".join(lines[:end]).split())
