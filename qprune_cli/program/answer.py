"""Tasks that travel to other processes: programs to be built and solved there, and what is to be told of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from qprune_cli.errors import UserError, nearest
from qprune_cli.program.build import Formulation, Limit, joint_program, layer_program
from qprune_cli.program.draft import Program
from qprune_cli.program.network import ReluNetwork, simulate
from qprune_cli.program.solve import Solved, solve, solve_linear
from qprune_cli.types import Bools, Floats, Ints

BACKENDS = ("loky", "threading", "sequential", "dask", "ray")
SHARE = 0.25  # of the time limit, for the linear program that a search begins from
PATIENCE = 600.0  # seconds that a linear program has at least, where a program has no answer
CONNECT = 30.0  # seconds for a scheduler to answer
LINEAR = {"softmax": "margin", "l2": "l1"}  # losses of linear programs in place of others


@dataclass(frozen=True)
class Search:
    """How long a program may take.

    Attributes:
        lambdas: prices of the loss; a program is solved for each, and the scores are their mean.
        seconds: time limit of each.
        gap: relative gap at which to stop.
    """

    lambdas: tuple[float, ...]
    seconds: float
    gap: float


@dataclass(frozen=True)
class Answer:
    """Scores, and how it went.

    Attributes:
        scores: (n,) in [0, 1]; mean over the lambdas.
        notes: one row for each lambda, ready for JSON.
    """

    scores: Floats
    notes: list[dict[str, Any]]


class Task(Protocol):
    """A program, or several of one kind."""

    def answer(self) -> Answer:
        """Build and solve it."""


@dataclass(frozen=True)
class LayerTask:
    """The program of one layer (see ``layer_program``)."""

    name: str
    columns: Floats
    base: Floats
    wanted: Floats | Ints
    how: Formulation
    filters: int
    limit: Limit | None
    search: Search

    def answer(self) -> Answer:
        """Solve it for each lambda."""

        def build(price: float, how: Formulation, limit: Limit | None) -> Program:
            return layer_program(self.columns, self.base, self.wanted, price, how, self.filters, limit)

        def error(scores: Floats, outputs: Floats) -> float:
            return float(np.abs(self.base + self.columns @ scores - outputs).max())

        return _answered(self.name, build, error, self.how, self.limit, self.search)


@dataclass(frozen=True)
class JointTask:
    """The program of a whole network (see ``joint_program``)."""

    name: str
    network: ReluNetwork
    x: Floats
    wanted: Floats | Ints
    how: Formulation
    allowed: Bools
    limit: Limit | None
    search: Search

    def answer(self) -> Answer:
        """Solve it for each lambda."""

        def build(price: float, how: Formulation, limit: Limit | None) -> Program:
            return joint_program(self.network, self.x, self.wanted, price, how, self.allowed, limit)

        def error(scores: Floats, outputs: Floats) -> float:
            return float(np.abs(simulate(self.network, self.x, scores)[-1].reshape(-1) - outputs).max())

        return _answered(self.name, build, error, self.how, self.limit, self.search)


def _answered(
    name: str,
    build: Callable[[float, Formulation, Limit | None], Program],
    error: Callable[[Floats, Floats], float],
    how: Formulation,
    limit: Limit | None,
    search: Search,
) -> Answer:
    found, notes = [], []
    for price in search.lambdas:
        program = build(price, how, limit)
        start = _start(program, limit, search)
        solved = solve(program, search.seconds, search.gap, start)
        told = _told(name, price, program, solved)
        if solved.x is None or _stuck(program, solved, start):
            easy = replace(how, scores="continuous", relu="relaxed", loss=LINEAR.get(how.loss, how.loss))
            program = build(price, easy, None)
            solved = solve_linear(program, max(search.seconds, PATIENCE))
            stated = {"loss": easy.loss, "scores": easy.scores, "relu": easy.relu, "objective": solved.objective}
            told |= {"fallback": stated | {"seconds": round(solved.seconds, 3)}}
            if solved.x is None:
                raise UserError(
                    f"scorer.seconds={search.seconds:g}: neither the program of {name} ({told['status']}) nor its linear relaxation "
                    f"({solved.status}) has an answer; give more time, fewer images, or scorer.mode=decoupled"
                )
        scores = np.clip(solved.x[program.scores], 0, 1)
        found.append(scores)
        notes.append(told | {"mean_score": float(scores.mean()), "error": error(scores, program.outputs_of(solved.x))})
    return Answer(np.mean(found, axis=0), notes)


def _stuck(program: Program, solved: Solved, start: Floats | None) -> bool:
    """Whether time ended with nothing better than the scores that the search began with."""
    if start is None or not program.integer.any() or solved.status in ("optimal", "gaplimit") or solved.x is None:
        return False
    return bool(np.allclose(solved.x[program.scores], start[program.scores]))


def _told(name: str, price: float, program: Program, solved: Solved) -> dict[str, Any]:
    sizes = {"variables": len(program.cost), "binaries": int(program.integer.sum()), "rows": int(program.rows.shape[0])}
    stated = {"status": solved.status, "objective": solved.objective, "bound": solved.bound, "gap": solved.gap}
    return {"program": name, "lambda": price} | sizes | stated | {"nodes": solved.nodes, "seconds": round(solved.seconds, 3)}


def _start(program: Program, limit: Limit | None, search: Search) -> Floats | None:
    """A point to begin a search with: all that may stay, or as many as may by the scores of the linear program."""
    if not program.integer.any():
        return program.start
    scores = program.upper[program.scores]
    if limit is not None:
        relaxed = solve(program.relaxed(), SHARE * search.seconds)
        if relaxed.x is None or limit.kept is None:
            return None
        scores = np.zeros(len(program.scores))
        scores[np.argsort(-relaxed.x[program.scores], kind="stable")[: limit.kept]] = 1.0
    return solve(program.at(scores), SHARE * search.seconds).x


def answers(tasks: Sequence[Task], jobs: int, backend: str, cluster: str | None) -> list[Answer]:
    """Solve independent programs side by side.

    Args:
        tasks: the programs.
        jobs: processes; -1 for one for each core.
        backend: of joblib.
        cluster: address of the scheduler of Dask, or of Ray; None starts one here.
    """
    if len(tasks) == 1 and backend == "loky":
        backend = "sequential"
    with workers(backend, cluster), tqdm(total=len(tasks), desc="score", unit="program", leave=False, disable=None) as bar:
        found = []
        for answer in Parallel(n_jobs=jobs, return_as="list" if backend in ("dask", "ray") else "generator")(
            delayed(_solve)(task) for task in tasks
        ):
            found.append(answer)
            bar.update()
    return found


def _solve(task: Task) -> Answer:
    return task.answer()


def check_workers(jobs: int, backend: str) -> None:
    """Refuse numbers of processes and backends that do not exist, or are not installed.

    Raises:
        UserError: one of these.
    """
    if jobs == 0 or jobs < -1:
        raise UserError(f"scorer.jobs={jobs}: give a number of processes, at least 1, or -1 for one for each core")
    if backend not in BACKENDS:
        raise UserError(f"scorer.backend={backend}: no such backend; {nearest(backend, BACKENDS)}")
    if backend in ("dask", "ray"):
        from importlib.util import find_spec

        package = {"dask": "distributed", "ray": "ray"}[backend]
        if find_spec(package) is None:
            raise UserError(f"scorer.backend={backend}: {package} is not installed; pip install {package}, or take scorer.backend=loky")


@contextmanager
def workers(backend: str, cluster: str | None) -> Iterator[None]:
    """Whatever joblib hands its tasks to.

    Raises:
        UserError: the cluster does not answer.
    """
    try:
        if backend == "dask":
            from distributed import Client

            with Client(cluster, timeout=CONNECT, set_as_default=True), parallel_config(backend="dask"):
                yield
            return
        if backend == "ray":
            import ray
            from ray.util.joblib import register_ray

            ray.init(address=cluster, ignore_reinit_error=True)
            register_ray()
    except (OSError, TimeoutError, ConnectionError) as error:
        raise UserError(f"scorer.cluster={cluster}: no scheduler answers there ({error}); start one, or leave the address out") from error
    with parallel_config(backend=backend):
        yield
