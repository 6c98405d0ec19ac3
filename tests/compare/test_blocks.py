import json
import os

import pytest

from qprune_cli.compare.blocks import blocks
from qprune_cli.compare.find import find
from qprune_cli.compare.gather import gather
from tests.compare.folders import IDENTITY, config, write_run


def read(folder):
    return gather(find([folder])).runs


@pytest.mark.parametrize(
    "other",
    [
        {"identity": IDENTITY + 1e-5},
        {"names": list("abcdef")},
        {"measures": ("psnr",)},
        {"measures": ("psnr", "ssim", "ssim3d")},
        {"identity": IDENTITY[:5]},
    ],
)
def test_other_images_or_measures_make_another_block(other, tmp_path):
    write_run(tmp_path / "a", config())
    write_run(tmp_path / "b", config(seed=1), **other)
    write_run(tmp_path / "c", config(seed=2), identity=IDENTITY + 1e-8)
    one, two = blocks(read(tmp_path))
    assert [run.folder.name for run in one.runs] == ["a", "c"] and [run.folder.name for run in two.runs] == ["b"]


def test_another_data_component_makes_another_block(tmp_path):
    write_run(tmp_path / "a", config())
    write_run(tmp_path / "b", config(data="sidd"))
    assert len(blocks(read(tmp_path))) == 2


def test_of_a_repeated_run_the_latest_counts_and_this_is_said(tmp_path):
    for name, hour, place in (("a", 2, "x"), ("b", 3, "y"), ("c", 1, "z")):
        folder = write_run(tmp_path / name, config(output_root=place))
        os.utime(folder / "manifest.json", (hour, hour))
    write_run(tmp_path / "d", config(seed=1))
    (block,) = blocks(read(tmp_path))
    assert [run.folder.name for run in block.runs] == ["b", "d"]
    assert block.lines() == ["the latest of runs with the same settings and seed is taken; 2 left out: a, c"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"weights": "b" * 64}, "2 different dense networks (SHA-256 of their weights)"),
        ({"versions": ("0.2.0", "2.13.0")}, "2 different versions of qprune, which may be part of a difference: 0.1.0 (2), 0.2.0 (1)"),
        ({"versions": ("0.1.0", "2.6.0")}, "2 different versions of torch"),
        ({"commit": "d" * 40}, "2 different commits of qprune, which may be part of a difference: cccccccccccc (2), dddddddddddd (1)"),
        ({"device": "cuda"}, "2 different devices"),
    ],
)
def test_runs_made_by_different_means_share_a_block_and_this_is_said(other, said, tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"{seed}", config(seed=seed))
    write_run(tmp_path / "other", config(seed=2), **other)
    (block,) = blocks(read(tmp_path))
    (line,) = block.lines()
    assert len(block.runs) == 3 and said in line


@pytest.mark.parametrize(("at_once", "latency", "told"), [(1, True, False), (2, True, True), (None, True, True), (2, False, False)])
def test_latency_of_jobs_that_ran_side_by_side_is_told_apart(at_once, latency, told, tmp_path):
    write_run(tmp_path / "sweep" / "job", config(), latency=latency)
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps({"launcher": {"at_once": at_once}}))
    (block,) = blocks(gather(find([tmp_path])).runs)
    assert any("while other jobs" in line for line in block.lines()) is told


def test_runs_that_differ_in_what_changes_no_network_are_repeats(tmp_path):
    write_run(tmp_path / "one", config(cache=True, fidelity=40))
    write_run(tmp_path / "two", config(cache=False, fidelity=0))
    (block,) = blocks(gather(find([tmp_path])).runs)
    assert len(block.runs) == len(block.repeated) == 1
