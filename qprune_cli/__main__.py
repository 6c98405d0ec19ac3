"""``python -m qprune_cli`` is ``qprune``."""

from qprune_cli.cli import main

main()
