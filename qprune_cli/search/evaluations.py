"""The log of a refinement: what was measured, what that cost, and the best mask so far."""

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
from qprune_cli.search.records import MaskRecord, packed, unpacked
from qprune_cli.types import Bools, Floats, Solution

RACE = 8  # images of a chunk; between two chunks, masks that are clearly worse are given up
SURE = 1.5  # standard errors by which a mask must be worse to be given up
SAVED_EVERY = 20.0  # seconds between two calls of ``save``; every move saves as well
LIVES = 6  # moves in a row without a gain on the held-out images, after which a search ends


class Incumbent(NamedTuple):
    """A mask that a search moved to.

    Attributes:
        keep: (n,) the mask.
        tuned: mean merit on the tuned images.
        held_out: mean merit on the held-out images.
        spent: evaluations until then.
        seconds: time until then.
    """

    keep: Bools
    tuned: float
    held_out: float
    spent: int
    seconds: float


def gradient_price(probes: int, share: float = 1.0) -> int:
    """Number of evaluations that a gradient counts as: one for its forward pass, and two for each backward pass, rounded up.

    Args:
        probes: random backward passes per image that sample the curvature, beside the one of the gradient.
        share: share of the tuned images that the gradient is taken on.
    """
    return int(np.ceil(share * (1 + 2 * (1 + probes))))


