"""A search over settings, from what is asked to the front; the same command again goes on where it was stopped."""

import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from qprune_cli.compose.build import build
from qprune_cli.compose.search import Search
from qprune_cli.run.plan import RunPlan
from qprune_cli.sweep.job import digest, job_name
from qprune_cli.tune.draw import load_optuna, suggest
from qprune_cli.tune.front import NOTE, Row, command, terminal, write_front
from qprune_cli.tune.judge import Judge
from qprune_cli.tune.settings import TuneSettings
from qprune_cli.tune.study import Study
from qprune_cli.tune.trial import Tried, plan_of, tried

MEASURING = ("certify", "fidelity", "latency")  # settings that change what a run says of its network, not the network


@dataclass(frozen=True)
class Tuning:
    """A search whose settings were checked, with the folder that they name.

    Attributes:
        search: what is searched.
        trials: finished ones in all.
        seed: draws what is tried.
        grid: all that can be tried, where that is no more than ``trials``.
        plan: of one trial; all have its images and dense network.
        folder: where everything goes.
        definition: what makes it another search, as plain values.
    """

    search: Search
    trials: int
    seed: int
    grid: list[dict[str, Any]] | None
    plan: RunPlan
    folder: Path
    definition: dict[str, str]

    @staticmethod
    def of(search: Search) -> "Tuning":
        """Check everything; nothing is written.

        Raises:
            UserError: a setting of the search, or some value of its space, is wrong.
        """
        settings: TuneSettings = build(dict(search.section), "tune", TuneSettings)
        load_optuna()
        plan, *_ = [plan_of(search, words) for words in search.examples()]
        fixed = " ".join(sorted((*search.given, *search.constants)))
        definition = {entry.name: entry.plain for entry in search.space} | {"fixed": fixed, "settings": job_name(plan)}
        name = settings.name or f"{search.title}_{digest([definition, settings.seed])}"
        grid = search.grid(settings.trials)
        trials = settings.trials if grid is None else len(grid)
        return Tuning(search, trials, settings.seed, grid, plan, Path(plan.settings.output_root) / "tune" / name, definition)


def tune(search: Search) -> int:
    """Search, and print the front.

    Args:
        search: what to search.

    Returns:
        The highest exit code of the trials.

    Raises:
        UserError: a setting is wrong, or the search cannot go on.
    """
    tuning = Tuning.of(search)
    judge = Judge(tuning.plan)
    with closing(Study(tuning.folder, tuning.definition, tuning.seed)) as study:
        study.queue(tuning.grid or ())
        few = " (all that there are)" if tuning.grid is not None else ""
        print(f"{tuning.folder}: {tuning.trials} trials{few}, {len(study.over)} finished", flush=True)
        start, count = monotonic(), 0
        while (trial := study.next(tuning.trials)) is not None:
            words = search.words(partial(suggest, trial))
            done = tried(search, words, tuning.folder, judge)
            record(study, trial, words, done)
            count += 1
            over = len(study.over)
            left = timedelta(seconds=round((monotonic() - start) / count * max(0, tuning.trials - over)))
            print(
                f"{over}/{tuning.trials}  {' '.join(words)}  {outcome(judge, done)}" + (f"  (about {left} to go)" if left else ""),
                flush=True,
            )
        print(report(tuning, study, judge))
        return max((int(one.user_attrs.get("code", 1)) for one in study.over), default=0)


def record(study: Study, trial: Any, words: tuple[str, ...], done: Tried) -> None:
    """Write down in the study how a trial ended: folder, words, exit code, and its worth or the error."""
    about = {"folder": done.folder, "words": list(words), "code": done.ended.code}
    if done.worth is None:
        study.fail(trial, error=done.ended.error, **about)
    else:
        study.tell(trial, done.worth.plain, **about)


def outcome(judge: Judge, done: Tried) -> str:
    """How a trial ended, in a few words: quality and cost of its network, or the error."""
    if done.worth is None:
        return f"failed: {done.ended.error}"
    return f"{judge.task.primary.text(done.worth.held_out)}, {done.worth.share:.3f} of the MACs"


def report(tuning: Tuning, study: Study, judge: Judge) -> str:
    """The front as text; it is written into the folder as well."""
    over, front, search = study.over, study.front, tuning.search
    failed = [one for one in over if "error" in one.user_attrs]
    for one in failed:
        print(f"qprune: {' '.join(one.user_attrs['words'])}: {one.user_attrs['error']}", file=sys.stderr)
    for one in study.running:
        print(f"trial {one.number}: another process is at work on it; repeat the command when it is done", file=sys.stderr)
    summary = f"{len(over)} trials, {len(failed)} failed; {len(front)} on the front: no other one is better in both"
    if not front:
        return f"{summary}\nno trial has finished, so there is no table"
    measure, dense = judge.task.primary, judge.dense(tuning.folder / front[0].user_attrs["folder"])
    rows = [Row(one.user_attrs, repeated(search, tuple(one.user_attrs["words"])), one.user_attrs["folder"]) for one in front]
    rows.append(Row(dense.plain, "the dense network"))
    write_front(tuning.folder, measure, rows, summary)
    return f"{terminal(measure, rows)}\n{summary}\n{NOTE}\n{tuning.folder / 'front.csv'}"


def repeated(search: Search, words: tuple[str, ...]) -> str:
    """The command that makes the network of a trial again, and measures it in full."""
    components = [word for word in words if search.chooses(word)]
    constants = [word for word in search.constants if word.split("=")[0] not in MEASURING]
    configs = ["--config-dir", search.extra] if search.extra else []
    return command([*constants, *search.fixed(components), *words, *configs])
