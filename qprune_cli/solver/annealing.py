"""A sampler of dimod, such as simulated annealing, inside a capacity-driven search."""

import importlib
import inspect
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from qprune_cli.errors import UserError, nearest
from qprune_cli.problem.bqm import CapacityModel
from qprune_cli.problem.local_search import polished, repaired
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.types import Bools, Floats, Solution

METHODS = {"SimulatedAnnealingSampler": "simulated annealing"}
COUNTED = {"num_reads": "reads", "num_sweeps": "sweeps"}  # options with a setting of their own


class Step(NamedTuple):
    """One step of the search: a reward and the masks that the sampler drew.

    Attributes:
        alpha: the reward for keeping.
        keeps: (reads, n) masks, least energy first.
        energies: (reads,) their energies.
    """

    alpha: float
    keeps: Bools
    energies: Floats


@dataclass(frozen=True)
class Annealing:
    """Bisect a uniform reward for keeping until the sampled minimiser keeps the asked number of filters.

    The reward ``alpha`` shifts the linear term only, so the couplings keep their meaning, unlike with a penalty on the count. A count
    that is no vertex of the lower convex hull of the optimal energies is met at no alpha, and sampling is noisy. So the reads nearest to
    the wanted count are repaired by marginal damage and polished by swaps, and the count is always exact. (Our reading of the "dynamic
    capacity-driven search".)

    Args:
        sampler: import path of a dimod sampler, such as ``dwave.samplers.SimulatedAnnealingSampler``. One that works on the graph of a
            machine alone is wrapped in an ``EmbeddingComposite``.
        reads: number of samples at each alpha (the sampler's ``num_reads``); None where it has no such option.
        sweeps: sweeps over all variables for each sample (``num_sweeps``); None where it has no such option.
        steps: largest number of alphas.
        options: further arguments of the sampler's ``sample``. A seed and the range of temperatures are added where it takes them.

    Raises:
        UserError: a count below 1, no such sampler, one that cannot be reached, or an option that it does not have.

    References:
        Orabi et al., "Neural Network Pruning via QUBO Optimization", 2026, arXiv:2604.05856.
        D-Wave, dwave-samplers (formerly dwave-neal).
    """

    sampler: str = "dwave.samplers.SimulatedAnnealingSampler"
    reads: int | None = 10
    sweeps: int | None = 200
    steps: int = 20
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("reads", "sweeps", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"solver.{name}={value}: give a whole number, at least 1")
        parameters = connected(self.sampler).parameters
        for name in self._options.keys() - parameters.keys():
            if name in COUNTED:
                raise UserError(f"solver.{COUNTED[name]}: {self.sampler} has no {name}; set solver.{COUNTED[name]}=null")
            raise UserError(f"solver.options.{name}: {self.sampler} has no such option; {nearest(name, parameters)}")

    @property
    def _options(self) -> dict[str, Any]:
        """Options of every call of the sampler, by name."""
        counted = {name: getattr(self, setting) for name, setting in COUNTED.items()}
        return {name: value for name, value in counted.items() if value is not None} | self.options

    def check(self, problem: PruningProblem) -> None:
        """Accept every problem, whatever its layers and its budget are."""

    def solve(self, problem: PruningProblem, seed: int) -> Solution:
        """Bisect the reward, then repair and polish the reads that spend nearest to the limit; the seed draws seeds of the sampler."""
        start = perf_counter()
        searched = self._search(problem, seed)
        chosen = min(searched, key=lambda step: float(np.abs(self._spent(problem, step.keeps) - problem.budget.limit).min()))
        reads = np.unique(chosen.keeps, axis=0)
        finished = [polished(problem, repaired(problem, keep)) for keep in reads]
        best = int(problem.damage(np.stack([keep for keep, _ in finished])).argmin())
        keep, swaps = finished[best]
        return problem.judge(
            keep,
            perf_counter() - start,
            method=f"{METHODS.get(name := self.sampler.rpartition('.')[2], name)}, capacity bisection, repair, swaps",
            trace=[self._row(step) for step in searched],
            alpha=chosen.alpha,
            reads={"kept": chosen.keeps.sum(axis=1).tolist(), "energy": chosen.energies.tolist()},
            repair={
                "kept_before": int(reads[best].sum()),
                "filters_changed": int((repaired(problem, reads[best]) != reads[best]).sum()),
                "swaps": swaps,
                "filters_changed_in_all": int((keep != reads[best]).sum()),
            },
        )

    def _search(self, problem: PruningProblem, seed: int) -> list[Step]:
        """The steps of the bisection; it ends early where the best read meets the limit exactly."""
        model, sampler, rng = CapacityModel(problem), connected(self.sampler), np.random.default_rng(seed)
        low, high = model.bracket()
        extra = {"beta_range": model.temperatures()} if "beta_range" in sampler.parameters else {}
        searched: list[Step] = []
        with tqdm(total=self.steps, desc="sample", unit="capacity", leave=False, disable=None) as bar:
            while len(searched) < self.steps:
                alpha = (low + high) / 2
                drawn = {"seed": int(rng.integers(2**31))} if "seed" in sampler.parameters else {}
                samples = sampler.sample(model.bqm(alpha), **extra | drawn | self._options)
                searched.append(Step(alpha, *model.decode(samples)))
                spent = self._spent(problem, searched[-1].keeps[:1])[0]
                bar.set_postfix(spent=spent, asked=problem.budget.limit)
                bar.update()
                if spent == problem.budget.limit:
                    break
                low, high = (alpha, high) if spent < problem.budget.limit else (low, alpha)
        return searched

    @staticmethod
    def _spent(problem: PruningProblem, keeps: Bools) -> Floats:
        """(b, n) masks -> (b,) what they spend of the budget."""
        return np.array([problem.budget.spent(keep) for keep in keeps])

    @staticmethod
    def _row(step: Step) -> dict[str, float | int]:
        """The row of the trace for a step."""
        counts = step.keeps.sum(axis=1)
        return {
            "alpha": step.alpha,
            "kept": int(counts[0]),
            "kept_min": int(counts.min()),
            "kept_max": int(counts.max()),
            "energy": float(step.energies[0]),
        }


def connected(path: str) -> Any:
    """Import a sampler, and connect it to its machine where it has one.

    Args:
        path: import path of a class of dimod samplers.

    Raises:
        UserError: nothing of that name can be imported, it is no sampler, or its machine cannot be reached.
    """
    module, _, name = path.rpartition(".")
    try:
        sampler_class = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError) as error:
        hint = "pip install 'qprune[dwave]'" if module == "dwave.system" else "give an import path such as dwave.samplers.TabuSampler"
        raise UserError(f"solver.sampler={path}: {module or 'it'} cannot be imported; {hint}") from error
    except AttributeError as error:
        raise UserError(f"solver.sampler={path}: {module} has no {name}; give an import path such as dwave.samplers.TabuSampler") from error
    if not inspect.isclass(sampler_class) or not hasattr(sampler_class, "parameters"):
        raise UserError(f"solver.sampler={path}: not a sampler of dimod; give a class such as dwave.samplers.TabuSampler")
    try:
        sampler = sampler_class()
    except Exception as error:  # the cloud client raises many kinds: no token, no network, no such machine
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"solver.sampler={path}: no connection ({reason}); put a token into DWAVE_API_TOKEN or run `dwave setup`"
        ) from error
    if hasattr(sampler, "nodelist"):  # it knows the graph of a machine only
        return importlib.import_module("dwave.system").EmbeddingComposite(sampler)
    return sampler
