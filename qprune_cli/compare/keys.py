"""The settings that name the rows of a table: those in which its runs differ, other than seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qprune_cli.compare.gather import named
from qprune_cli.compare.run import Run
from qprune_cli.compare.settings import IDLE, in_order
from qprune_cli.compare.words import refuse_unknown_key

UNNAMED = ("seed", *IDLE)  # rows are means over seeds
ORDER = ("data", "model", "solver", "scorer", "refine", "compensate")  # solver first: its aliases bring a scorer
MAY_FOLLOW = ("scorer", "loss")  # settings without a dot that components bring along


@dataclass(frozen=True)
class Keys:
    """The settings that name the rows of a table.

    Attributes:
        shown: in the order of the columns.
        follow: settings that differ as well, but only as the components that are shown do.
    """

    shown: tuple[str, ...]
    follow: tuple[str, ...] = ()

    def of(self, run: Run) -> tuple[str, ...]:
        """The values of the keys, which name the row of a run; empty where it lacks a setting."""
        return tuple(run.settings.get(key, "") for key in self.shown)

    def lines(self) -> list[str]:
        """What a reader should know of the settings that are not shown."""
        return [f"follow from the components that are shown, see them with --by: {named(self.follow)}"] if self.follow else []


def row_keys(runs: Sequence[Run], by: Sequence[str] | None = None) -> Keys:
    """Choose the settings that name rows.

    Left out are seeds; settings of a component that differ only with its name; the scorer, the loss and settings of components where
    the components that are shown say which they are; and what repeats a setting of the same name, such as ``scorer.sparsity``.

    Args:
        runs: that are compared.
        by: exactly these; None for all that differ.

    Raises:
        UserError: no run has a setting that ``by`` names.
    """
    if by is not None:
        for key in by:
            refuse_unknown_key(key, runs, "--by ")
        return Keys(tuple(dict.fromkeys(by)))
    roles = sorted({role for run in runs for role in run.roles}, key=lambda role: (*ORDER, role).index(role))
    names = list(dict.fromkeys([*roles, "sparsity", *sorted((name for run in runs for name in run.settings), key=lambda n: "." in n)]))
    shown: list[str] = []
    follow: list[str] = []
    for key in names:
        if key in UNNAMED or not varies(runs, key) or _repeats(runs, key, (*UNNAMED, *shown)):
            continue
        role = key.split(".")[0]
        if role != key and role in roles and determined(runs, key, [role]):
            continue
        components = [one for one in shown if one in roles]
        if ("." in key or key in MAY_FOLLOW) and determined(runs, key, components):
            follow.append(key)
        else:
            shown.append(key)
    return Keys(tuple(shown), tuple(follow))


def varies(runs: Iterable[Run], key: str) -> bool:
    """Whether runs differ in a setting; one that lacks it differs from one that has it."""
    return len({run.settings.get(key) for run in runs}) > 1


def determined(runs: Iterable[Run], key: str, by: Sequence[str]) -> bool:
    """Whether a setting is a function of others among some runs."""
    seen: dict[tuple[str | None, ...], str | None] = {}
    return all(seen.setdefault(tuple(map(run.settings.get, by)), value) == value for run in runs for value in [run.settings.get(key)])


def _repeats(runs: Sequence[Run], key: str, others: Iterable[str]) -> bool:
    """Whether another setting of the same last name says the same in every run."""
    twins = [other for other in others if other.split(".")[-1] == key.split(".")[-1]]
    return any(all(run.settings.get(key) in (None, run.settings.get(twin)) for run in runs) for twin in twins)


def grouped(runs: Iterable[Run], keys: Keys) -> dict[tuple[str, ...], list[Run]]:
    """The runs of each row, sorted by the keys, numbers by size."""
    rows: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        rows.setdefault(keys.of(run), []).append(run)
    return {row: rows[row] for row in sorted(rows, key=lambda row: tuple(map(in_order, row)))}


def inside(rows: Mapping[tuple[str, ...], Sequence[Run]], keys: Keys) -> list[str]:
    """What the rows that ``--by`` names average over, beside seeds."""
    names = dict.fromkeys(name for runs in rows.values() for name in row_keys(runs).shown if name not in keys.shown)
    if not names:
        return []
    values = {name: sorted({run.settings.get(name, "") for runs in rows.values() for run in runs}, key=in_order) for name in names}
    averaged = (f"{name}={named(values[name], ',')}" for name in names)
    lines = [f"rows average over {named(averaged, ' and ')}"]
    if len({frozenset(tuple(run.settings.get(name) for name in names) for run in runs) for runs in rows.values()}) > 1:
        lines.append("not every row averages over the same of these, so part of a difference between rows may come from that")
    return lines
