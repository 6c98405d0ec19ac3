"""Peak memory while training from full-size frames, and what the patch cache saves.

    python scripts/memory.py --frames 160 --json outputs/memory.json

Writes pairs of 16-megapixel frames in SIDD's layout (15 GB for 160) into a temporary folder, then starts processes of their own that cut
them, train on them, and look at every patch. Reported is the largest resident memory of each process, mapped patches included.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imagecodecs
import numpy as np
from tqdm import tqdm

FRAMES = {"tiny": 20, "cpu": 160, "gpu": 160}
SIZES = {"tiny": (600, 800), "cpu": (3464, 4624), "gpu": (3464, 4624)}
WATCH = """
import json, resource, sys, time
from qprune_cli import cli
from qprune_cli.compose.jobs import compose_jobs
import numpy as np
start = time.perf_counter()
TASK
print(json.dumps({"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "seconds": time.perf_counter() - start}))
"""
LOAD = "splits = compose_jobs('train', ['data=sidd', *sys.argv[1:]]).jobs[0].component('data').load(0)\n"
TASKS = {
    "cut all patches": LOAD,
    "find them again": LOAD,
    "train": "cli.dispatch(['train', 'data=sidd', 'model=half_unet_small', 'train.steps=100', *sys.argv[1:]])\n",
    "look at every patch": LOAD
    + "assert sum(int(entry.patches().max()) > 0 for entry in splits.train.entries) == len(splits.train.entries)\n",
}


def write_frame(folder: Path, number: int, size: tuple[int, int]) -> None:
    """One scene instance of one pair; ten scenes take turns."""
    rng = np.random.default_rng(number)
    place = folder / "Data" / f"{number + 1:04d}_{number % 10 + 1:03d}_S6_00100_00060_3200_L"
    place.mkdir(parents=True)
    clean = np.broadcast_to(rng.integers(40, 200, size=(1, size[1], 3)), (*size, 3)).astype(np.uint8)
    noisy = clean + rng.integers(0, 40, size=(*size, 3), dtype=np.uint8)
    for name, picture in (("GT", clean), ("NOISY", noisy)):
        (place / f"{name}_SRGB_010.PNG").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(picture), level=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=FRAMES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the training")
    parser.add_argument("--frames", type=int, help="number of pairs")
    parser.add_argument("--place", type=Path, help="where the frames may go; the system's temporary folder otherwise")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    arguments = parser.parse_args()
    frames, size = arguments.frames or FRAMES[arguments.scale], SIZES[arguments.scale]
    results: dict[str, Any] = {}
    with TemporaryDirectory(dir=arguments.place) as place, ThreadPoolExecutor(2) as pool:
        root = Path(place)
        jobs = [pool.submit(write_frame, root / "sidd", number, size) for number in range(frames)]
        for job in tqdm(jobs, desc="write frames", disable=None):
            job.result()
        shares = "data.shares=[0.7,0.1,0.1,0.1]"
        settings = [
            f"data.root={root}/sidd",
            f"data.cache={root}/cache",
            shares,
            f"output_root={root}/out",
            f"train.seed={arguments.seeds[0]}",
        ]
        print(f"{frames} pairs of {size[1]} x {size[0]} pixels\n| task | peak memory, GiB | seconds |\n|---|---|---|")
        for name, task in TASKS.items():
            # Test images come from the last share; a single scene's few blocks are enough here.
            chosen = [*settings, "data.blocks_per_image=1"]
            program = WATCH.replace("TASK\n", task)
            said = subprocess.run([sys.executable, "-c", program, *chosen], capture_output=True, text=True, check=False)
            if said.returncode:
                sys.exit(said.stderr)
            results[name] = json.loads(said.stdout.splitlines()[-1])
            print(f"| {name} | {results[name]['peak_gib']:.2f} | {results[name]['seconds']:.0f} |", flush=True)
        results["cache_gib"] = sum(path.stat().st_size for path in (root / "cache").rglob("*") if path.is_file()) / 2**30
        print(f"patches on disk: {results['cache_gib']:.2f} GiB")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"frames": frames, "size": size, "tasks": results}, indent=2))


if __name__ == "__main__":
    main()
