"""Sequential quadratic search: model the loss at the mask, step on the model, judge the step by the truth."""

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.walk import Walk
from qprune_cli.scores import Quadratic
from qprune_cli.search.evaluations import EvaluationLog, gradient_price
from qprune_cli.search.moves import Swap, best_chain, best_swaps, swapped
from qprune_cli.search.settings import check_settings
from qprune_cli.search.trust import Trust
from qprune_cli.types import Solution

SINGLES = 4  # single exchanges that are measured next to each chain
SHARE = 0.5  # share of the tuned images in a gradient, drawn anew each time: half the cost, and no worse
AGAIN = 50  # evaluations that must be left for another search from the start
PATIENCE = 3  # steps without a gain before another gradient is taken, and gradients without a gain before a search ends


@dataclass(frozen=True)
class Sequential:
    """Re-score at the mask, exchange the filters that the scores want exchanged, keep what the true metric likes.

    At each mask the loss is modelled to second order, with couplings across the whole network, from one forward pass and some random
    backward passes on half of the tuned images. On that model a chain of at most r exchanges is built, each the best that is left and
    within the budget. Its beginnings of r, r/2, ..., 1 exchanges and some other single ones are measured, and then all single ones together
    that helped alone. The best of these becomes the new mask if it is truly better; r doubles when the whole chain was the best, and falls
    to the number of exchanges of the best one otherwise. Exchanges that did not help are not tried again for some gradients, and the scales
    of gradient and curvature in the model are fitted to the measured changes of the loss.

    A search ends at a mask that no exchange improves. While evaluations are left it begins again at the start with other random passes, as
    searches end at masks of different merit. The result is the mask that is best on the held-out images (see ``EvaluationLog``), so it is
    never worse than the start there.

    Args:
        evaluations: largest number of masks to measure; a gradient counts as half of ``1 + 2 * (1 + probes)``.
        swaps: number of exchanges in the first chain.
        probes: random backward passes per image that sample the curvature.
        objective: compensated, or silenced: the network whose metric is tuned (see ``objective_metric``).

    References:
        Ours. Conn, Gould, Toint, "Trust-region methods", 2000 (a model, a radius, and the truth as the judge).
    """

    evaluations: int = 200
    swaps: int = 8
    probes: int = 4
    objective: str = "compensated"

    def __post_init__(self) -> None:
        check_settings(self, swaps=1, probes=1)
        check_settings(self, evaluations=4 + gradient_price(self.probes, SHARE))  # the start, a gradient, a mask, a move

    def refine(self, problem: PruningProblem, start: Solution, log: EvaluationLog, seed: int) -> Solution:
        """Step from mask to mask while the true metric rises, and begin again while there is enough to spend."""
        started, searches = perf_counter(), list[_Search]()
        with log.allowance(self.evaluations, "refine"):
            while not searches or (searches[-1].refused and log.room > AGAIN):
                if searches:
                    log.restart()
                searches.append(_Search(problem, log, self.swaps))
                self._search(searches[-1], seed + log.gradients)
        stopped = log.stop_reason if log.room > AGAIN else "the evaluations are spent"
        scales = {"slope": searches[-1].trust.slope, "curvature": searches[-1].trust.curvature}
        return log.solution(problem, started, method="sequential", stopped=stopped, searches=len(searches), scales=scales)

    def _search(self, search: "_Search", seed: int) -> None:
        """Step from the present mask until nothing helps any more, or the log says stop."""
        log = search.log
        while log.open and log.room > gradient_price(self.probes, SHARE) and search.failures < PATIENCE:
            search.number += 1
            model = log.quadratic(log.last.keep, self.probes, seed + search.number, SHARE)
            moved = any(search.step(model) for _ in range(PATIENCE))
            search.failures = 0 if moved else min(search.failures + 1, PATIENCE)


@dataclass
class _Search:
    """A search and what it has learnt: how far to step, how to scale the model, and which exchanges did not help."""

    problem: PruningProblem
    log: EvaluationLog
    radius: int  # largest number of exchanges in a chain
    number: int = 0  # number of the latest gradient
    failures: int = 0  # gradients in a row that led to no better mask
    trust: Trust = field(default_factory=Trust)
    refused: dict[Swap, int] = field(default_factory=dict)  # exchanges that did not help, and the number of the gradient then

    def step(self, model: Quadratic) -> bool:
        """Measure the steps that the model promises most of, and move to the best one; returns whether it was better."""
        keep, level = self.log.last.keep, self.log.last.tuned
        steps = self._steps(Walk(self.trust.problem(self.problem, model, keep), keep))
        if not steps or self.log.room <= 0:
            self.failures = self.failures if self.refused else PATIENCE  # there is nothing to exchange
            return False
        masks = np.stack([swapped(keep, step) for step in steps])
        values = self.log.values(masks)
        measured = np.isfinite(values)
        self.trust.learn_(model, keep, masks[measured], level - values[measured], self.number)
        helped = [step[0] for step, value in zip(steps, values, strict=True) if len(step) == 1 and value > level]
        self.refused |= {step[0]: self.number for step, value in zip(steps, values, strict=True) if len(step) == 1 and value <= level}
        together = swapped(keep, helped)
        if len(helped) > 1 and self.problem.feasible(together):
            steps, masks = [*steps, helped], np.concatenate([masks, together[None]])
            values = np.append(values, self.log.values(together[None]))
        best = int(values.argmax())
        if values[best] <= level:
            self.radius = max(1, self.radius // 2)
            return False
        self.radius = 2 * len(steps[0]) if best == 0 else len(steps[best])
        self.log.move_to(masks[best])
        return True

    def _steps(self, walk: Walk) -> list[list[Swap]]:
        """The beginnings of a chain, the longest first, then other single exchanges, no filter in two of them."""
        blocked = {swap for swap, number in self.refused.items() if self.number - number < PATIENCE}
        singles = [[swap] for swap in best_swaps(walk, SINGLES, blocked)]
        chain = best_chain(walk, self.radius, blocked)
        lengths = sorted({len(chain) >> halvings for halvings in range(len(chain).bit_length())}, reverse=True)
        steps = [chain[:length] for length in lengths]
        return steps + [single for single in singles if single not in steps]
