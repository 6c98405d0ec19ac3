"""Plain words: values are called what they are, and public docstrings say something."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "qprune_cli"
UNSAYING = {"found", "told", "said", "own", "known", "asked", "held", "rival", "beside"}  # no names of values: what are they?
LATER = {"graph", "surgery"}  # rewritten soon; they got the renames of their main nouns only
WORDS = 5  # least of a public docstring
ARRAYS = {"Floats", "Bools", "Ints", "Tensor"}
SHAPE = re.compile(
    r"\((len\(\w+\)|[A-Za-z0-9_.<=*+/']+),(\s?[A-Za-z0-9_.<=*+/']+,?)*\)|0-d|(any|one) shape"
)  # such as (n,) or (N, C, H, W)

FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in LATER]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that a file binds: variables, arguments, functions, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield (node.id if isinstance(node, ast.Name) else node.attr), node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno


def public(tree: ast.Module, owner: str = "") -> Iterator[tuple[str, ast.Module | ast.ClassDef | Function, str]]:
    """Module, public classes, functions and methods, each with the docstring of its class."""
    yield "module", tree, ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node, ""
            about = ast.get_docstring(node) or ""
            methods = [one for one in node.body if isinstance(one, Function) and not one.name.startswith("_")]
            yield from ((f"{node.name}.{one.name}", one, about) for one in methods)
        elif isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node, ""


def takes_arrays(node: ast.AST) -> bool:
    """Whether a function has an argument that is an array by its annotation."""
    arguments = node.args.args + node.args.kwonlyargs if isinstance(node, Function) else []
    return any(isinstance(one.annotation, ast.Name) and one.annotation.id in ARRAYS for one in arguments)


def test_names_say_what_a_value_is():
    faults = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in FILES
        for name, line in names(ast.parse(path.read_text()))
        if name in UNSAYING
    ]
    assert not faults, "\n".join(faults)


def test_public_docstrings_say_something():
    faults = []
    for path in FILES:
        if path.name == "__init__.py" and not path.read_text().strip():
            continue
        for name, node, _ in public(ast.parse(path.read_text())):
            first = (ast.get_docstring(node) or "").split("\n\n")[0]
            if len(first.split()) < WORDS:
                faults.append(f"{path.relative_to(PACKAGE)}: {name}: {first!r}")
    assert not faults, "\n".join(faults)


def test_public_functions_of_arrays_give_their_shapes():
    faults = []
    for path in FILES:
        for name, node, about in public(ast.parse(path.read_text())):
            if takes_arrays(node) and not SHAPE.search((ast.get_docstring(node) or "") + about):
                faults.append(f"{path.relative_to(PACKAGE)}: {name}")
    assert not faults, "\n".join(faults)
