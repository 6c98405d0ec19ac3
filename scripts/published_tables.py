"""The tables of the experiments, by the commands that a user would type: each is swept (again: goes on) and compared with its baseline.

    python scripts/published_tables.py --scale cpu --json outputs/tables.json
    python scripts/published_tables.py --scale tiny --experiments ablation --seeds 0

Sweeps lie in outputs/sweeps, with table.csv and table.md; the commands are printed. More words go to every sweep, such as
``hydra/launcher=joblib``, or ``data.root=... model.weights=...`` which scale=gpu needs.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

BASELINES = {  # of each experiment: what its rows are compared with
    "paper_full": "solver=greedy_taylor",
    "paper_layers": "refine=none",
    "ablation": "scorer=hybrid,scorer.beta=0,compensate=none,refine=none",
}


def command(*words: str) -> None:
    """Print and run a command of qprune; one with exit code 3 is complete as well."""
    print("$ qprune", *words, flush=True)
    code = subprocess.run([sys.executable, "-m", "qprune_cli", *words], check=False).returncode
    if code not in (0, 3):
        sys.exit(code)


def table(experiment: str, scale: str, seeds: list[str], root: Path, words: list[str]) -> list[dict[str, Any]]:
    """Sweep an experiment and compare its rows."""
    folder = root / "sweeps" / f"{experiment}_{scale}"
    chosen = [f"seed={','.join(seeds)}"] if seeds else []
    command("run", f"experiment={experiment}", f"scale={scale}", *chosen, f"hydra.sweep.dir={folder}", f"output_root={root}", *words)
    with TemporaryDirectory() as place:
        command("compare", str(folder), "--baseline", BASELINES[experiment], "--csv", f"{place}/table.csv")
        rows = pd.read_csv(f"{place}/table.csv")
    return json.loads(rows.to_json(orient="records"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", nargs="+", default=list(BASELINES), choices=BASELINES)
    parser.add_argument("--scale", default="cpu", choices=("tiny", "cpu", "gpu"))
    parser.add_argument("--seeds", nargs="*", default=[], help="those of the scale where none are given")
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where results go (%(default)s)")
    parser.add_argument("--json", type=Path)
    arguments, words = parser.parse_known_args()
    tables = {name: table(name, arguments.scale, arguments.seeds, arguments.root, words) for name in arguments.experiments}
    if arguments.json:
        arguments.json.write_text(json.dumps(tables, indent=2))


if __name__ == "__main__":
    main()
