"""``qprune compare``: put finished runs side by side."""

from pathlib import Path

from qprune_cli.command.arguments import Parser, offered
from qprune_cli.errors import UserError

HELP = """\
  qprune compare PATH... [words]     finished runs side by side  qprune compare outputs --baseline solver=greedy_taylor
"""


def parser() -> Parser:
    """The arguments of the command; folders and words stand in any order, so they are parsed intermixed."""
    parser = Parser("qprune compare", description="Put finished runs side by side: one row per setting, means over seeds.")
    parser.add_argument(
        "given", nargs="+", metavar="PATH|WORDS", help="folders with runs; words such as solver=swap,greedy choose among them"
    )
    parser.add_argument("--by", metavar="KEYS", help="the settings that name rows, such as solver,sparsity (all that differ)")
    parser.add_argument(
        "--baseline",
        metavar="WORDS",
        help="the rows that others are paired with, by seed and image, such as solver=greedy_taylor; * marks p < 0.05",
    )
    stages = "dense, solved, refined, compensated, finetuned, or final: the last of each run (final)"
    parser.add_argument("--stage", metavar="NAME", help=stages)
    parser.add_argument("--metric", metavar="NAME", help="what to compare by, such as psnr, ssim or accuracy (the first that was measured)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write everything there, in plain numbers")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser


def words() -> list[str]:
    """What the shell may offer behind the command."""
    return offered(parser())


def run(argv: list[str]) -> int:
    """Print the tables, and write them where files are given.

    Raises:
        UserError: something in the arguments is wrong, a file is in the way, or no run fits.
    """
    arguments = parser().parse_intermixed_args(argv)
    from qprune_cli.compare.compare import compare
    from qprune_cli.compare.files import refuse_taken
    from qprune_cli.compare.words import apart

    for option, value in (("PATH", "" if "" in arguments.given else None), ("--by", arguments.by), ("--baseline", arguments.baseline)):
        if value == "":
            raise UserError(f"{option} '': is empty; leave it out, or `qprune compare --help` shows how")
    if arguments.csv is not None and arguments.csv == arguments.markdown:
        raise UserError(f"--csv, --markdown {arguments.csv}: one file for both; give two names")
    refuse_taken("--csv", arguments.csv, arguments.overwrite)
    refuse_taken("--markdown", arguments.markdown, arguments.overwrite)
    paths, words = apart(arguments.given)
    compared = compare(paths, words, arguments.by, arguments.baseline, arguments.stage, arguments.metric)
    print(compared)
    compared.save(arguments.csv, arguments.markdown)
    return 0
