"""What several tests share: small problems, a small network, a small data set."""

import copy
import os
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import nn

from qprune_cli.data.sample import Sample
from qprune_cli.graph.trace import trace
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.problem.budget import Budget, layer_counts
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.types import FilterGroup, Layout, Splits
from tests.runs import OWN, SMOKE, carried_out, exporting, made_once, only_run, refuse_export, shared_base

# One thread, here and in the processes that tests start: the last bits depend on their number, the networks of tests are too
# small for more, and the tests themselves run side by side.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
settings.register_profile("shared machine", deadline=None, max_examples=30)
settings.load_profile("shared machine")


@pytest.fixture(autouse=True, scope="session")
def patch_cache(tmp_path_factory: pytest.TempPathFactory):
    """No test touches the cache of the user; finished runs that processes of pytest share come from one cache."""
    os.environ["QPRUNE_CACHE"] = str(shared_base(tmp_path_factory) / "cache")


@pytest.fixture(autouse=True, scope="session")
def no_programs():
    """Runs leave out model.pt2, which costs more than the rest of a small run; ``exporting`` and the mark ``exports`` bring it back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.export, "export", refuse_export)
        yield


@pytest.fixture(autouse=True)
def programs_where_marked(request: pytest.FixtureRequest, no_programs: None):
    """Tests with the mark ``exports`` write programs."""
    with exporting() if request.node.get_closest_marker("exports") else nullcontext():
        yield


@pytest.fixture(autouse=True, scope="session")
def compositions_are_remembered():
    """The same words compose to the same settings: Hydra, whose tenth of a second is most of many tests, is asked once for each."""
    compose, remembered = hydra.compose, {}

    def compose_once(config: str, words: list[str], **settings: object):
        if any("searchpath" in word and OWN not in word for word in words):  # what is in a folder of a test may change
            return compose(config, words, **settings)
        key = (config, *words, *settings.items())
        if key not in remembered:
            remembered[key] = compose(config, words, **settings)
        return copy.deepcopy(remembered[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hydra, "compose", compose_once)
        yield


@pytest.fixture(autouse=True)
def threads_stay():
    """No test leaves behind another number of threads: another test would differ in the last bits."""
    yield
    assert (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == (1, "1")


def random_problem(seed: int, widths=(4, 5, 3), budget: int = 6, floor: int = 1, signed: bool = False) -> PruningProblem:
    """A dense random problem; couplings within layers, non-negative unless signed."""
    rng = np.random.default_rng(seed)
    layout = Layout(tuple(FilterGroup(f"layer{k}", f"gate{k}", width) for k, width in enumerate(widths)))
    blocks = [rng.normal(size=(w, w)) if signed else rng.uniform(size=(w, w)) for w in widths]
    pairs = Pairs(tuple(np.triu(block, 1) + np.triu(block, 1).T for block in blocks))
    return PruningProblem(layout, rng.uniform(size=layout.n), pairs, Budget.filters(layout, budget, floor))


def priced_problem(
    seed: int, widths=(4, 5, 3), share: float = 0.6, union: bool = False, signed: bool = False, round_to: int = 1
) -> PruningProblem:
    """A random problem whose budget is the parameters of a chain of 3x3 layers.

    With ``union`` the first two layers feed one sum, so that what reads it holds a channel that either of the two keeps.
    """
    base = random_problem(seed, widths, budget=sum(widths), signed=signed)
    stops = np.cumsum(widths)[:-1]

    def spend(keep: np.ndarray) -> float:
        kept = np.split(keep, stops)
        if not union:
            sizes = [1, *(int(part.sum()) for part in kept), 1]
            return float(9 * sum(a * b for a, b in pairwise(sizes)))
        shared = min(len(kept[0]), len(kept[1]))
        either = int((kept[0][:shared] | kept[1][:shared]).sum()) + int(kept[0][shared:].sum()) + int(kept[1][shared:].sum())
        sizes = [either, *(int(part.sum()) for part in kept[2:]), 1]
        own = int(kept[0].sum()) + int(kept[1].sum())
        return float(9 * (own + sum(a * b for a, b in pairwise(sizes))))

    counts = layer_counts(base.layout, 1, round_to)
    fewest = base.layout.n * [False]
    for own, options in zip(np.split(np.arange(base.layout.n), stops), counts, strict=True):
        for i in own[: options[0]]:
            fewest[i] = True
    limit = max(share * spend(np.ones(base.layout.n, bool)), 1.5 * spend(np.array(fewest)))
    return PruningProblem(base.layout, base.linear, base.pairs, Budget("params", limit, counts, spend))


def factored_problem(seed: int, widths=(4, 5, 3), rank: int = 2, budget: int = 6) -> PruningProblem:
    """A random problem whose couplings reach across layers, of both signs."""
    base = random_problem(seed, widths, budget=budget)
    factor = np.random.default_rng(seed).normal(size=(rank, base.layout.n))
    return PruningProblem(base.layout, base.linear, Pairs(base.pairs.blocks, factor), base.budget)


def best_damage(problem: PruningProblem) -> float:
    """The least damage, by looking at every mask."""
    masks = all_masks(problem.layout.n)
    return float(problem.damage(masks[[problem.feasible(mask) for mask in masks]]).min())


def all_masks(n: int) -> np.ndarray:
    """(2**n, n) every mask."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run that left out nothing; nothing was re-fitted, so its network is the silenced dense one."""
    words = ["run", "experiment=smoke", "solver=hybrid_qubo", "sparsity=0.5", "compensate=none"]

    def make(folder: Path) -> None:
        with exporting():
            carried_out(*words, f"output_root={folder}")

    return only_run(made_once(tmp_path_factory, "finished", make))


@pytest.fixture(scope="session")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run whose weights were re-fitted; it has no program, and speed and fidelity were not measured."""
    words = [*SMOKE, "solver=hybrid_qubo", "sparsity=0.65"]
    return only_run(made_once(tmp_path_factory, "refitted", lambda folder: carried_out(*words, f"output_root={folder}")))


@pytest.fixture(scope="session")
def small_model() -> nn.Module:
    torch.manual_seed(0)
    return HalfUNet(width=6, depth=3, weights=None).build().eval()


@pytest.fixture(scope="session")
def small_layout(small_model: nn.Module) -> Layout:
    return trace(small_model)


@pytest.fixture(scope="session")
def small_splits() -> Splits:
    return Sample(crops=4, crop_size=32, block_size=64).load(seed=0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real photographs, where the environment names a folder of them."""
    folder = Path(os.environ.get("QPRUNE_REAL_DATA", ""))
    if not os.environ.get("QPRUNE_REAL_DATA") or not (folder / "sidd_native").is_dir():
        pytest.skip("QPRUNE_REAL_DATA names no folder with sidd_native")
    return folder


def write_pairs(folder: Path, count: int = 6, side: int = 40, suffix: str = ".png") -> Path:
    """Write ``count`` pairs ``<k>_noisy`` and ``<k>_clean`` of random 8-bit colour images."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for k in range(count):
        clean = rng.integers(40, 200, size=(side, side, 3))
        noisy = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255)
        for kind, picture in (("clean", clean), ("noisy", noisy)):
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{k}_{kind}{suffix}")
    return folder
