"""``qprune evaluate``: measure a finished run on other images."""

from functools import partial

from qprune_cli.errors import UserError

HELP = """\
  qprune evaluate RUN [overrides]    measure a finished run on other images    qprune evaluate RUN data=pairs data.root=PHOTOS
"""
CONFIG = "evaluate"
QUESTIONS = {"-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i"}  # Hydra answers them, without any run


def run(argv: list[str]) -> int:
    """Measure the networks of a run, whose folder comes first, on the images that the other arguments describe.

    Raises:
        UserError: no finished run, or something in the arguments is wrong.
    """
    from qprune_cli.compose.launch import launch

    if QUESTIONS & set(argv):
        return launch(CONFIG, argv, lambda job: job, lambda plan: None)
    if not argv or argv[0].startswith("-") or "=" in argv[0]:
        raise UserError("qprune evaluate: give the folder of a finished run first, as in qprune evaluate RUN data=pairs data.root=PHOTOS")
    from qprune_cli.run.plan import EvaluatePlan
    from qprune_cli.use.evaluate import evaluate
    from qprune_cli.use.load import load_run

    if {"-m", "--multirun"} & set(argv):
        raise UserError("qprune evaluate: measures on one data set; leave --multirun out")
    run = load_run(argv[0])
    prepare = partial(EvaluatePlan.of, run=run.folder)
    return launch(CONFIG, [f"model.channels={run.channels}", *argv[1:]], prepare, lambda plan: evaluate(plan, run))
