"""``qprune report``: write the page of a run, of a sweep, or of all runs below a folder."""

from pathlib import Path

from qprune_cli.command.arguments import Parser, offered

HELP = """\
  qprune report PATH                 one page for a run or a sweep, to read and to forward (every run writes its own)
"""


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser("qprune report", description="One self-contained page for a run, a sweep, or all runs below a folder.")
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of a run, of a sweep, or one above them")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to (report.html in that folder, in the place of an earlier one)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file that --output names")
    return parser


def words() -> list[str]:
    """What the shell may offer behind the command."""
    return offered(parser())


def run(argv: list[str]) -> int:
    """Write the page, and say where it is.

    Raises:
        UserError: something in the arguments is wrong, or the folder holds no run.
    """
    arguments = parser().parse_args(argv)
    from qprune_cli.report.write import report

    print(report(arguments.path, arguments.output, arguments.overwrite))
    return 0
