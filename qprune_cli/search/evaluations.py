"""What a refinement has measured, what that cost, and the best mask so far."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Quadratic
from qprune_cli.search.metric import Metric
from qprune_cli.types import Bools, Floats, Solution

RACE = 8  # images that are looked at before clearly bad masks are let go
SURE = 1.5  # standard errors that a mask must be behind to be let go
SAVED_EVERY = 20.0  # seconds, where no move makes it sooner
LIVES = 6  # incumbents in a row that do not get better on the held-out images, before a search ends


class Known(NamedTuple):
    """What is known of a mask: its mean merit on the tuned images, estimated where it was let go early, and the images looked at."""

    merit: float
    images: int


class Incumbent(NamedTuple):
    """A mask that a search stood at: merit on the tuned images and on the held-out ones, evaluations and seconds spent until then."""

    keep: Bools
    tuned: float
    held: float
    spent: int
    seconds: float


def gradient_price(probes: int, share: float = 1.0) -> int:
    """Evaluations that a gradient on a share of the images counts as: a forward pass, and two for each backward one, random ones too."""
    return int(np.ceil(share * (1 + 2 * (1 + probes))))


class EvaluationLog:
    """Measures masks for refiners, and keeps the books: every distinct mask is measured once and counted once.

    Every second image is held out: refiners never see what masks are worth there. Each mask that a search moves to is measured on
    them as well, and the best of these masks on the held-out images is the result, so it is never worse than the start on either
    half. When ``LIVES`` moves in a row bring nothing on the held-out images, the search should end (``open``).

    Args:
        metric: the true metric.
        start: (n,) mask to begin with.
        saved: what an earlier, interrupted refinement had measured (see ``state``); it is not measured again, but counted.
        save: called with the log at every new best mask, and now and then.

    Attributes:
        spent: evaluations so far: distinct masks, another one for each that was measured on the held-out images, gradients by their
            price.
        incumbents: the masks that searches moved to, beginning with the start.
        trace: one row for each evaluation.
    """

    def __init__(
        self,
        metric: Metric,
        start: Bools,
        saved: Mapping[str, NDArray[Any]] | None = None,
        save: Callable[["EvaluationLog"], None] = lambda log: None,
    ) -> None:
        self.metric, self.save = metric, save
        self.tuned, self.held = np.arange(0, metric.images, 2), np.arange(1, metric.images, 2)
        if not len(self.held):
            self.held = self.tuned
        self.known: dict[bytes, Known] = {}
        self.before = _unpacked(saved, len(start)) if saved else {}
        self.former = (saved["best"], float(saved["held"])) if saved else (start, -np.inf)
        self.spent, self.gradients, self.limit = 0, 0, 0
        self.trace: list[dict[str, Any]] = []
        self.started = self._saved = perf_counter()
        self.incumbents: list[Incumbent] = []
        self._bar: tqdm[Any] | None = None
        self.start = start.copy()
        self.near = self.start
        self.moves = 0
        self.own: Floats = np.empty(0)  # where the search stands, image by image
        self.begun = 0  # place of the incumbent that the present search began with
        self.rows: dict[bytes, Floats] = {}  # of complete masks, image by image, since the last move

    @property
    def open(self) -> bool:
        """Whether a search should go on: something is left to spend, and the held-out images have not stopped to gain."""
        held = [incumbent.held for incumbent in self.incumbents[self.begun :]]
        return self.room > 0 and len(held) - 1 - int(np.argmax(held)) < LIVES

    @property
    def room(self) -> int:
        """Evaluations that are left, beside the one that a move would need."""
        return self.limit - self.spent - 1

    @property
    def why(self) -> str:
        """Why a search is not open any more, or that it might have gone on."""
        if self.room <= 0:
            return "the evaluations are spent"
        return "nothing better was found" if self.open else "the held-out images gained no more"

    @property
    def best(self) -> Incumbent:
        """The incumbent that is best on the held-out images, the first of those that are."""
        return self.incumbents[self._best]

    @property
    def best_ever(self) -> tuple[Bools, float]:
        """The best mask on the held-out images and its merit there, counting what was found before an interruption."""
        return (self.best.keep, self.best.held) if self.best.held >= self.former[1] else self.former

    @property
    def _best(self) -> int:
        least = self.incumbents[0].tuned
        return int(np.argmax([one.held if one.tuned >= least else -np.inf for one in self.incumbents]))

    @property
    def last(self) -> Incumbent:
        """Where the search stands."""
        return self.incumbents[-1]

    @contextmanager
    def allowance(self, evaluations: int, label: str) -> Iterator[None]:
        """Let a search spend so many evaluations; it begins at the best mask so far, measured in the first place."""
        self.limit = self.spent + evaluations
        with tqdm(total=evaluations, desc=label, unit="mask", leave=False, disable=None) as self._bar:
            base = self.moved(self.best.keep if self.incumbents else self.start)
            self.begun, self.base = len(self.incumbents) - 1, (base, self.own)
            yield

    def again(self) -> None:
        """The search begins anew where its allowance began; that costs nothing."""
        base, self.own = self.base
        self.near, self.rows, self.begun = base.keep, {}, len(self.incumbents)
        self.incumbents.append(base._replace(spent=self.spent, seconds=perf_counter() - self.started))

    def values(self, keep: Bools, race: bool = True) -> Floats:
        """(b, n) masks -> (b,) mean merit on the tuned images; -inf for new ones for which there is no room.

        Args:
            keep: masks.
            race: look at some images first, and let those go that are clearly worse than where the search stands; their merit is
                then an estimate.
        """
        keys = [mask.tobytes() for mask in keep]
        new = {key: place for place, key in reversed(list(enumerate(keys))) if not self._tells(self.known.get(key))}
        places = sorted(new.values())[: max(self.room, 0)]
        measured = [place for place in places if not self._tells(self.before.get(keys[place]))]
        found = {keys[place]: self.before[keys[place]] for place in set(places) - set(measured)}
        found |= dict(zip((keys[place] for place in measured), self._measured(keep[measured], race), strict=True))
        for place in places:
            self.known[keys[place]] = found[keys[place]]
            self._count(1)
            self._note(keep[place], found[keys[place]])
        if perf_counter() - self._saved > SAVED_EVERY:
            self._save()
        return np.array([self.known[key].merit if self._tells(self.known.get(key)) else -np.inf for key in keys])

    def moved(self, keep: Bools) -> Incumbent:
        """The search stands at a mask now: measure it on all images, the held-out ones included."""
        if self.incumbents and (keep == self.last.keep).all():
            return self.last
        key = keep.tobytes()
        unseen = self.held if key in self.rows else np.concatenate([self.tuned, self.held])
        images = self.metric.measure(keep[None], unseen, keep)[0]
        self.own, held = self.rows.get(key, images[: len(self.tuned)]), float(images[-len(self.held) :].mean())
        self.near, self.rows = keep.copy(), {}
        first = key not in self.known
        self.known[key] = Known(float(self.own.mean()), len(self.tuned))
        self._count(1 + first)
        self.moves += bool(self.incumbents)
        self.incumbents.append(Incumbent(self.near, float(self.own.mean()), held, self.spent, perf_counter() - self.started))
        self._note(keep, self.known[key], held)
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self.metric.merit.text(self.last.tuned)}, held out {self.metric.merit.number(held)}")
        self._save()
        return self.last

    def quadratic(self, keep: Bools, probes: int, seed: int, share: float = 1.0) -> Quadratic:
        """The loss to second order around a mask, on the tuned images or on a share of them, which is drawn."""
        self.gradients += 1
        self._count(gradient_price(probes, share))
        count = max(1, round(share * len(self.tuned)))
        images = np.sort(np.random.default_rng(seed).permutation(self.tuned)[:count])
        return self.metric.quadratic(keep, images, probes, seed)

    def solution(self, problem: PruningProblem, started: float, **notes: Any) -> Solution:
        """The best mask so far, judged, with what was measured."""
        best, first = self.best, self.incumbents[0]
        told: dict[str, Any] = {
            "evaluations": self.spent,
            "gradients": self.gradients,
            "moves": self.moves,
            "images": {"tuned": len(self.tuned), "held_out": len(self.held)},
            "tuned": {"before": first.tuned, "after": best.tuned},
            "held_out": {"before": first.held, "after": best.held},
            "swapped": int((best.keep != first.keep).sum()) // 2,
        }
        return problem.judge(best.keep, perf_counter() - started, **told, **notes)

    def state(self) -> dict[str, NDArray[Any]]:
        """What was measured, now and before, and the best mask, as arrays; with it an interrupted refinement goes on."""
        known = self.before | self.known
        masks, values = np.stack([np.frombuffer(key, bool) for key in known]), list(known.values())
        best, held = self.best_ever
        return {
            "best": best,
            "held": np.array(held),
            "masks": np.packbits(masks, axis=1),
            "merit": np.array([value.merit for value in values]),
            "images": np.array([value.images for value in values]),
        }

    def _tells(self, known: Known | None) -> bool:
        """Whether enough is known of a mask: all, or that it is worse than where the search stands, which may have been better before."""
        return known is not None and (known.images == len(self.tuned) or known.merit <= self.own.mean())

    def _measured(self, keep: Bools, race: bool) -> list[Known]:
        """Measure masks that differ, chunk of images by chunk."""
        if not len(keep):
            return []
        seen = np.full((len(keep), len(self.tuned)), np.nan)
        chunks = np.array_split(np.arange(len(self.tuned)), -(-len(self.tuned) // RACE)) if race else [np.arange(len(self.tuned))]
        running = np.arange(len(keep))
        for chunk in chunks:
            seen[np.ix_(running, chunk)] = self.metric.measure(keep[running], self.tuned[chunk], self.near)
            running = running[self._hopeful(seen[running][:, : chunk[-1] + 1])]
            if not len(running):
                break
        counts = (~np.isnan(seen)).sum(axis=1)
        whole = counts == seen.shape[1]
        self.rows |= {mask.tobytes(): row for mask, row in zip(keep[whole], seen[whole], strict=True)}
        estimates = self.own.mean() + np.nanmean(seen - self.own, axis=1) if race else seen.mean(axis=1)
        return [Known(float(v), int(k)) for v, k in zip(np.where(whole, seen.mean(axis=1), estimates), counts, strict=True)]

    def _hopeful(self, seen: Floats) -> Bools:
        """(b,) which masks may still be better than where the search stands."""
        change = seen - self.own[: seen.shape[1]]
        error = change.std(axis=1, ddof=1) / np.sqrt(change.shape[1]) if change.shape[1] > 1 else np.zeros(len(change))
        return np.asarray(change.mean(axis=1) + SURE * error > 0)

    def _save(self) -> None:
        self.save(self)
        self._saved = perf_counter()

    def _count(self, evaluations: int) -> None:
        self.spent += evaluations
        if self._bar is not None:
            self._bar.update(evaluations)

    def _note(self, keep: Bools, known: Known, held: float | None = None) -> None:
        swaps = int((keep != self.start).sum()) // 2
        row: dict[str, Any] = {"evaluation": self.spent, "seconds": perf_counter() - self.started, self.metric.merit.name: known.merit}
        row |= {"images": known.images, "held_out": held, "swaps": swaps}
        self.trace.append(row)


def _unpacked(saved: Mapping[str, NDArray[Any]], n: int) -> dict[bytes, Known]:
    masks = np.unpackbits(saved["masks"], axis=1, count=n).astype(bool)
    rows = zip(masks, saved["merit"], saved["images"], strict=True)
    return {mask.tobytes(): Known(float(merit), int(images)) for mask, merit, images in rows}
