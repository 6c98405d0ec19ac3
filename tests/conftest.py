"""What several tests share: small problems, a small network, a small data set."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import nn

from qprune_cli.data.sample import Sample
from qprune_cli.model.half_unet import HalfUNet
from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.structure.trace import trace
from qprune_cli.types import FilterGroup, Layout, Splits

torch.set_num_threads(2)
os.environ["OMP_NUM_THREADS"] = "2"  # the same in processes that tests start: the last bits depend on it
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(autouse=True, scope="session")
def patch_cache(tmp_path_factory: pytest.TempPathFactory):
    """No test touches the cache of the user."""
    os.environ["QPRUNE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def random_problem(seed: int, widths=(4, 5, 3), budget: int = 6, floor: int = 1, signed: bool = False) -> PruningProblem:
    """A dense random problem; couplings within layers, non-negative unless signed."""
    rng = np.random.default_rng(seed)
    layout = Layout(tuple(FilterGroup(f"layer{k}", f"gate{k}", width) for k, width in enumerate(widths)))
    blocks = [rng.normal(size=(w, w)) if signed else rng.uniform(size=(w, w)) for w in widths]
    pairs = Pairs(tuple(np.triu(block, 1) + np.triu(block, 1).T for block in blocks))
    return PruningProblem(layout, rng.uniform(size=layout.n), pairs, Budget.filters(layout, budget, floor))


def all_masks(n: int) -> np.ndarray:
    """(2**n, n) every mask."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


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
