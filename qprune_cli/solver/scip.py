"""A mixed integer quadratic program, solved by SCIP."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from pyscipopt import Model, quicksum

from qprune_cli.errors import UserError
from qprune_cli.problem.bound import Relaxation, certificate, decided
from qprune_cli.problem.priced import mask_from_profiles
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.problem.profile import layer_profiles
from qprune_cli.types import Bools, Floats, Solution

MASKS = 32  # random masks on which the model of a cost is checked
EXACT = 1e-9  # largest error of that model, as a share of the limit
MARGIN = 1e-6  # tolerance of SCIP, which is taken off its bound


@dataclass(frozen=True)
class Scip:
    r"""Find the best mask and prove it: ``min linear . d + 1/2 sum_r z_r ** 2`` with ``z = V d``, bits ``d``.

    The diagonal is shifted as in the certificate (``problem/bound.py``), so the squares are convex and the first bound is as good as the
    certificate's. Filters that the certificate decides are taken out beforehand. The search starts from the mask of the layers' profiles,
    so the result is never worse. A search that is ended by the time limit returns the best mask so far, which may differ from machine to
    machine. The seed is not used.

    Args:
        seconds: time limit; 0 returns the start and the certificate.
        gap: relative gap between damage and bound at which to stop.

    References:
        Bolusani et al., "The SCIP Optimization Suite 9.0", 2024.
        Billionnet et al., "Improving the performance of standard solvers for quadratic 0-1 programs by a tight convex reformulation",
        2009 (convex squares by a shift of the diagonal).
    """

    seconds: float = 60.0
    gap: float = 0.0

    def __post_init__(self) -> None:
        for name in ("seconds", "gap"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"solver.{name}={getattr(self, name)}: give a number, 0 or more")

    def check(self, problem: PruningProblem) -> None:
        """Refuse a budget that is a cost, unless the cost is a quadratic function of the counts of filters.

        Raises:
            UserError: it is no such function.
        """
        if not problem.budget.exact:
            _check_prices(problem)

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Start from the profiles, take out the filters that the certificate decides, and let SCIP search among the rest.

        Raises:
            UserError: the budget is a cost that is no quadratic function of the counts of filters.
        """
        start = perf_counter()
        self.check(problem)
        keep, _ = mask_from_profiles(problem, layer_profiles(problem))
        damage = float(problem.damage(keep[None])[0])
        proof = certificate(problem)
        stay, go = decided(problem, proof, damage) if proof else (np.zeros(len(keep), bool),) * 2
        seconds = self.seconds - (perf_counter() - start)
        status, bound, nodes = "time limit", -np.inf, 0
        if (stay | go).all():
            status, bound = "optimal", damage
        elif seconds > 0:
            program = _Program(proof.relaxation if proof else Relaxation.of(problem), keep, stay, go)
            status, bound, nodes = program.solve(seconds, self.gap)
            better = program.best()
            if problem.feasible(better) and problem.damage(better[None])[0] < damage:
                keep = better
        damage = float(problem.damage(keep[None])[0])
        bound = min(max(bound, proof.bound if proof else -np.inf), damage)
        return problem.judge(
            keep,
            perf_counter() - start,
            bound=bound if np.isfinite(bound) else None,
            method="mixed integer quadratic program, SCIP",
            status=status,
            relative_gap=(damage - bound) / max(abs(damage), 1e-12) if np.isfinite(bound) else None,
            decided=int((stay | go).sum()),
            nodes=nodes,
        )


def _check_prices(problem: PruningProblem) -> None:
    """Refuse a cost that the model of the prices does not give exactly, by random masks."""
    rng = np.random.default_rng(0)
    budget = problem.budget
    for share in rng.uniform(size=MASKS):
        keep = rng.uniform(size=problem.layout.n) < share
        if abs(problem.prices.cost(problem.kept_per_layer(keep)) - budget.spent(keep)) > EXACT * max(abs(budget.limit), 1.0):
            raise UserError(
                f"solver=scip budget={budget.name}: what this network costs is no quadratic function of the numbers of filters; "
                "take budget=filters or solver=profile"
            )


