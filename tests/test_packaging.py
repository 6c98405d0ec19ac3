"""What the package imports is what it declares."""

import ast
import re
import sys
from importlib.metadata import entry_points, packages_distributions, requires
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "qprune_cli"


def test_every_import_is_a_declared_dependency():
    declared = {re.split(r"[^\w-]", line)[0].lower() for line in requires("qprune") if "extra ==" not in line}
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    imported -= {"qprune_cli", *sys.stdlib_module_names}
    homes = packages_distributions()
    for name in imported:
        assert {home.lower() for home in homes[name]} & declared, f"{name} is imported but not declared"


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="qprune")
    assert command.load().__module__ == "qprune_cli.cli"
