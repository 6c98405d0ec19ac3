"""What the package imports is what it declares."""

import ast
import re
import sys
from importlib.metadata import entry_points, packages_distributions, requires
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "qprune_cli"


def imported(nodes):
    found = set()
    for node in nodes:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {name.split(".")[0] for name in names}
    return found - {"qprune_cli", *sys.stdlib_module_names}


def test_every_import_is_a_declared_dependency():
    """What a module needs to be imported is required; what a function imports may come with an extra."""
    lines = requires("qprune")
    extras = {re.split(r"[^\w-]", line)[0].lower() for line in lines}
    required = {re.split(r"[^\w-]", line)[0].lower() for line in lines if "extra ==" not in line}
    homes = packages_distributions()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for nodes, declared in ((tree.body, required), (ast.walk(tree), extras)):
            for name in imported(nodes):
                assert {home.lower() for home in homes.get(name, [name])} & declared, f"{path}: {name} is imported but not declared"


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="qprune")
    assert command.load().__module__ == "qprune_cli.cli"
