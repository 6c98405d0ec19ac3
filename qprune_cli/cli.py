"""The command line: find the command, compose its job, run it, answer with an exit code."""

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from qprune_cli.errors import MissedTarget, UserError, nearest

HELP = """qprune: make a trained network smaller by choosing which filters to keep.

  qprune run [overrides]             prune a network             qprune run solver=hybrid_qubo sparsity=0.5
  qprune run -m [lists]              a sweep                     qprune run -m sparsity=0.25,0.5 seed=0,1,2
  qprune run --from FOLDER [...]     repeat a finished run, with other values where given
  qprune run --resume FOLDER         go on with a run that was stopped; what its refinement measured is not measured again
  qprune tune [overrides]            search settings             qprune tune 'sparsity=interval(0.3,0.8)' scorer=gram,hybrid tune.trials=30
  qprune train [overrides]           train a dense network       qprune train experiment=train_half_unet
  qprune train --resume FOLDER       go on with a training that was stopped, exactly where it was
  qprune inspect [overrides]         what of a network can go, what stays and why, reachable targets; takes what run takes
  qprune evaluate RUN [overrides]    measure a finished run on other images    qprune evaluate RUN data=pairs data.root=PHOTOS
  qprune apply RUN --input DIR --output DIR    denoise a folder of photographs with the network of a finished run
  qprune export RUN --format onnx    the small network as one file, checked against PyTorch
  qprune report PATH                 one page for a run or a sweep, to read and to forward (every run writes its own)
  qprune compare PATH... [words]     finished runs side by side  qprune compare outputs --baseline solver=greedy_taylor
  qprune data check ROOT             what a folder of images holds, what is missing or damaged
  qprune data fetch NAME             download sidd_small, sidd_medium or sidd_validation
  qprune cache [clear] [KIND ...]    what runs share (scores, the dense network's quality, patches of images); clear deletes it
  qprune list [role]                 components and what they are for

`qprune run --help` shows all settings, `qprune run --cfg job` the composed configuration.
Tab completion in bash: eval "$(qprune -sc install=bash)"
Exit codes: 0 done, 2 a mistake in what was asked (one sentence says which; of apply also: files were left out, the rest is done),
3 the smaller network exceeds its budget, 130 interrupted, 1 a bug."""


