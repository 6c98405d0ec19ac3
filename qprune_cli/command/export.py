"""``qprune export``: write the small network of a finished run as one file, and check it."""

from pathlib import Path

from qprune_cli.command.arguments import Offered, Parser, offered

HELP = """\
  qprune export RUN --format onnx    the small network as one file, checked against PyTorch
"""


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser("qprune export", description="Write the small network of a run as one file, checked against PyTorch.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished `qprune run`")
    parser.add_argument(
        "--format",
        default="onnx",
        choices=Offered(("onnx", "pt2")),
        metavar="onnx|pt2",
        help="ONNX, or torch.export's program (%(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to (model.onnx in the folder of the run, or a look at its model.pt2)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    return parser


def words() -> list[str]:
    """What the shell may offer behind the command."""
    return offered(parser())


def run(argv: list[str]) -> int:
    """Write the file, and say what was found when it was run.

    Raises:
        UserError: something in the arguments or the run is wrong, or the file computes something else.
    """
    arguments = parser().parse_args(argv)
    from qprune_cli.use.export import export

    print(export(arguments.run, arguments.format, arguments.output, arguments.overwrite))
    return 0
