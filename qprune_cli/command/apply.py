"""``qprune apply``: denoise a folder of photographs with the network of a finished run."""

from argparse import SUPPRESS
from pathlib import Path

from qprune_cli.command.arguments import Parser, offered

HELP = """\
  qprune apply RUN --input DIR --output DIR    denoise a folder of photographs with the network of a finished run
"""


def parser() -> Parser:
    """The arguments of the command; those that are not given stay at the values of ``use.apply.Settings``."""
    parser = Parser("qprune apply", description="Denoise a folder of photographs.", argument_default=SUPPRESS)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished `qprune run`")
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="photographs: PNG, JPEG, TIFF; sub-folders are searched")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the results go, under the same names")
    parser.add_argument("--network", metavar="small|dense", help="what the run has made (small, the default), or what it began with")
    parser.add_argument("--tile", type=int, metavar="PIXELS", help="side of the tiles, a multiple of 32 (512)")
    parser.add_argument("--overlap", type=int, metavar="PIXELS", help="what neighbouring tiles share (as much as the network needs)")
    parser.add_argument("--jobs", type=int, metavar="N", help="photographs in memory at once (2)")
    parser.add_argument("--device", metavar="auto|cpu|cuda", help="where to compute (auto)")
    parser.add_argument("--overwrite", action="store_true", help="make results anew that are there already")
    return parser


def words() -> list[str]:
    """What the shell may offer behind the command."""
    return offered(parser())


def run(argv: list[str]) -> int:
    """Denoise the photographs; 2 where some had to be left out, else 0.

    Raises:
        UserError: something in the arguments, the run or the folder is wrong.
    """
    settings = vars(parser().parse_args(argv))
    from qprune_cli.use.apply import Settings, apply

    applied = apply(settings.pop("run"), settings.pop("input"), settings.pop("output"), Settings(**settings))
    print(applied)
    return 2 if applied.refused else 0
