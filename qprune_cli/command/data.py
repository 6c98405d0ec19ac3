"""``qprune data``: fetch a data set, or check what a folder of images holds."""

from argparse import Namespace
from pathlib import Path

from qprune_cli.command.arguments import Offered, Parser, offered
from qprune_cli.errors import UserError, nearest

HELP = """\
  qprune data check ROOT             what a folder of images holds, what is missing or damaged
  qprune data fetch NAME             download sidd_small, sidd_medium or sidd_validation
"""


def parser() -> Parser:
    """The arguments of the command and of its sub-commands."""
    parser = Parser("qprune data", description="Fetch and check data sets.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="check | fetch")
    checking = commands.add_parser("check", help="say what a folder holds, what is missing or damaged")
    checking.add_argument("root", type=Path, help="SIDD_Small, SIDD_Medium, the validation files, or pairs of images")
    checking.add_argument("--noisy", default="*_noisy.*", help="pattern of noisy images, as for data=pairs (%(default)s)")
    checking.add_argument("--clean", default="*_clean.*", help="pattern of clean images (%(default)s)")
    fetching = commands.add_parser("fetch", help="download, verify and unpack; goes on where it was cut")
    fetching.add_argument(
        "name",
        choices=Offered(("sidd_small", "sidd_medium", "sidd_validation")),
        metavar="name",
        help="sidd_small (6.6 GB), sidd_medium (13.2 GB) or sidd_validation (0.5 GB)",
    )
    fetching.add_argument("--to", type=Path, default=Path("data"), help="folder to put it in (%(default)s)")
    fetching.add_argument("--server", help="another address to download from")
    return parser


def words() -> list[str]:
    """What the shell may offer behind the command."""
    return offered(parser())


def run(argv: list[str]) -> int:
    """Do what the sub-command says.

    Raises:
        UserError: something in the arguments is wrong, the images are, or a download fails.
    """
    arguments = parser().parse_args(argv)
    return _check(arguments) if arguments.command == "check" else _fetch(arguments)


def _check(arguments: Namespace) -> int:
    from qprune_cli.fetch.check import check

    for line in check(arguments.root, arguments.noisy, arguments.clean):
        print(line, flush=True)
    return 0


def _fetch(arguments: Namespace) -> int:
    from qprune_cli.fetch.fetch import NAMES, SERVER, fetch

    if arguments.name not in NAMES:
        raise UserError(f"{arguments.name}: cannot be fetched; {nearest(arguments.name, NAMES)}")
    print(fetch(arguments.name, arguments.to, arguments.server or SERVER))
    return 0