class EvaluationLog:
    """Measures masks for refiners and counts the evaluations; every distinct mask is measured once and counted once.

    Even images are tuned on, odd images are held out: refiners never see what masks are worth there. Each mask that a search moves to is
    measured on the held-out images as well, and the result is the mask that is best on them, among those that are no worse than the start
    on the tuned images. So the result is never worse than the start on either half. When ``LIVES`` moves in a row gain nothing on the
    held-out images, the search should end (``open``).

    Args:
        metric: the true metric, on all images.
        start: (n,) mask to begin with.
        saved: what an earlier, interrupted refinement had measured (see ``state``); it is not measured again, but counted.
        save: called with the log after every move, and at times in between.

    Attributes:
        tuned_images: numbers of the images that masks are tuned on.
        held_out_images: numbers of the images that are held out; the same ones where there is one image only.
        records: what was measured, by the bytes of the mask.
        spent: evaluations so far: distinct masks, another one for each that was measured on the held-out images, gradients by their
            price.
        gradients: number of gradients so far.
        moves: number of moves so far.
        incumbents: the masks that searches moved to, beginning with the start.
        trace: one row for each evaluation, ready for a table.
    """

    def __init__(
        self,
        metric: Metric,
        start: Bools,
        saved: Mapping[str, NDArray[Any]] | None = None,
        save: Callable[["EvaluationLog"], None] = lambda log: None,
    ) -> None:
        self.metric, self.save = metric, save
        self.tuned_images, self.held_out_images = np.arange(0, metric.images, 2), np.arange(1, metric.images, 2)
        if not len(self.held_out_images):
            self.held_out_images = self.tuned_images
        self.records: dict[bytes, MaskRecord] = {}
        self.earlier_records = unpacked(saved, len(start)) if saved else {}
        self.earlier_best = (saved["best"], float(saved["held"])) if saved else (start, -np.inf)
        self.spent, self.gradients, self.limit = 0, 0, 0
        self.trace: list[dict[str, Any]] = []
        self.started = self._saved = perf_counter()
        self.incumbents: list[Incumbent] = []
        self._bar: tqdm[Any] | None = None
        self.start = start.copy()
        self.current_mask = self.start
        self.moves = 0
        self.current_merits: Floats = np.empty(0)  # merit of the current mask on each tuned image
        self.search_start = 0  # index of the incumbent that the present search began with
        self.image_merits: dict[bytes, Floats] = {}  # merit on each tuned image of the masks measured on all of them since the last move

    @property
    def open(self) -> bool:
        """Whether a search should go on: evaluations are left, and the last ``LIVES`` moves gained something on the held-out images."""
        held_out = [incumbent.held_out for incumbent in self.incumbents[self.search_start :]]
        return self.room > 0 and len(held_out) - 1 - int(np.argmax(held_out)) < LIVES

    @property
    def room(self) -> int:
        """Number of evaluations that are left, with one put aside for a move."""
        return self.limit - self.spent - 1

    @property
    def stop_reason(self) -> str:
        """Why a search has ended, in words for its notes."""
        if self.room <= 0:
            return "the evaluations are spent"
        return "nothing better was found" if self.open else "the held-out images gained no more"

    @property
    def best(self) -> Incumbent:
        """The first incumbent of highest merit on the held-out images, among those no worse than the start on the tuned images."""
        return self.incumbents[self._best_index]

    @property
    def best_ever(self) -> tuple[Bools, float]:
        """The (n,) mask of highest merit on the held-out images, and that merit; the best mask before an interruption takes part."""
        return (self.best.keep, self.best.held_out) if self.best.held_out >= self.earlier_best[1] else self.earlier_best

    @property
    def _best_index(self) -> int:
        least = self.incumbents[0].tuned
        return int(np.argmax([one.held_out if one.tuned >= least else -np.inf for one in self.incumbents]))

    @property
    def last(self) -> Incumbent:
        """The incumbent that the search stands at."""
        return self.incumbents[-1]

    @contextmanager
    def allowance(self, evaluations: int, label: str) -> Iterator[None]:
        """Let a search spend some evaluations inside the block; it begins at the best mask so far, which is measured first.

        Args:
            evaluations: number that it may spend.
            label: what the progress bar says.
        """
        self.limit = self.spent + evaluations
        with tqdm(total=evaluations, desc=label, unit="mask", leave=False, disable=None) as self._bar:
            base = self.move_to(self.best.keep if self.incumbents else self.start)
            self.search_start, self.search_base = len(self.incumbents) - 1, (base, self.current_merits)
            yield

    def restart(self) -> None:
        """Go back to the mask that the present allowance began with; that costs no evaluation."""
        base, self.current_merits = self.search_base
        self.current_mask, self.image_merits, self.search_start = base.keep, {}, len(self.incumbents)
        self.incumbents.append(base._replace(spent=self.spent, seconds=perf_counter() - self.started))

    def values(self, keep: Bools, race: bool = True) -> Floats:
        """Measure masks on the tuned images; masks that were measured before cost nothing.

        Args:
            keep: (b, n) masks.
            race: measure on some images first, and give up masks that are clearly worse than the current one; their merit is then an
                estimate.

        Returns:
            (b,) mean merit; -inf for new masks for which no evaluations are left.
        """
        keys = [mask.tobytes() for mask in keep]
        first = {key: row for row, key in reversed(list(enumerate(keys))) if not self._suffices(self.records.get(key))}
        new = sorted(first.values())[: max(self.room, 0)]
        unmeasured = [row for row in new if not self._suffices(self.earlier_records.get(keys[row]))]
        records = {keys[row]: self.earlier_records[keys[row]] for row in set(new) - set(unmeasured)}
        records |= dict(zip((keys[row] for row in unmeasured), self._measured(keep[unmeasured], race), strict=True))
        for row in new:
            self.records[keys[row]] = records[keys[row]]
            self._count(1)
            self._add_row(keep[row], records[keys[row]])
        if perf_counter() - self._saved > SAVED_EVERY:
            self._save()
        return np.array([self.records[key].merit if self._suffices(self.records.get(key)) else -np.inf for key in keys])

    def move_to(self, keep: Bools) -> Incumbent:
        """Let the search stand at an (n,) mask, and measure it on all images, the held-out ones included.

        Returns:
            The new incumbent, or the last one where the search stands at this mask already.
        """
        if self.incumbents and (keep == self.last.keep).all():
            return self.last
        key = keep.tobytes()
        unseen = self.held_out_images if key in self.image_merits else np.concatenate([self.tuned_images, self.held_out_images])
        images = self.metric.measure(keep[None], unseen, keep)[0]
        self.current_merits = self.image_merits.get(key, images[: len(self.tuned_images)])
        held_out = float(images[-len(self.held_out_images) :].mean())
        self.current_mask, self.image_merits = keep.copy(), {}
        first = key not in self.records
        self.records[key] = MaskRecord(float(self.current_merits.mean()), len(self.tuned_images))
        self._count(1 + first)
        self.moves += bool(self.incumbents)
        tuned, seconds = float(self.current_merits.mean()), perf_counter() - self.started
        self.incumbents.append(Incumbent(self.current_mask, tuned, held_out, self.spent, seconds))
        self._add_row(keep, self.records[key], held_out)
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self.metric.merit.text(self.last.tuned)}, held out {self.metric.merit.number(held_out)}")
        self._save()
        return self.last

    def quadratic(self, keep: Bools, probes: int, seed: int, share: float = 1.0) -> Quadratic:
        """The loss to second order around an (n,) mask, on a share of the tuned images; counted by ``gradient_price``.

        Args:
            keep: the mask.
            probes: random backward passes per image that sample the curvature.
            seed: draws the passes, and the images where the share is below 1.
            share: share of the tuned images.
        """
        self.gradients += 1
        self._count(gradient_price(probes, share))
        count = max(1, round(share * len(self.tuned_images)))
        images = np.sort(np.random.default_rng(seed).permutation(self.tuned_images)[:count])
        return self.metric.quadratic(keep, images, probes, seed)

    def solution(self, problem: PruningProblem, started: float, **notes: Any) -> Solution:
        """The best mask so far, judged by the problem, with a record of the search.

        Args:
            problem: the problem.
            started: ``perf_counter()`` at the start of the search.
            notes: further notes of the refiner, ready for JSON.
        """
        best, first = self.best, self.incumbents[0]
        record: dict[str, Any] = {
            "evaluations": self.spent,
            "gradients": self.gradients,
            "moves": self.moves,
            "images": {"tuned": len(self.tuned_images), "held_out": len(self.held_out_images)},
            "tuned": {"before": first.tuned, "after": best.tuned},
            "held_out": {"before": first.held_out, "after": best.held_out},
            "swapped": int((best.keep != first.keep).sum()) // 2,
        }
        return problem.judge(best.keep, perf_counter() - started, **record, **notes)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that an interrupted refinement needs to go on, as arrays: the best mask, and what was measured of k masks.

        Returns:
            ``best`` (n,) mask, ``held`` () its merit on the held-out images, ``masks`` (k, n / 8) packed bits, ``merit`` (k,) and
            ``images`` (k,) as in ``MaskRecord``.
        """
        best, held_out = self.best_ever
        return {"best": best, "held": np.array(held_out)} | packed(self.earlier_records | self.records)

    def _suffices(self, record: MaskRecord | None) -> bool:
        """Whether a mask need not be measured again: on all images, or estimated to be no better than the current mask.

        An estimate was made against an earlier mask, which may have been better than the current one.
        """
        return record is not None and (record.images == len(self.tuned_images) or record.merit <= self.current_merits.mean())

    def _measured(self, keep: Bools, race: bool) -> list[MaskRecord]:
        """Measure distinct (b, n) masks on one chunk of images after another, and give up those without hope where they race."""
        if not len(keep):
            return []
        images = len(self.tuned_images)
        merits = np.full((len(keep), images), np.nan)
        chunks = np.array_split(np.arange(images), -(-images // RACE)) if race else [np.arange(images)]
        racing = np.arange(len(keep))
        for chunk in chunks:
            merits[np.ix_(racing, chunk)] = self.metric.measure(keep[racing], self.tuned_images[chunk], self.current_mask)
            racing = racing[self._hopeful(merits[racing][:, : chunk[-1] + 1])]
            if not len(racing):
                break
        counts = (~np.isnan(merits)).sum(axis=1)
        complete = counts == images
        self.image_merits |= {mask.tobytes(): row for mask, row in zip(keep[complete], merits[complete], strict=True)}
        estimates = self.current_merits.mean() + np.nanmean(merits - self.current_merits, axis=1) if race else merits.mean(axis=1)
        return [MaskRecord(float(v), int(k)) for v, k in zip(np.where(complete, merits.mean(axis=1), estimates), counts, strict=True)]

    def _hopeful(self, merits: Floats) -> Bools:
        """(b,) whether masks may still be better than the current one, by their (b, k) merits on the first k tuned images."""
        change = merits - self.current_merits[: merits.shape[1]]
        error = change.std(axis=1, ddof=1) / np.sqrt(change.shape[1]) if change.shape[1] > 1 else np.zeros(len(change))
        return np.asarray(change.mean(axis=1) + SURE * error > 0)

    def _save(self) -> None:
        self.save(self)
        self._saved = perf_counter()

    def _count(self, evaluations: int) -> None:
        self.spent += evaluations
        if self._bar is not None:
            self._bar.update(evaluations)

    def _add_row(self, keep: Bools, record: MaskRecord, held_out: float | None = None) -> None:
        swaps = int((keep != self.start).sum()) // 2
        row: dict[str, Any] = {"evaluation": self.spent, "seconds": perf_counter() - self.started, self.metric.merit.name: record.merit}
        row |= {"images": record.images, "held_out": held_out, "swaps": swaps}
        self.trace.append(row)