class _Program:
    """The program over the filters that are not decided; its objective is the damage without its constant, divided by ``scale``."""

    def __init__(self, relaxation: Relaxation, keep: Bools, stay: Bools, go: Bools) -> None:
        problem = relaxation.problem
        self.problem, self.keep, self.go = problem, keep, go
        self.free = np.flatnonzero(~(stay | go))
        self.model = Model()
        self.model.hideOutput()
        fixed = np.where(go, 1.0, 0.0)
        self.constant = float(problem.damage(~go[None])[0])
        pull = problem.pairs.field(fixed[None])[0]
        self.linear = (problem.linear + pull)[self.free]
        self.shift = relaxation.shift[self.free]
        self.scale = max(1e-12, float(np.abs(self.linear).mean()))
        self.bits = [self.model.addVar(vtype="B", name=f"d{i}") for i in self.free]
        self._state_objective()
        self._state_budget()
        self._add_start()

    def _state_objective(self) -> None:
        """Add the objective: one square for each eigenvector of the shifted couplings, one sum of squares for each layer."""
        model, pairs = self.model, self.problem.pairs
        parts = [np.flatnonzero(self.problem.layer_of[self.free] == layer) for layer in range(len(self.problem.filters_of))]
        if not pairs.separable:
            parts = [np.arange(len(self.free))]
        self.sums: list[tuple[Any, list[tuple[Any, Floats, Any]]]] = []
        for part in parts:
            filters = self.free[part]
            couplings = pairs.between(filters, filters)
            if not couplings.any():
                self.shift[part] = 0
                continue
            values, vectors = np.linalg.eigh(couplings + np.diag(self.shift[part]))
            directions = [np.sqrt(value) * vector for value, vector in zip(values, vectors.T, strict=True) if value > 1e-9 * values[-1]]
            total, squares = model.addVar(lb=0, ub=None), []
            for direction in np.array(directions) / np.sqrt(self.scale):
                z = model.addVar(lb=float(np.minimum(direction, 0).sum()), ub=float(np.maximum(direction, 0).sum()))
                model.addCons(z == quicksum(w * self.bits[k] for w, k in zip(direction.tolist(), part, strict=True)))
                squares.append((part, direction, z))
            model.addCons(quicksum(z * z for _, _, z in squares) <= total)
            self.sums.append((total, squares))
        slope = ((self.linear - 0.5 * self.shift) / self.scale).tolist()
        model.setObjective(
            quicksum(w * d for w, d in zip(slope, self.bits, strict=True)) + 0.5 * quicksum(total for total, _ in self.sums), "minimize"
        )

    def _state_budget(self) -> None:
        """Add the rows of the budget, and of the counts that each layer may keep."""
        model, budget = self.model, self.problem.budget
        bit_of = {int(i): bit for i, bit in zip(self.free, self.bits, strict=True)}
        self.kept: list[Any] = []
        self.picked: list[tuple[Any, int, int]] = []
        for layer, (filters, options) in enumerate(zip(self.problem.filters_of, budget.counts, strict=True)):
            kept = model.addVar(vtype="I", lb=int(options[0]), ub=int(options[-1]))
            stays = int((~self.go[filters]).sum())
            model.addCons(kept == stays - quicksum(bit_of[int(i)] for i in filters if int(i) in bit_of))
            if len(options) != options[-1] - options[0] + 1:
                picked = [model.addVar(vtype="B") for _ in options]
                model.addCons(quicksum(picked) == 1)
                model.addCons(kept == quicksum(int(k) * pick for k, pick in zip(options, picked, strict=True)))
                self.picked += [(pick, layer, int(k)) for k, pick in zip(options, picked, strict=True)]
            self.kept.append(kept)
        if budget.exact:
            model.addCons(quicksum(self.kept) == int(budget.limit))
            return
        prices = self.problem.prices
        unit = max(abs(budget.limit), 1e-300)
        cost = quicksum(float(a / unit) * k for a, k in zip(prices.linear, self.kept, strict=True))
        for a, b in np.argwhere(np.triu(np.abs(prices.cross) > 1e-9 * np.abs(prices.cross).max(initial=0))):
            cost += float(prices.cross[a, b] / unit) * (0.5 if a == b else 1.0) * self.kept[a] * self.kept[b]
        model.addCons(cost <= (budget.limit - prices.constant) / unit)

    def _add_start(self) -> None:
        """Give SCIP the mask that the search starts from."""
        drop = (~self.keep)[self.free].astype(float)
        solution = self.model.createSol()
        for bit, value in zip(self.bits, drop, strict=True):
            self.model.setSolVal(solution, bit, value)
        for total, squares in self.sums:
            values = [float(direction @ drop[part]) for part, direction, _ in squares]
            for (_, _, z), value in zip(squares, values, strict=True):
                self.model.setSolVal(solution, z, value)
            self.model.setSolVal(solution, total, float(np.square(values).sum()))
        kept = self.problem.kept_per_layer(self.keep)
        for variable, k in zip(self.kept, kept.tolist(), strict=True):
            self.model.setSolVal(solution, variable, k)
        for pick, layer, k in self.picked:
            self.model.setSolVal(solution, pick, float(kept[layer] == k))
        self.model.addSol(solution)

    def solve(self, seconds: float, gap: float) -> tuple[str, float, int]:
        """Search; returns why it stopped, a lower bound of the damage (-inf for none), and the number of nodes of the search tree."""
        self.model.setParam("limits/time", seconds)
        self.model.setParam("limits/gap", gap)
        self.model.setParam("parallel/maxnthreads", 1)
        self.model.optimize()
        status = {"timelimit": "time limit", "gaplimit": "gap", "infeasible": "optimal"}.get(self.model.getStatus(), self.model.getStatus())
        bound = self.model.getDualbound()
        if abs(bound) >= self.model.infinity():
            return status, -np.inf, 0
        return status, self.constant + (bound - MARGIN * max(1.0, abs(bound))) * self.scale, int(self.model.getNNodes())

    def best(self) -> Bools:
        """The (n,) best mask that SCIP has found, or the one that it started from."""
        keep = ~self.go
        if self.model.getNSols():
            solution = self.model.getBestSol()
            keep[self.free] = [self.model.getSolVal(solution, bit) < 0.5 for bit in self.bits]
            return np.asarray(keep)
        return self.keep
