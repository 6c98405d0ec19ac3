"""``qprune run``: prune a network, in one run or a sweep; repeat a finished run, or go on with one that was stopped."""

from functools import partial
from pathlib import Path
from typing import Any

from qprune_cli.command.arguments import folder_option
from qprune_cli.errors import UserError

HELP = """\
  qprune run [overrides]             prune a network             qprune run solver=hybrid_qubo sparsity=0.5
  qprune run -m [lists]              a sweep                     qprune run -m sparsity=0.25,0.5 seed=0,1,2
  qprune run --from FOLDER [...]     repeat a finished run, with other values where given
  qprune run --resume FOLDER         go on with a run that was stopped; what its refinement measured is not measured again
"""
CONFIG = "run"


def run(argv: list[str]) -> int:
    """Compose the jobs that the arguments ask for, or take one from an earlier run, and do them.

    Raises:
        UserError: something in the arguments is wrong, before anything is written.
        MissedTarget: the smaller network of a single run, which is complete, exceeds its budget.
    """
    from qprune_cli.compose.launch import launch

    argv, source = folder_option(argv, "--from")
    argv, stopped = folder_option(argv, "--resume")
    if source and stopped:
        raise UserError("--from, --resume: a run is either repeated or resumed; leave one of them out")
    return launch(CONFIG, argv, partial(prepare, stopped=stopped), start, source or stopped, finished=source is not None)


def prepare(job: Any, stopped: Path | None = None) -> Any:
    """Turn a composed job into a ``RunPlan``, with weights that are there.

    Args:
        job: settings that are composed.
        stopped: folder of a stopped run to go on with.

    Raises:
        UserError: a setting or the weights are wrong.
    """
    from qprune_cli.run.plan import RunPlan

    plan = RunPlan.of(job, stopped)
    plan.check_weights()
    return plan


def start(plan: Any) -> None:
    """Carry out a plan of ``prepare``."""
    from qprune_cli.run import prune

    prune.run(plan)
