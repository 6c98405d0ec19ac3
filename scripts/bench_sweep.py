"""How much time jobs of a sweep save that share scores, images and the dense network: twelve jobs, against twelve separate runs.

    python scripts/bench_sweep.py --json outputs/sweep.json

Both are timed as a user starts them, from fresh processes with an empty cache; the separate runs use none. The jobs are four sparsities
by three solvers on one scorer. "slim" leaves out what is measured anew for every mask (fidelity, latency, re-fitting), "full" is what a
run does by itself, and "leave_one_out" and "mip" are scorers that take long.
"""

import argparse
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from tqdm import tqdm

SPARSITIES = ("0.36", "0.5", "0.65", "0.75")
SOLVERS = ("swap", "profile", "greedy")
SLIM = ["fidelity=0", "certify=false", "latency=false", "compensate=none"]
KINDS = {
    "slim": ["scorer=hybrid", *SLIM],
    "leave_one_out": ["scorer=leave_one_out", *SLIM],
    "mip": ["scorer=mip", *SLIM],
    "full": ["scorer=hybrid"],
}
SCALES = {"tiny": ["scale=tiny"], "cpu": [], "gpu": ["device=cuda"]}


def seconds(cache: str, *words: str) -> float:
    """Run a command of qprune to its end; s."""
    start = perf_counter()
    command = [sys.executable, "-m", "qprune_cli", "run", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"QPRUNE_CACHE": cache})
    return perf_counter() - start


def measure(words: list[str], seed: int) -> dict[str, float]:
    """Twelve separate runs, then the same as a sweep."""
    with TemporaryDirectory() as place:
        base = [*words, f"seed={seed}"]
        jobs = [[f"sparsity={sparsity}", f"solver={solver}"] for sparsity, solver in product(SPARSITIES, SOLVERS)]
        single = [seconds(f"{place}/none", *base, *job, "cache=false", f"output_root={place}/single") for job in tqdm(jobs, disable=None)]
        lists = [f"sparsity={','.join(SPARSITIES)}", f"solver={','.join(SOLVERS)}", f"output_root={place}/sweep"]
        sweep = seconds(f"{place}/cache", "-m", *base, *lists)
    return {"separate": sum(single), "sweep": sweep, "ratio": sweep / sum(single)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--scale", default="cpu", choices=SCALES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for kind, seed in product(arguments.kinds, arguments.seeds):
        row = {"kind": kind, "seed": seed, **measure([*SCALES[arguments.scale], *KINDS[kind]], seed)}
        rows.append(row)
        print("{kind:<14} seed {seed}: 12 runs {separate:6.0f} s, one sweep {sweep:6.0f} s, ratio {ratio:.2f}".format(**row), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
