"""``qprune cache``: list or clear what runs share."""

from qprune_cli.command.arguments import Offered, Parser, offered
from qprune_cli.errors import UserError, nearest

HELP = """\
  qprune cache [clear] [KIND ...]    what runs share (scores, the dense network's quality, patches of images); clear deletes it
"""
COMMANDS = ("list", "clear")


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser("qprune cache", description="What runs share: results for the same network and images, patches of image files.")
    parser.add_argument(
        "command",
        nargs="?",
        default="list",
        choices=Offered(COMMANDS),
        metavar="list|clear",
        help="say what is there, or delete it (%(default)s)",
    )
    parser.add_argument(
        "kinds",
        nargs="*",
        choices=Offered(("scores", "quality", "fidelity", "patches")),
        metavar="KIND",
        help="only these: scores, quality, fidelity, patches",
    )
    parser.add_argument("--all", action="store_true", help="list every result, with the seconds that it saves")
    parser.add_argument("--older-than", type=float, default=0.0, metavar="DAYS", help="clear what was not used for so many days")
    return parser


def words() -> list[str]:
    """What the shell may offer behind the command."""
    return offered(parser())


def run(argv: list[str]) -> int:
    """Print what the cache holds, or what was deleted from it.

    Raises:
        UserError: something in the arguments is wrong, or a file cannot be deleted.
    """
    arguments = parser().parse_args(argv)
    if arguments.command not in COMMANDS:
        raise UserError(f"{arguments.command}: the cache is listed or cleared; {nearest(arguments.command, COMMANDS)}")
    if not 0 <= arguments.older_than < float("inf"):
        raise UserError(f"--older-than {arguments.older_than}: give a number of days, at least 0")
    from qprune_cli.cache.listing import clear, listing

    listed = arguments.command == "list"
    print(listing(arguments.kinds, arguments.all) if listed else clear(arguments.kinds, arguments.older_than))
    return 0
