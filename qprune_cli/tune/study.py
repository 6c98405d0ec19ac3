"""The record of a search, in a file that several processes may share: Optuna's study, and which trials are whose."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from qprune_cli.errors import UserError
from qprune_cli.record.folder import Folder
from qprune_cli.tune.draw import load_optuna, sampler

STUDY, LOCK = "study.db", ".study.lock"
PATIENCE = 60  # seconds to wait for the file while another process writes
STARTED, KILLED = "asked", "killed"  # attributes of the study: its definition, and numbers of trials


class Study:
    """A search that is under way, as one process sees it.

    Args:
        folder: of the search.
        definition: what is searched, as plain values; a study keeps the one that it began with.
        seed: draws what is tried.

    Raises:
        UserError: the file is damaged, or holds another search.
    """

    def __init__(self, folder: Path, definition: Mapping[str, Any], seed: int) -> None:
        self.optuna, self.folder, self.seed = load_optuna(), folder, seed
        self.worker = uuid.uuid4().hex[:12]
        self.lock = FileLock(folder / f".{self.worker}.lock")
        with self.alone():
            self.study = self._opened()
            self._refuse_other(dict(definition))
            self.lock.acquire()
            self._requeue()

    def close(self) -> None:
        """End the work of this process: a trial that it has not finished is tried again by another."""
        Path(self.lock.lock_file).unlink(missing_ok=True)
        self.lock.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from taking a trial while the block runs."""
        Folder.at(self.folder)
        with FileLock(self.folder / LOCK, timeout=10 * PATIENCE):
            yield

    def next(self, trials: int) -> Any:
        """Take a trial of Optuna to do; None where ``trials`` of them are finished or at work in some process."""
        with self.alone():
            self._requeue()
            if len(self.over) + len(self.running) >= trials:
                return None
            trial = self.study.ask()
            trial.set_user_attr("worker", self.worker)
        self.study.sampler = sampler(self.seed, trial.number)
        return trial

    def tell(self, trial: Any, worth: Mapping[str, Any], **more: Any) -> None:
        """Write down how a trial ended.

        Args:
            trial: that was done.
            worth: of its network by name; of ``held_out`` the most is searched for, of ``macs`` the least.
            more: other plain values to keep.
        """
        for name, value in (dict(worth) | more).items():
            trial.set_user_attr(name, value)
        self.study.tell(trial, [worth["held_out"], worth["macs"]])

    def fail(self, trial: Any, **more: Any) -> None:
        """Write down that a trial failed, with plain values that say why."""
        for name, value in more.items():
            trial.set_user_attr(name, value)
        self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)

    def queue(self, grid: Sequence[Mapping[str, Any]]) -> None:
        """Have these settings tried first.

        Args:
            grid: values by key for each trial; those that were tried or queued before are left out.
        """
        with self.alone():
            states = self.optuna.trial.TrialState
            earlier = [
                dict(one.system_attrs.get("fixed_params", {})) if one.state is states.WAITING else one.params for one in self._trials()
            ]
            for values in grid:
                if dict(values) not in earlier:
                    self.study.enqueue_trial(dict(values))

    @property
    def over(self) -> list[Any]:
        """Trials that finished or failed, without those whose process was killed."""
        states, killed = self.optuna.trial.TrialState, self.study.user_attrs.get(KILLED, [])
        return [one for one in self._trials(states.COMPLETE, states.FAIL) if one.number not in killed]

    @property
    def running(self) -> list[Any]:
        """Trials that some process is at work on."""
        return self._trials(self.optuna.trial.TrialState.RUNNING)

    @property
    def front(self) -> list[Any]:
        """Finished trials that no other one beats in both, by their multiply-accumulates; of equal folders one."""
        best = {one.user_attrs["folder"]: one for one in self.study.best_trials}
        return sorted(best.values(), key=lambda one: one.user_attrs["macs"])

    def _trials(self, *states: Any) -> list[Any]:
        trials: list[Any] = self.study.get_trials(deepcopy=False, states=states or None)
        return trials

    def _requeue(self) -> None:
        """Mark what processes that are gone have left as failed, and have it tried again."""
        for left in self.running:
            if not self._alive(left.user_attrs.get("worker")):
                self.study.set_user_attr(KILLED, [*self.study.user_attrs.get(KILLED, []), left.number])
                if left.params:
                    self.study.enqueue_trial(left.params)
                self.study.tell(left.number, state=self.optuna.trial.TrialState.FAIL)

    def _alive(self, worker: str | None) -> bool:
        if worker is None:  # killed while it took the trial: it would hold the lock of the study
            return False
        path = self.folder / f".{worker}.lock"
        if worker == self.worker or not path.exists():
            return worker == self.worker
        try:
            with FileLock(path, timeout=0):
                path.unlink(missing_ok=True)
            return False
        except Timeout:
            return True

    def _opened(self) -> Any:
        path = self.folder / STUDY
        made = {"connect_args": {"timeout": PATIENCE}}
        try:
            storage = self.optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}", engine_kwargs=made)
            return self.optuna.create_study(
                study_name="qprune",
                storage=storage,
                load_if_exists=True,
                directions=["maximize", "minimize"],
                sampler=sampler(self.seed, 0),
            )
        except Exception as error:  # of several libraries; all mean that the file is of no use
            reason = " ".join(str(error).splitlines()[:1])
            raise UserError(
                f"{path}: damaged, or of another Optuna ({type(error).__name__}: {reason}); move it away, and give the command again: "
                "the trials that are finished lie beside it and are not done again"
            ) from error

    def _refuse_other(self, definition: dict[str, Any]) -> None:
        first = self.study.user_attrs.get(STARTED)
        if first is None:
            self.study.set_user_attr(STARTED, definition)
        elif first != definition:
            names = {**first, **definition}
            other = [f"{name}: {first.get(name, 'not there')}" for name in names if first.get(name) != definition.get(name)]
            raise UserError(f"{self.folder}: this search began otherwise ({'; '.join(other)}); go on with that, or give another tune.name")
