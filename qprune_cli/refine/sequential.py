"""Sequential quadratic search: model the loss at the mask, step on the model, judge the step by the truth."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.walk import Walk
from qprune_cli.search.ledger import Ledger
from qprune_cli.search.moves import Swap, best_chain, best_swaps, swapped
from qprune_cli.search.settings import check_settings
from qprune_cli.search.trust import Trust
from qprune_cli.types import Solution

SINGLES = 4  # exchanges that are tried one by one beside each chain
PATIENCE = 3  # times that nothing was better before another gradient is taken; as many gradients before the search ends


@dataclass(frozen=True)
class Sequential:
    """Re-score at the mask, exchange the filters that the scores want exchanged, keep what the true metric likes.

    At each mask the loss is modelled to second order, with couplings across the whole network, from one forward pass and some random
    backward passes on the tuned images. On that model a chain of at most r exchanges is built, each the best that is left and within
    the budget; its beginnings of r, r/2, ..., 1 exchanges and some other single ones are measured. The best of them becomes the new mask
    if it is truly better; r doubles when the whole chain was, and falls to what helped otherwise. Exchanges that did not help are
    remembered and not tried again for some time, and slope and curvature of the model are scaled to fit what the loss was seen to do.

    The result is the mask that is best on the held-out images (see ``Ledger``), so it is never worse than the start there.

    Args:
        evaluations: masks to measure at most; a gradient counts as ``1 + 2 * (1 + probes)``.
        swaps: exchanges of the first chain.
        probes: random backward passes per image that sample the curvature.
        objective: silenced, or compensated: what network the metric is of.

    References:
        Ours. Conn, Gould, Toint, "Trust-region methods", 2000 (a model, a radius, and the truth as the judge).
    """

    evaluations: int = 200
    swaps: int = 8
    probes: int = 2
    objective: str = "silenced"

    def __post_init__(self) -> None:
        check_settings(self, evaluations=1, swaps=1, probes=1)

    def refine(self, problem: PruningProblem, start: Solution, ledger: Ledger, seed: int) -> Solution:
        """Step from mask to mask while the true metric rises."""
        started, trust, radius = perf_counter(), Trust(), self.swaps
        refused: dict[Swap, int] = {}
        failures = number = 0
        stopped = "evaluations spent"
        with ledger.allowance(self.evaluations, "refine"):
            while ledger.open and failures < PATIENCE:
                number += 1
                keep, level = ledger.last.keep, ledger.last.tuned
                bend = ledger.quadratic(keep, self.probes, seed + number)
                for _ in range(PATIENCE):
                    blocked = {swap for swap, when in refused.items() if number - when < PATIENCE}
                    model = trust.problem(problem, bend, keep)
                    chain = best_chain(Walk(model, keep), radius, blocked)
                    lengths = sorted({len(chain) >> k for k in range(len(chain).bit_length())} - {0}, reverse=True)
                    steps = [chain[:length] for length in lengths]
                    steps += [[swap] for swap in best_swaps(Walk(model, keep), SINGLES, blocked) if [swap] not in steps]
                    if not steps or ledger.room <= 0:
                        break
                    masks = np.stack([swapped(keep, step) for step in steps])
                    values = ledger.values(masks)
                    seen = np.isfinite(values)
                    trust.learn_(bend, keep, masks[seen], level - values[seen], number)
                    refused |= {step[0]: number for step, value in zip(steps, values, strict=True) if len(step) == 1 and value <= level}
                    place = int(values.argmax())
                    if values[place] > level:
                        ledger.moved(masks[place])
                        radius = 2 * len(steps[place]) if place == 0 else max(1, len(steps[place]))
                        break
                    radius = max(1, radius // 2)
                failures = 0 if ledger.last.keep is not keep else failures + 1
        if failures:
            stopped = "no exchange that the model promises helps"
        elif ledger.room > 0:
            stopped = "the held-out images gain no more"
        return ledger.solution(problem, started, method="sequential", stopped=stopped, slope=trust.slope, curvature=trust.curvature)
