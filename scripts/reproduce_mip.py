"""Importance scores by mixed integer programs against their baselines, on classifiers and on a denoiser.

    python scripts/reproduce_mip.py --data FOLDER --json outputs/reproduce_mip.json

FOLDER holds ``mnist`` and ``fashion_mnist`` with the original idx files, and ``weights`` with the 784-500-10 network of MIPVerify where
there is one. Parts: ``curves`` (accuracy against the share of parameters removed, masked and after one epoch of fine-tuning),
``variants`` (published beside valid, relaxed beside binary, joint beside decoupled and class by class), ``depth`` (seconds against the
number of layers), ``foreign`` (a network trained elsewhere), ``denoiser`` (Half-UNet), ``vgg`` (one layer of VGG-16 on CIFAR-10's
shape), ``transfer`` (masks of MNIST trained on Fashion-MNIST).
Every method removes the same share of the parameters, biases included, with the same solver: greedy under ``budget=params``, but for
``critical``, which removes the filters with the largest scores of ``mip``. Intervals are those of Student's t over the seeds. Every
finished row is written to the JSON file at once, and rows that stand there already are not computed again.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from qprune_cli.cli import dispatch
from qprune_cli.compose.jobs import compose_jobs
from qprune_cli.evaluate.interval import t95
from qprune_cli.evaluate.masked import qualities, shrunk
from qprune_cli.evaluate.task import task_of
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.run.job import Job, prepare
from qprune_cli.run.plan import RunPlan
from qprune_cli.scores import Scores
from qprune_cli.surgery.shrink import shrink
from qprune_cli.train.adamw import AdamW
from qprune_cli.types import Bools, Layout, Splits

METHODS = {
    "mip": ["solver=mip"],
    "critical": ["scorer=mip", "solver=critical"],
    "magnitude": ["solver=greedy_l1"],
    "taylor": ["solver=greedy_taylor"],
    "snip": ["scorer=snip", "solver=greedy"],
    "random": ["solver=random"],
}
SUBJECTS = {
    "MLP 300-100, MNIST": ("mnist", ["model=mlp", "model.hidden=[300,100]"]),
    "MLP 200-100-100, MNIST": ("mnist", ["model=mlp", "model.hidden=[200,100,100]"]),
    "MLP 300-100, Fashion-MNIST": ("fashion_mnist", ["model=mlp", "model.hidden=[300,100]"]),
    "MLP 200-100-100, Fashion-MNIST": ("fashion_mnist", ["model=mlp", "model.hidden=[200,100,100]"]),
    "LeNet-5, MNIST (20,000 images)": ("mnist", ["model=lenet5", "data.train_images=20000"]),
}
SMALL = "MLP 200-100-100, MNIST"
VARIANTS = {
    "valid, decoupled, tangent head": [],
    "valid, decoupled, tangent head, margin": ["scorer.loss=margin"],
    "valid, decoupled, probe": ["scorer.head=probe"],
    "valid, decoupled, outputs (l2)": ["scorer.loss=l2"],
    "valid, joint, relaxed": ["scorer.mode=joint", "scorer.relu=relaxed", "scorer.loss=margin", "scorer.images=1", "scorer.lambdas=[5]"],
    "valid, joint, binary": ["scorer.mode=joint", "scorer.relu=binary", "scorer.loss=margin", "scorer.images=1", "scorer.lambdas=[5]"],
    "valid, class by class, relaxed": [
        "scorer.mode=by_class", "scorer.relu=relaxed", "scorer.loss=margin", "scorer.images=1", "scorer.lambdas=[5]",
    ],
    "valid, class by class, binary": [
        "scorer.mode=by_class", "scorer.relu=binary", "scorer.loss=margin", "scorer.images=1", "scorer.lambdas=[5]",
    ],
    "published, joint, relaxed": [
        "scorer.mode=joint", "scorer.gate=published", "scorer.relu=relaxed", "scorer.sparsity_term=published", "scorer.loss=margin",
        "scorer.images=1", "scorer.lambdas=[5]",
    ],
    "published, joint, relaxed, softmax": [
        "scorer.mode=joint", "scorer.gate=published", "scorer.relu=relaxed", "scorer.sparsity_term=published", "scorer.loss=softmax",
        "scorer.images=1", "scorer.lambdas=[5]",
    ],
    "published, joint, binary": [
        "scorer.mode=joint", "scorer.gate=published", "scorer.relu=binary", "scorer.sparsity_term=published", "scorer.loss=margin",
        "scorer.images=1", "scorer.lambdas=[5]",
    ],
}  # fmt: skip
SCALES: dict[str, dict[str, Any]] = {
    "tiny": {
        "steps": 150, "shares": (0.3, 0.7), "tuned": (0.3,), "train_images": 3000, "seconds": 5.0, "depths": (1, 2), "subjects": [SMALL],
        "variants": 3, "images": 2, "denoiser": ["model=half_unet_small", "data.crops=8", "data.crop_size=48"],
    },
    "cpu": {
        "steps": 2000, "shares": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), "tuned": (0.3, 0.7), "train_images": 0, "seconds": 15.0,
        "depths": (1, 2, 4, 8), "subjects": list(SUBJECTS), "variants": len(VARIANTS), "images": 10, "denoiser": ["model=half_unet"],
    },
    "gpu": {
        "steps": 14000, "shares": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), "tuned": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), "train_images": 0,
        "seconds": 600.0, "depths": (1, 2, 4, 8, 16), "subjects": list(SUBJECTS), "variants": len(VARIANTS), "images": 20,
        "denoiser": ["model=half_unet"],
    },
}  # fmt: skip
BATCH = 128


class Rows:
    """Rows in a JSON file; one that is there already is not computed again."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path and path.is_file() else []

    def get(self, key: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row of a key."""
        for row in self.rows:
            if all(row.get(name) == value for name, value in key.items()):
                return row
        row = key | compute()
        self.rows.append(row)
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.rows, indent=1) + "\n")
        return row


class Subject:
    """A trained classifier of one seed, with its data; trained when it is first asked for.

    Args:
        data: name of the data set.
        overrides: of its model.
        root: folder of the data sets.
        seed: of training, calibration and solver.
        scale: see ``SCALES``.
    """

    def __init__(self, data: str, overrides: list[str], root: Path, seed: int, scale: dict[str, Any]) -> None:
        few = [f"data.train_images={scale['train_images']}"] if scale["train_images"] else []
        self.overrides = [f"data={data}", f"data.root={root / data}", *few, *overrides, "model.weights=null", f"seed={seed}"]
        self.overrides += ["budget=params", "fidelity=0", "certify=false", "latency=false"]
        self.seed, self.scale = seed, scale
        self.known: dict[str, tuple[Scores, float]] = {}
        self.plan = self.planned()
        self.splits: Splits = self.plan.data.load(seed)
        torch.manual_seed(seed)
        self.dense = self.plan.model.build()
        begun = perf_counter()
        fit(self.dense, self.splits, scale["steps"], 0.002, seed)
        self.epoch_steps = -(-len(self.splits.train.chosen) // BATCH)  # type: ignore[attr-defined]
        self.epoch_seconds = (perf_counter() - begun) * self.epoch_steps / scale["steps"]

    def planned(self, *more: str) -> RunPlan:
        """The plan of a run of it."""
        return RunPlan.of(compose_jobs("run", [*self.overrides, *more]).jobs[0])

    def job(self, share: float) -> Job:
        """What is asked of it at a share of parameters removed."""
        return prepare(self.planned(f"sparsity={share}").settings, self.dense, self.splits, (), ())

    def scored(self, plan: RunPlan, layout: Layout) -> tuple[Scores, float]:
        """What the scorer of a plan says, and how long that took; known scores are not computed again."""
        key = repr(plan.scorer)
        if key not in self.known:
            begun = perf_counter()
            self.known[key] = plan.scorer.score(self.dense, layout, self.splits, self.seed), perf_counter() - begun
        return self.known[key]

    def accuracy(self, network: nn.Module) -> float:
        """Share of the test images that a network gets right."""
        found = qualities(task_of(self.splits), {"network": network}, self.splits.test)
        return float(found["network"]["accuracy"].mean())


def fit(network: nn.Module, splits: Splits, steps: int, lr: float, seed: int) -> None:
    """Train a network in place."""
    average = 0.99 if steps > 300 else 0.9
    settings = {"batch": BATCH, "crop": 8, "loss": "cross_entropy", "warm_up": 0.05, "weight_decay": 0.0, "clip": 1.0, "average": average}
    with TemporaryDirectory() as place:
        trainer = AdamW(steps, lr=lr, precision="float32", compile=False, validate_every=steps, patience=0, seed=seed, **settings)  # type: ignore[arg-type]
        list(trainer.fit(network, splits, Path(place) / "state.safetensors"))


def masks(subject: Subject, method: list[str], shares: tuple[float, ...]) -> tuple[dict[float, Bools], Layout, float, dict[str, Any]]:
    """The mask of a method at each share, scored once; the layout; seconds of scoring; what the scorer says."""
    plan, layout = subject.planned(*method), subject.job(shares[0]).layout
    scores, seconds = subject.scored(plan, layout)
    found = {}
    for share in shares:
        problem = PruningProblem(layout, scores.linear, scores.pairs, subject.job(share).budgets[-1])
        found[share] = plan.solver.solve(problem, subject.seed).keep
    return found, layout, seconds, dict(scores.notes)


def measured(subject: Subject, method: list[str], shares: tuple[float, ...], tuned: tuple[float, ...]) -> dict[str, Any]:
    """Accuracy at each share, masked, and after one epoch of fine-tuning at some; parameters that are left; seconds."""
    found, layout, seconds, notes = masks(subject, method, shares)
    networks = shrunk(subject.dense, layout, {str(share): keep for share, keep in found.items()})
    row: dict[str, Any] = {"seconds": seconds, "epochs": seconds / subject.epoch_seconds, "masked": {}, "tuned": {}, "params": {}}
    for share in shares:
        row["masked"][str(share)] = subject.accuracy(networks[str(share)])
        row["params"][str(share)] = sum(p.numel() for p in networks[str(share)].parameters())
    for share in tuned:
        network = shrink(subject.dense, layout, found[share])
        fit(network, subject.splits, subject.epoch_steps, 0.0005, subject.seed)
        row["tuned"][str(share)] = subject.accuracy(network)
    programs = notes.get("programs", [])
    if programs:
        gaps = [p["gap"] for p in programs if p["gap"] is not None]
        row["programs"] = {
            "count": len(programs), "seconds": sum(p["seconds"] for p in programs), "gap": max(gaps, default=None),
            "timed_out": sum(p["status"] == "timelimit" for p in programs), "fallbacks": sum("fallback" in p for p in programs),
            "binaries": max(p["binaries"] for p in programs), "error": max(p["error"] for p in programs),
        }  # fmt: skip
    return row


def mip(scale: dict[str, Any]) -> list[str]:
    """Settings of the scorer at a scale."""
    return [f"scorer.seconds={scale['seconds']}", f"scorer.images={scale['images']}"]


def curves(rows: Rows, root: Path, seeds: list[int], scale: dict[str, Any]) -> Iterator[str]:
    """Every method on every subject."""
    for name in scale["subjects"]:
        data, overrides = SUBJECTS[name]
        for seed in seeds:
            trained: list[Subject] = []

            def subject(data: str = data, overrides: list[str] = overrides, seed: int = seed, trained: list[Subject] = trained) -> Subject:
                return (trained or trained.append(Subject(data, overrides, root, seed, scale)) or trained)[0]  # type: ignore[func-returns-value]

            def dense(subject: Callable[[], Subject] = subject) -> dict[str, Any]:
                one = subject()
                return {"accuracy": one.accuracy(one.dense), "epoch_seconds": one.epoch_seconds}

            rows.get({"part": "curves", "subject": name, "seed": seed, "method": "dense"}, dense)
            for method, chosen in METHODS.items():
                more = mip(scale) if method in ("mip", "critical") else []

                def compute(chosen: list[str] = [*chosen, *more], subject: Callable[[], Subject] = subject) -> dict[str, Any]:  # noqa: B006
                    return measured(subject(), chosen, scale["shares"], scale["tuned"])

                rows.get({"part": "curves", "subject": name, "seed": seed, "method": method}, compute)
        yield curve_table(rows, name, scale)


def curve_table(rows: Rows, name: str, scale: dict[str, Any]) -> str:
    """Accuracy in per cent: mean over the seeds, with the paired interval of each baseline against mip at the end."""
    own = [row for row in rows.rows if row["part"] == "curves" and row["subject"] == name]
    dense = [row["accuracy"] for row in own if row["method"] == "dense"]
    lines = [f"\n{name}: dense {spread([100 * a for a in dense])} over {len(dense)} seeds"]
    for kind, shares in (("masked", scale["shares"]), ("tuned", scale["tuned"])):
        head = [f"{100 * share:.0f} %" for share in shares]
        lines += [f"\n| {kind} | " + " | ".join(head) + " |", "|---" * (len(shares) + 1) + "|"]
        best = {method: np.array([[r[kind][str(s)] for s in shares] for r in own if r["method"] == method]) for method in METHODS}
        for method, values in best.items():
            cells = []
            for k in range(len(shares)):
                beside = "" if method == "mip" else f" ({interval(100 * (best['mip'][:, k] - values[:, k]))})"
                cells.append(f"{100 * values[:, k].mean():.2f}{beside}")
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    epochs = [row["epochs"] for row in own if row["method"] == "mip"]
    lines.append(f"\nscoring takes {np.mean(epochs):.2g} times a training epoch; in brackets: mip minus the method, points, 95 % interval")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean and range."""
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def interval(differences: Any) -> str:
    """95 % interval of a mean over the seeds; the mean alone where there is one seed."""
    if len(differences) < 2:
        return f"{float(np.mean(differences)):+.2f}"
    low, high = t95(np.asarray(differences))
    return f"{low:+.2f} to {high:+.2f}"


def variants(rows: Rows, root: Path, seeds: list[int], scale: dict[str, Any]) -> Iterator[str]:
    """How the program is written, on the smaller MLP."""
    data, overrides = SUBJECTS[SMALL]
    shares = tuple(share for share in scale["shares"] if share in (0.1, 0.3, 0.5, 0.7))
    for seed in seeds:
        trained: list[Subject] = []
        for name, chosen in list(VARIANTS.items())[: scale["variants"]]:

            def compute(chosen: list[str] = chosen, seed: int = seed, trained: list[Subject] = trained) -> dict[str, Any]:
                if not trained:
                    trained.append(Subject(data, overrides, root, seed, scale))
                return measured(trained[0], ["solver=mip", *mip(scale), *chosen], shares, ())

            rows.get({"part": "variants", "variant": name, "seed": seed}, compute)
    lines = [
        f"\n| {SMALL}, masked | " + " | ".join(f"{100 * s:.0f} %" for s in shares) + " | solver seconds | gap | timed out | LP scores |"
    ]
    lines.append("|---" * (len(shares) + 5) + "|")
    for name in list(VARIANTS)[: scale["variants"]]:
        own = [row for row in rows.rows if row["part"] == "variants" and row["variant"] == name]
        cells = [spread([100 * row["masked"][str(share)] for row in own]) for share in shares]
        told = [row["programs"] for row in own]
        gaps = [p["gap"] for p in told if p["gap"] is not None]
        late, back, count = (sum(p[key] for p in told) for key in ("timed_out", "fallbacks", "count"))
        seconds = np.mean([p["seconds"] for p in told])
        gap = f"{max(gaps):.2g}" if gaps else "none"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {seconds:.1f} | {gap} | {late} of {count} | {back} of {count} |")
    yield "\n".join(lines)


def depth(rows: Rows, root: Path, seeds: list[int], scale: dict[str, Any]) -> Iterator[str]:
    """What decoupled programs cost, against the number of layers (of 60 neurons each)."""
    lines = ["\n| hidden layers | seconds of all programs | per layer |", "|---|---|---|"]
    for layers in scale["depths"]:

        def compute(layers: int = layers) -> dict[str, Any]:
            quick = scale | {"steps": min(scale["steps"], 400)}
            subject = Subject("mnist", ["model=mlp", f"model.hidden={[60] * layers}".replace(" ", "")], root, 0, quick)
            found = measured(subject, ["solver=mip", "scorer.jobs=1", *mip(scale)], (0.3,), ())
            return {"seconds": found["programs"]["seconds"]}

        seconds = rows.get({"part": "depth", "layers": layers}, compute)["seconds"]
        lines.append(f"| {layers} | {seconds:.2f} | {seconds / layers:.2f} |")
    yield "\n".join(lines)


def foreign(rows: Rows, root: Path, seeds: list[int], scale: dict[str, Any]) -> Iterator[str]:
    """The fully connected network of MIPVerify, 784-500-10, as it is."""
    folder = root / "weights"
    if not (folder / "mipverify_mnist_fc_W1.npy").is_file():
        yield f"\n{folder}: holds no mipverify_mnist_fc_W1.npy; the network trained elsewhere is left out"
        return
    parts = {name: torch.from_numpy(np.load(folder / f"mipverify_mnist_fc_{name}.npy")).float() for name in ("W1", "B1", "W2", "B2")}
    lines = ["\n| 784-500-10, trained elsewhere | " + " | ".join(f"{100 * share:.0f} %" for share in scale["shares"]) + " |"]
    lines.append("|---" * (len(scale["shares"]) + 1) + "|")
    for method, chosen in METHODS.items():

        def compute(chosen: list[str] = chosen, method: str = method) -> dict[str, Any]:
            subject = Subject("mnist", ["model=mlp", "model.hidden=[500]"], root, 0, scale | {"steps": 1})
            layers = [module for module in subject.dense.modules() if isinstance(module, nn.Linear)]
            with torch.no_grad():
                for layer, weight, bias in zip(layers, ("W1", "W2"), ("B1", "B2"), strict=True):
                    layer.weight.copy_(parts[weight].T)
                    layer.bias.copy_(parts[bias].reshape(-1))
            more = mip(scale) if method in ("mip", "critical") else []
            return {"dense": subject.accuracy(subject.dense)} | measured(subject, [*chosen, *more], scale["shares"], ())

        row = rows.get({"part": "foreign", "method": method}, compute)
        lines.append(f"| {method} | " + " | ".join(f"{100 * row['masked'][str(share)]:.2f}" for share in scale["shares"]) + " |")
    lines.append(f"\ndense: {100 * row['dense']:.2f} %")
    yield "\n".join(lines)


def denoiser(rows: Rows, root: Path, seeds: list[int], scale: dict[str, Any]) -> Iterator[str]:
    """Half-UNet layer by layer with the l1 loss, beside the other scorers: mean PSNR on the sample's test images."""
    shares = (0.36, 0.5, 0.65, 0.75)
    ways = {"mip": ["solver=mip"], "hybrid_qubo": ["solver=hybrid_qubo"], "greedy_taylor": ["solver=greedy_taylor"]}
    ways |= {"greedy_l1": ["solver=greedy_l1"], "random": ["solver=random"]}
    lines = ["\n| Half-UNet, PSNR in dB | " + " | ".join(str(share) for share in shares) + " | scoring |", "|---" * (len(shares) + 2) + "|"]
    for way, chosen in ways.items():
        found = []
        for seed in seeds:

            def compute(way: str = way, chosen: list[str] = chosen, seed: int = seed) -> dict[str, Any]:
                base = [*scale["denoiser"], *chosen, f"seed={seed}", "fidelity=0", "certify=false", "latency=false"]
                plan = RunPlan.of(compose_jobs("run", base).jobs[0])
                dense, splits = plan.model.load(), plan.data.load(seed)
                layout = prepare(plan.settings, dense, splits, (), ()).layout
                begun = perf_counter()
                scores = plan.scorer.score(dense, layout, splits, seed)
                seconds, keeps = perf_counter() - begun, {}
                for share in shares:
                    asked = RunPlan.of(compose_jobs("run", [*base, f"sparsity={share}"]).jobs[0]).settings
                    budget = prepare(asked, dense, splits, (), ()).budgets[-1]
                    keeps[str(share)] = plan.solver.solve(PruningProblem(layout, scores.linear, scores.pairs, budget), seed).keep
                networks = shrunk(dense, layout, keeps)
                measures = qualities(task_of(splits), networks, splits.test)
                params = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
                return {"seconds": seconds, "psnr": {n: float(q["psnr"].mean()) for n, q in measures.items()}, "params": params}

            found.append(rows.get({"part": "denoiser", "method": way, "seed": seed}, compute))
        cells = [spread([row["psnr"][str(share)] for row in found]) for share in shares]
        lines.append(f"| {way} | " + " | ".join(cells) + f" | {np.mean([row['seconds'] for row in found]):.0f} s |")
    yield "\n".join(lines)


def vgg(rows: Rows, root: Path, seeds: list[int], scale: dict[str, Any]) -> Iterator[str]:
    """VGG-16 with fresh weights on random pictures of CIFAR-10's shape: that one layer of it is scored, not how well."""

    def compute() -> dict[str, Any]:
        from qprune_cli.types import ImageSet, Pair

        rng = np.random.default_rng(0)
        pairs = [Pair(f"{k}", rng.uniform(size=(3, 32, 32)).astype(np.float32), np.array(k % 10)) for k in range(40)]
        images = ImageSet(tuple(pairs))
        plan = RunPlan.of(compose_jobs("run", ["data=cifar10", "data.root=.", "model=vgg16", "solver=mip", *mip(scale)]).jobs[0])
        torch.manual_seed(0)
        network = plan.model.build().eval()
        splits = Splits(None, images, images, images, "classify")  # type: ignore[arg-type]
        whole = prepare(plan.settings, network, splits, (), ()).layout
        layer = whole.groups[-3].layer
        asked = RunPlan.of(compose_jobs("run", ["data=cifar10", "data.root=.", "model=vgg16", "solver=mip", f"include=[{layer}]"]).jobs[0])
        layout = prepare(asked.settings, network, splits, (), ()).layout
        begun = perf_counter()
        scores = plan.scorer.score(network, layout, splits, 0)
        return {"layer": layer, "filters": layout.n, "of": whole.n, "seconds": perf_counter() - begun, "mean": float(scores.linear.mean())}

    row = rows.get({"part": "vgg"}, compute)
    yield f"\nVGG-16: layer '{row['layer']}', {row['filters']} of {row['of']} filters, scored in {row['seconds']:.1f} s"


def transfer(rows: Rows, root: Path, seeds: list[int], scale: dict[str, Any]) -> Iterator[str]:
    """Masks of MNIST, trained on Fashion-MNIST from the same initialisation, by ``qprune run experiment=transfer``."""

    def compute() -> dict[str, Any]:
        with TemporaryDirectory() as place:
            where = [f"data.root={root}", f"output_root={place}"]
            dispatch(["train", "experiment=train_mlp_mnist", f"train.steps={scale['steps']}", *where])
            weights = next(Path(place).glob("train/*/model.safetensors"))
            trained = [f"transfer.data.root={root}", f"transfer.seeds={len(seeds)}", f"transfer.steps={scale['steps']}", *mip(scale)]
            dispatch(["run", "experiment=transfer", *where, f"model.weights={weights}", *trained, "fidelity=0", "latency=false"])
            found: dict[str, Any] = json.loads(next(Path(place).glob("runs/*/transfer.json")).read_text())
            return {"networks": found["networks"]}

    row = rows.get({"part": "transfer"}, compute)
    lines = ["\n| trained on Fashion-MNIST | accuracy | against the transferred mask | parameters |", "|---|---|---|---|"]
    for name, own in row["networks"].items():
        gap = own.get("difference")
        beside = "" if gap is None else f"{100 * gap['mean']:+.2f}"
        if gap and gap["ci95"]:
            beside += f" ({100 * gap['ci95'][0]:+.2f} to {100 * gap['ci95'][1]:+.2f})"
        lines.append(f"| {name} | {100 * own['accuracy']['mean']:.2f} | {beside} | {own['params']:,.0f} |")
    yield "\n".join(lines)


PARTS = {"curves": curves, "variants": variants, "depth": depth, "foreign": foreign, "denoiser": denoiser, "vgg": vgg, "transfer": transfer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="holds mnist and fashion_mnist")
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, metavar="NAME", help="of the curves: %(choices)s")
    parser.add_argument("--json", type=Path, metavar="PATH", help="rows as they are finished; those that are there are not computed again")
    arguments = parser.parse_args()
    rows, scale = Rows(arguments.json), SCALES[arguments.scale]
    if arguments.subjects:
        scale = scale | {"subjects": arguments.subjects}
    for part in arguments.parts:
        for text in PARTS[part](rows, arguments.data, arguments.seeds, scale):
            print(text, flush=True)


if __name__ == "__main__":
    main()
