"""What the shipped checkpoints achieve: on the sample's test images, and on real photographs that they never saw.

    QPRUNE_REAL_DATA=FOLDER python scripts/checkpoints.py --json outputs/checkpoints.json --crops outputs/crops

Real ones are read where QPRUNE_REAL_DATA names a folder that holds sidd_native/train and sidd_native/val, each of <name>_noisy.png and
<name>_gt.png. Dead filters are those that are exactly 0 on all calibration images of the sample.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from PIL import Image

from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.cost.cost import footprint_of
from qprune_cli.device import pick_device
from qprune_cli.evaluate.interval import ci95
from qprune_cli.evaluate.quality import examples, judge, outputs
from qprune_cli.graph.trace import trace
from qprune_cli.places import checkpoint_dir
from qprune_cli.record.crops import strip
from qprune_cli.run.plan import RunPlan
from qprune_cli.types import REFERENCE_SIDE, ImageSet

SCALES = {"tiny": ["half_unet_small"], "cpu": [], "gpu": []}


def test_sets() -> dict[str, ImageSet]:
    """The sample's test images, and the real ones where there are any."""
    sets = {"sample": RunPlan.of(compose_jobs("run", []).jobs[0]).data.load(0).test}
    root = Path(os.environ.get("QPRUNE_REAL_DATA", "")) / "sidd_native"
    for part, other in (("train", "val"), ("val", "train")):
        chosen = [f"data.root={root / other}", f"data.test_root={root / part}", "data.clean='*_gt.*'", "data.shares=[0,0.5,0.5,0]"]
        if os.environ.get("QPRUNE_REAL_DATA") and root.is_dir():
            sets[f"sidd_native/{part}"] = RunPlan.of(compose_jobs("run", ["data=pairs", *chosen]).jobs[0]).data.load(0).test
    return sets


def dead_share(plan: RunPlan, model: Any, seed: int) -> float:
    """Share of filters that are dead on the calibration images."""
    dead = plan.scorer.score(model, trace(model), plan.data.load(seed), seed).dead
    assert dead is not None, "this scorer looks at activations"
    return float(dead.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="tiny looks at the smallest network alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the calibration images")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--crops", type=Path, help="write pictures (noisy, denoised, clean) into this folder")
    arguments = parser.parse_args()
    sets = test_sets()
    noisy = {name: judge((pair.input for pair in images.pairs), images) for name, images in sets.items()}
    print("| network | parameters | GMACs | dead filters | " + " | ".join(sets) + " |\n" + "|---" * (len(sets) + 4) + "|")
    identity = [f"{quality['psnr'].mean():.2f} dB, {quality['ssim'].mean():.4f}" for quality in noisy.values()]
    print("| noisy | | | | " + " | ".join(identity) + " |", flush=True)
    results: dict[str, Any] = {}
    for name in SCALES[arguments.scale] or sorted(
        path.stem for path in checkpoint_dir().glob("*.safetensors") if not path.stem.endswith("_digits")
    ):
        plan = RunPlan.of(compose_jobs("run", [f"model={name}", "scorer=taylor"]).jobs[0])
        model = plan.model.load().to(pick_device(plan.settings.device))
        size = footprint_of(model, (plan.model.channels, REFERENCE_SIDE, REFERENCE_SIDE))
        shares = [dead_share(plan, model, seed) for seed in arguments.seeds]
        cells, results[name] = [], {"params": size.params, "macs": size.macs, "dead": shares}
        for where, images in sets.items():
            quality = judge(outputs(model, images), images)
            gain = quality["psnr"] - noisy[where]["psnr"]
            low, high = ci95(gain)
            cells.append(f"{quality['psnr'].mean():.2f} dB ({gain.mean():+.2f} [{low:+.2f}, {high:+.2f}]), {quality['ssim'].mean():.4f}")
            results[name][where] = {
                "psnr": quality["psnr"].tolist(),
                "ssim": quality["ssim"].tolist(),
                "gain": [float(gain.mean()), low, high],
            }
            for which, k in examples(quality).items() if arguments.crops else ():
                arguments.crops.mkdir(parents=True, exist_ok=True)
                pair = images.pairs[k]
                restored = next(outputs(model, ImageSet((pair,))))
                Image.fromarray(strip([pair.input, restored, pair.target])).save(
                    arguments.crops / f"{name}_{where.replace('/', '_')}_{which}.png"
                )
        share = f"{sum(shares) / len(shares):.1%}"
        print(f"| `{name}` | {size.params:,} | {size.macs / 1e9:.2f} | {share} | " + " | ".join(cells) + " |", flush=True)
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