def main() -> None:
    """Entry point of ``qprune`` and ``python -m qprune_cli``."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("qprune_cli").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's polite request ends like Ctrl-C
    try:
        code = dispatch(sys.argv[1:])
    except UserError as error:
        print(f"qprune: {error}", file=sys.stderr)
        code = 2
    except MissedTarget as error:
        print(f"qprune: {error}", file=sys.stderr)
        code = 3
    except KeyboardInterrupt:
        print("qprune: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # whoever read the output has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def dispatch(argv: list[str]) -> int:
    """Hand the arguments to their command.

    Raises:
        UserError: no such command, or the command refuses its arguments.
    """
    if argv[:1] in (["-sc"], ["--shell-completion"]):
        return complete(argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("qprune"))
        return 0
    if argv[0] not in COMMANDS:
        raise UserError(f"{argv[0]}: no such command; {nearest(argv[0], COMMANDS)}. `qprune --help` shows what each does")
    return COMMANDS[argv[0]](argv[1:])


def run_plan(job: Any, stopped: Path | None = None) -> Any:
    """What a composed ``qprune run`` is about to do; loads torch."""
    from qprune_cli.run.plan import RunPlan

    return RunPlan.of(job, stopped)


def run(argv: list[str]) -> int:
    """Prune: compose jobs, or take one from a finished run or from one that was stopped."""
    from qprune_cli.compose.launch import launch

    def start(plan: Any) -> None:
        from qprune_cli.run import prune

        prune.run(plan)

    argv, source = folder_option(argv, "--from")
    argv, stopped = folder_option(argv, "--resume")
    if source and stopped:
        raise UserError("--from, --resume: a run is either repeated or resumed; leave one of them out")

    def prepare(job: Any) -> Any:
        plan = run_plan(job, stopped)
        plan.check_weights()
        return plan

    return launch("run", argv, prepare, start, source or stopped, finished=source is not None)


def inspect(argv: list[str]) -> int:
    """Say what of a network could go; nothing is solved or written."""
    from qprune_cli.compose.launch import launch

    def start(plan: Any) -> None:
        from qprune_cli.run.inspect import inspect

        print(inspect(plan))

    return launch("run", argv, run_plan, start, kept=False)


def tune(argv: list[str]) -> int:
    """Search settings: quality up, multiply-accumulates down."""
    from qprune_cli.compose.tune import launch_search

    def start(search: Any) -> int:
        from qprune_cli.tune.tune import tune as begin

        return begin(search)

    return launch_search(argv, start)


def train(argv: list[str]) -> int:
    """Train a dense network: compose its job, or take it from a training that was stopped."""
    from qprune_cli.compose.launch import launch

    argv, stopped = folder_option(argv, "--resume")

    def prepare(job: Any) -> Any:
        from qprune_cli.run.plan import TrainPlan

        return TrainPlan.of(job, stopped)

    def start(plan: Any) -> None:
        from qprune_cli.run.train import train

        train(plan)

    return launch("train", argv, prepare, start, stopped)


def evaluate(argv: list[str]) -> int:
    """Measure a finished run on other images."""
    from qprune_cli.compose.launch import launch

    if {"-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i"} & set(argv):
        return launch("evaluate", argv, lambda job: job, lambda plan: None)
    if not argv or argv[0].startswith("-") or "=" in argv[0]:
        raise UserError("qprune evaluate: give the folder of a finished run first, as in qprune evaluate RUN data=pairs data.root=PHOTOS")
    from qprune_cli.run.plan import EvaluatePlan
    from qprune_cli.use import evaluate as use
    from qprune_cli.use.load import load_run

    if {"-m", "--multirun"} & set(argv):
        raise UserError("qprune evaluate: measures on one data set; leave --multirun out")
    run = load_run(argv[0])
    prepare = partial(EvaluatePlan.of, run=run.folder)
    return launch("evaluate", [f"model.channels={run.channels}", *argv[1:]], prepare, lambda plan: use.evaluate(plan, run))


def apply(argv: list[str]) -> int:
    """Denoise a folder of photographs with the network of a finished run."""
    from argparse import SUPPRESS, ArgumentParser

    parser = ArgumentParser("qprune apply", description="Denoise a folder of photographs.", argument_default=SUPPRESS)
    parser.error = _refusal("apply")  # type: ignore[method-assign, assignment]
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished `qprune run`")
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="photographs: PNG, JPEG, TIFF; sub-folders are searched")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the results go, under the same names")
    parser.add_argument("--network", metavar="small|dense", help="what the run has made (small, the default), or what it began with")
    parser.add_argument("--tile", type=int, metavar="PIXELS", help="side of the tiles, a multiple of 32 (512)")
    parser.add_argument("--overlap", type=int, metavar="PIXELS", help="what neighbouring tiles share (as much as the network needs)")
    parser.add_argument("--jobs", type=int, metavar="N", help="photographs in memory at once (2)")
    parser.add_argument("--device", metavar="auto|cpu|cuda", help="where to compute (auto)")
    parser.add_argument("--overwrite", action="store_true", help="make results anew that are there already")
    settings = vars(parser.parse_args(argv))
    from qprune_cli.use import apply as use

    applied = use.apply(settings.pop("run"), settings.pop("input"), settings.pop("output"), use.Settings(**settings))
    print(applied)
    return 2 if applied.refused else 0


def export(argv: list[str]) -> int:
    """Write the small network of a finished run as one file, and check it."""
    from argparse import ArgumentParser

    parser = ArgumentParser("qprune export", description="Write the small network of a run as one file, checked against PyTorch.")
    parser.error = _refusal("export")  # type: ignore[method-assign, assignment]
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished `qprune run`")
    parser.add_argument("--format", default="onnx", metavar="onnx|pt2", help="ONNX, or torch.export's program (%(default)s)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to (model.onnx in the folder of the run, or a look at its model.pt2)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    arguments = parser.parse_args(argv)
    from qprune_cli.use.export import export as write

    print(write(arguments.run, arguments.format, arguments.output, arguments.overwrite))
    return 0


def report(argv: list[str]) -> int:
    """Write the page of a run, of a sweep, or of all runs below a folder."""
    from argparse import ArgumentParser

    parser = ArgumentParser("qprune report", description="One self-contained page for a run, a sweep, or all runs below a folder.")
    parser.error = _refusal("report")  # type: ignore[method-assign, assignment]
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of a run, of a sweep, or one above them")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to (report.html in that folder, in the place of an earlier one)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file that --output names")
    arguments = parser.parse_args(argv)
    from qprune_cli.report.write import report as put

    print(put(arguments.path, arguments.output, arguments.overwrite))
    return 0


def compare(argv: list[str]) -> int:
    """Put finished runs side by side."""
    from argparse import ArgumentParser

    parser = ArgumentParser("qprune compare", description="Put finished runs side by side: one row per setting, means over seeds.")
    parser.error = _refusal("compare")  # type: ignore[method-assign, assignment]
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
    arguments = parser.parse_intermixed_args(argv)
    from qprune_cli.compare.compare import compare as put
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
    compared = put(paths, words, arguments.by, arguments.baseline, arguments.stage, arguments.metric)
    print(compared)
    compared.save(arguments.csv, arguments.markdown)
    return 0


def folder_option(argv: list[str], flag: str) -> tuple[list[str], Path | None]:
    """Take ``flag FOLDER`` or ``flag=FOLDER`` out of the arguments."""
    argv = [part for word in argv for part in (word.split("=", 1) if word.startswith(f"{flag}=") else [word])]
    if flag not in argv:
        return argv, None
    place = argv.index(flag)
    if place + 1 == len(argv):
        raise UserError(f"{flag}: give the folder of a run")
    return argv[:place] + argv[place + 2 :], Path(argv[place + 1])


def data(argv: list[str]) -> int:
    """Fetch a data set, or check what a folder holds."""
    from argparse import ArgumentParser

    parser = ArgumentParser("qprune data", description="Fetch and check data sets.")
    parser.error = _refusal("data")  # type: ignore[method-assign, assignment]
    commands = parser.add_subparsers(dest="command", required=True, metavar="check | fetch")
    checking = commands.add_parser("check", help="say what a folder holds, what is missing or damaged")
    checking.add_argument("root", type=Path, help="SIDD_Small, SIDD_Medium, the validation files, or pairs of images")
    checking.add_argument("--noisy", default="*_noisy.*", help="pattern of noisy images, as for data=pairs (%(default)s)")
    checking.add_argument("--clean", default="*_clean.*", help="pattern of clean images (%(default)s)")
    fetching = commands.add_parser("fetch", help="download, verify and unpack; goes on where it was cut")
    fetching.add_argument("name", help="sidd_small (6.6 GB), sidd_medium (13.2 GB) or sidd_validation (0.5 GB)")
    fetching.add_argument("--to", type=Path, default=Path("data"), help="folder to put it in (%(default)s)")
    fetching.add_argument("--server", help="another address to download from")
    for each in (checking, fetching):
        each.error = _refusal("data")  # type: ignore[method-assign, assignment]
    arguments = parser.parse_args(argv)
    if arguments.command == "check":
        from qprune_cli.fetch.check import check

        for line in check(arguments.root, arguments.noisy, arguments.clean):
            print(line, flush=True)
        return 0
    from qprune_cli.fetch.fetch import NAMES, SERVER, fetch

    if arguments.name not in NAMES:
        raise UserError(f"{arguments.name}: cannot be fetched; {nearest(arguments.name, NAMES)}")
    print(fetch(arguments.name, arguments.to, arguments.server or SERVER))
    return 0


def cache(argv: list[str]) -> int:
    """List or clear what runs share."""
    from argparse import ArgumentParser

    parser = ArgumentParser("qprune cache", description="What runs share: results for the same network and images, patches of image files.")
    parser.error = _refusal("cache")  # type: ignore[method-assign, assignment]
    parser.add_argument("command", nargs="?", default="list", metavar="list|clear", help="say what is there, or delete it (%(default)s)")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="only these: scores, quality, fidelity, patches")
    parser.add_argument("--all", action="store_true", help="list every result, with the seconds that it saves")
    parser.add_argument("--older-than", type=float, default=0.0, metavar="DAYS", help="clear what was not used for so many days")
    arguments = parser.parse_args(argv)
    if arguments.command not in ("list", "clear"):
        raise UserError(f"{arguments.command}: the cache is listed or cleared; {nearest(arguments.command, ('list', 'clear'))}")
    if not 0 <= arguments.older_than < float("inf"):
        raise UserError(f"--older-than {arguments.older_than}: give a number of days, at least 0")
    from qprune_cli.cache.listing import clear, listing

    listed = arguments.command == "list"
    print(listing(arguments.kinds, arguments.all) if listed else clear(arguments.kinds, arguments.older_than))
    return 0


def _refusal(command: str) -> Callable[[str], NoReturn]:
    """What argparse calls where it does not understand."""

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; `qprune {command} --help` shows how")

    return refuse


def list_components(argv: list[str]) -> int:
    """Print components and what they are for."""
    from qprune_cli.places import components, roles

    for role in argv or roles():
        print(role)
        for name, purpose in components(role).items():
            print(f"  {name:<24}{purpose}")
    return 0


def complete(argv: list[str]) -> int:
    """Answer the shell: commands first, then whatever Hydra knows of the command.

    The shell calls ``qprune -sc query=bash`` with the typed line in COMP_LINE. Hydra knows no commands, so the
    command is taken out of the line before Hydra sees it.
    """
    from qprune_cli.compose.hydra import ask

    if not any("query=" in word for word in argv):
        return ask("run", argv)
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()[1:] if line.endswith(" ") else line.split()[1:-1]
    command = next((word for word in typed if word in COMMANDS), None)
    if command is None:
        print(" ".join(COMMANDS))
        return 0
    if command in WORDS:
        print(WORDS[command])
        return 0
    if command == "list":
        from qprune_cli.places import roles

        print(" ".join(roles()))
        return 0
    os.environ["COMP_LINE"] = re.sub(rf"(\S+\s+){command}(\s|$)", r"\1", line, count=1)
    return ask("run" if command == "inspect" else command, argv)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": run,
    "tune": tune,
    "inspect": inspect,
    "train": train,
    "evaluate": evaluate,
    "apply": apply,
    "export": export,
    "report": report,
    "compare": compare,
    "data": data,
    "cache": cache,
    "list": list_components,
}
WORDS = {  # what may follow a command that is not Hydra's
    "data": "check fetch sidd_small sidd_medium sidd_validation",
    "apply": "--input --output --network --tile --overlap --jobs --device --overwrite",
    "cache": "list clear scores quality fidelity patches --all --older-than",
    "export": "--format --output --overwrite onnx pt2",
    "report": "--output --overwrite",
    "compare": "--by --baseline --stage --metric --csv --markdown --overwrite",
}
