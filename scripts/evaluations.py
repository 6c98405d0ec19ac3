"""How many candidate masks a refiner can measure in a second, step by step of what makes that fast, as ratios in one run.

    python scripts/evaluations.py --json outputs/evaluations.json

The incumbent is the mask of a solver; candidates differ from it by one random swap. "silenced" is one full forward pass of the
silenced network for each candidate; "shrunk" runs the network that the incumbent and the candidates leave, with nothing
remembered; "reuse" remembers what lies before the first changed gate; "change" convolves only the channels that changed, as the
metric does; "metric" is the metric with all that it does beside. All of them look at the same images. "racing" is the log,
which lets clearly worse candidates go after a few of the tuned images, against silenced passes over all of them. The breakdown is
of "change": seconds of shrinking, remembering, running candidates, and PSNR.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from qprune_cli.clock import Clock
from qprune_cli.device import pick_device
from qprune_cli.evaluate.quality import outputs, psnrs
from qprune_cli.evaluate.restoration import Restoration
from qprune_cli.graph.network import Network
from qprune_cli.graph.trace import trace
from qprune_cli.replay.gated import GatedNetwork
from qprune_cli.replay.metric import MaskMetric, batch_size
from qprune_cli.replay.replay import Replay
from qprune_cli.run.budgets import budgets
from qprune_cli.run.rounds import select
from qprune_cli.search.evaluations import RACE, EvaluationLog
from qprune_cli.search.moves import swapped
from qprune_cli.surgery.silence import silence
from qprune_cli.types import REFERENCE_SIDE, Bools, Floats, ImageSet, Layout
from scripts.objectives import planned

SPARSITIES = (0.65, 0.8)
SOLVERS = {"greedy_taylor": ["solver=greedy_taylor"], "gram, swap": ["solver=swap", "scorer=gram", "scorer.reach=layer"]}
SCALES: dict[str, dict[str, Any]] = {
    "tiny": {"network": "half_unet_small", "masks": 4, "overrides": ["data.crops=16", "data.crop_size=48"]},
    "cpu": {"network": "half_unet", "masks": 32, "overrides": []},
    "gpu": {"network": "half_unet", "masks": 128, "overrides": ["device=cuda"]},
}


def incumbent(network: str, solver: str, sparsity: float, seed: int, overrides: list[str]) -> tuple[nn.Module, Layout, ImageSet, Bools]:
    """A trained network, its refinement images, and the mask of a solver."""
    settings = [f"model={network}", *SOLVERS[solver], f"sparsity={sparsity}", f"seed={seed}", "fidelity=0", "certify=false"]
    plan = planned(*settings, *overrides)
    dense = plan.model.load().to(pick_device(plan.settings.device))
    layout, splits = trace(dense), plan.data.load(seed)
    shape = (plan.model.channels, REFERENCE_SIDE, REFERENCE_SIDE)
    keep = select(plan, dense, layout, splits, budgets(plan.settings, dense, layout, shape), Clock()).solution.keep
    return dense, layout, splits.refinement, keep


def neighbours(rng: np.random.Generator, keep: Bools, count: int) -> Bools:
    """(count, n) masks, each one random swap away."""
    pairs = zip(*(rng.choice(np.flatnonzero(keep == kept), count).tolist() for kept in (True, False)), strict=True)
    return np.stack([swapped(keep, [pair]) for pair in pairs])


def silenced(dense: nn.Module, layout: Layout, images: ImageSet, keep: Bools) -> Floats:
    """The plain way: (b, N) PSNR by a full forward pass of the silenced network for each mask."""
    found, clean = [], np.stack([pair.target for pair in images.pairs])
    for mask in keep:
        with silence(dense, layout, mask):
            found.append(psnrs(np.stack(list(outputs(dense, images))), clean))
    return np.stack(found)


def stepwise(small: GatedNetwork, images: ImageSet, keep: Bools, near: Bools, step: str, spent: dict[str, float]) -> Floats:
    """The same on a smaller network, with as much of what makes it fast as a step says."""
    device, parts = next(small.model.parameters()).device, []
    for noisy, clean in images.batches(batch_size(images)):
        x, found = torch.from_numpy(noisy).to(device), np.empty((len(keep), len(noisy)))
        replay = timed(spent, "remember", lambda x=x: Replay(small, near, x, channelwise=step == "change"))
        for place, mask in enumerate(keep):
            again = (lambda m=mask, x=x: Replay(small, m, x).answer) if step == "shrunk" else (lambda m=mask, r=replay: r.at(m))
            result = timed(spent, "run", lambda again=again: again().cpu().numpy())
            found[place] = timed(spent, "psnr", lambda r=result, c=clean: psnrs(r, c))
        parts.append(found)
    return np.concatenate(parts, axis=1)


def timed(spent: dict[str, float], kind: str, task: Callable[[], Any]) -> Any:
    """Do it, and add the seconds that it took."""
    start = perf_counter()
    found = task()
    spent[kind] = spent.get(kind, 0.0) + perf_counter() - start
    return found


def rates(network: str, solver: str, sparsity: float, seed: int, masks: int, overrides: list[str]) -> dict[str, Any]:
    """One row of the table."""
    dense, layout, shown, near = incumbent(network, solver, sparsity, seed, overrides)
    rng = np.random.default_rng(seed)
    keep, tuned = neighbours(rng, near, masks), np.arange(0, len(shown), 2)
    images = ImageSet(tuple(shown.pairs[k] for k in tuned[:RACE]))
    silenced(dense, layout, images, keep[:1])  # the first pass in a process does not count
    seconds: dict[str, float] = {}
    true = timed(seconds, "silenced", lambda: silenced(dense, layout, images, keep))
    rules, deviations, breakdown = Network(dense, layout.shape, layout.wrap), {}, {}
    for step in ("shrunk", "reuse", "change"):
        breakdown = {}
        small = timed(breakdown, "shrink", lambda: GatedNetwork.of_mask(rules, layout, near | keep.any(axis=0)))
        found = stepwise(small, images, keep, near, step, breakdown)
        seconds[step] = sum(breakdown.values()) - (breakdown["remember"] if step == "shrunk" else 0)
        deviations[step] = float(np.abs(found - true).max())
    metric = MaskMetric(Restoration(), dense, layout, shown)
    metric.measure(near[None], tuned[:RACE], near)
    found = timed(seconds, "metric", lambda: metric.measure(keep, tuned[:RACE], near))
    deviations["metric"] = float(np.abs(found - true).max())
    log = EvaluationLog(MaskMetric(Restoration(), dense, layout, shown), near)
    with log.allowance(10**6, "race"):
        timed(seconds, "racing", lambda: log.values(keep))
    looked = float(np.mean([log.records[mask.tobytes()].images for mask in keep]))
    seconds["racing"] *= len(images) / len(tuned)  # against silenced passes over all tuned images
    return {
        "network": network,
        "solver": solver,
        "sparsity": sparsity,
        "seed": seed,
        "kept": [int(one.sum()) for one in layout.split(near).values()],
        "masks_per_second": {step: masks / value for step, value in seconds.items()},
        "ratios": {step: seconds["silenced"] / value for step, value in seconds.items()},
        "deviation_db": deviations,
        "breakdown_s": breakdown,
        "images_per_race": looked,
    }


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    ratios = " | ".join(f"{row['ratios'][step]:.2f}" for step in ("shrunk", "reuse", "change", "metric", "racing"))
    spent = " / ".join(f"{row['breakdown_s'][kind]:.2f}" for kind in ("shrink", "remember", "run", "psnr"))
    most = max(row["deviation_db"].values())
    plain = row["masks_per_second"]["silenced"]
    return f"| {row['solver']} | {row['sparsity']} | {row['seed']} | {plain:.1f} | {ratios} | {most:.1e} | {spent} |"


def rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    scale = SCALES[arguments.scale]
    for seed in arguments.seeds:
        for solver in SOLVERS:
            for sparsity in SPARSITIES:
                yield rates(scale["network"], solver, sparsity, seed, scale["masks"], [*scale["overrides"], *arguments.overrides])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the calibration crops and the swaps")
    parser.add_argument("--json", type=Path, help="write the results here as well, after every row")
    parser.add_argument("overrides", nargs="*", help="further settings, such as data.crops=32")
    arguments = parser.parse_intermixed_args()
    print("| solver | sparsity | seed | masks/s, silenced | shrunk | + reuse | + change | metric | racing | largest dB | seconds |")
    print("|" + "---|" * 11)
    results = []
    for row in rows(arguments):
        results.append(row)
        print(line(row), flush=True)
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
