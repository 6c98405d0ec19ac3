"""Solves independent programs side by side: in other processes, threads, or on a cluster."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from qprune_cli.errors import UserError, nearest
from qprune_cli.program.task import ProgramScores, Task

BACKENDS = ("loky", "threading", "sequential", "dask", "ray")
CONNECT = 30.0  # seconds for a scheduler to answer


def solve_all(tasks: Sequence[Task], jobs: int, backend: str, cluster: str | None) -> list[ProgramScores]:
    """Solve independent programs side by side.

    Args:
        tasks: the programs.
        jobs: number of processes; -1 for one for each core.
        backend: backend of joblib, one of ``BACKENDS``.
        cluster: address of the scheduler of Dask, or of Ray; None starts one on this machine.

    Returns:
        The scores of each task, in order.

    Raises:
        UserError: the cluster does not answer, or a program has no solution in time.
    """
    if len(tasks) == 1 and backend == "loky":
        backend = "sequential"
    with workers(backend, cluster), tqdm(total=len(tasks), desc="score", unit="program", leave=False, disable=None) as bar:
        results = []
        for result in Parallel(n_jobs=jobs, return_as="list" if backend in ("dask", "ray") else "generator")(
            delayed(_solve)(task) for task in tasks
        ):
            results.append(result)
            bar.update()
    return results


def _solve(task: Task) -> ProgramScores:
    return task.solve()


def check_workers(jobs: int, backend: str) -> None:
    """Check the settings of ``solve_all`` before anything is computed.

    Raises:
        UserError: no such number of processes, no such backend, or one whose package is not installed.
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
    """Let joblib send its tasks to a backend inside the block.

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
