import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from qprune_cli import cli
from qprune_cli.compare.compare import compare, write_tables
from qprune_cli.compare.measure import MEASURES
from qprune_cli.errors import UserError
from qprune_cli.evaluate.classification import Classification
from qprune_cli.evaluate.interval import ci95, t95
from qprune_cli.evaluate.restoration import Restoration
from tests.compare.folders import IDENTITY, config, write_failed, write_run

RIPPLE = np.array([0.1, -0.1, 0.2, -0.2, 0.3, 0.0])


@pytest.fixture
def sweep(tmp_path):
    """Two solvers at three sparsities with three seeds each, one job that failed and one that is at work."""
    root = tmp_path / "sweep"
    for solver in ("hybrid_qubo", "greedy_taylor"):
        for sparsity in (0.5, 0.125, 0.25):
            for seed in (0, 1, 2):
                psnr = IDENTITY + 8 - sparsity + 0.1 * seed + RIPPLE * (solver == "hybrid_qubo")
                write_run(root / f"{solver}{sparsity}_{seed}", config(solver, sparsity, seed), psnr=psnr, warnings=["one"] * seed)
    write_failed(root / "failed", config("hybrid_qubo", 0.99), "sparsity=0.99: keep at least 1")
    write_run(root / "at_work", config("hybrid_qubo", 0.75), finished=False)
    return root


def test_the_csv_holds_means_over_seeds_with_intervals(sweep):
    found = compare([sweep]).frame()
    assert found["solver"].tolist() == ["greedy_taylor"] * 3 + ["hybrid_qubo"] * 3
    assert found["sparsity"].tolist() == [0.125, 0.25, 0.5] * 2  # by size, and as numbers
    line = found.iloc[4]
    seeds = [IDENTITY + 8 - 0.25 + 0.1 * seed + RIPPLE for seed in (0, 1, 2)]
    means, images = np.array([values.mean() for values in seeds]), np.mean(seeds, axis=0)
    assert line["quality"] == pytest.approx(means.mean()) and line["runs"] == line["seeds"] == 3
    assert (line["quality_seeds_low"], line["quality_seeds_high"]) == pytest.approx(t95(means))
    assert (line["quality_low"], line["quality_high"]) == pytest.approx(ci95(images))
    assert line["dense"] == pytest.approx(IDENTITY.mean() + 8) and line["minus_dense"] == pytest.approx(-0.25 + 0.1 + RIPPLE.mean())
    assert (line["minus_dense_low"], line["minus_dense_high"]) == pytest.approx(ci95(images - IDENTITY - 8))
    assert line["ssim"] == pytest.approx(means.mean() / 50)
    assert line[["obtained_sparsity", "filters_share", "params_share", "macs_share"]].tolist() == pytest.approx([0.25, 0.75, 0.3, 0.4])
    assert line[["latency_share", "fidelity_at_mask", "gap", "seconds", "warnings"]].tolist() == pytest.approx([0.6, 0.75, 0.01, 3.5, 3])
    assert line[["block", "images", "stage", "measure", "data"]].tolist() == [1, 6, "compensated", "psnr", "sample"]


def test_the_terminal_shows_a_part_that_fits_and_says_what_was_left_out(sweep):
    said = str(compare([sweep], baseline="solver=greedy_taylor"))
    head, titles, first, *_ = said.split("\n")
    assert head == "data=sample; 6 images; PSNR and SSIM; stage compensated; without a network 22.50 dB, dense 30.50 dB"
    assert titles.split()[:3] == ["solver", "sparsity", "runs"] and " ±0.25  " in first and "baseline" in first
    assert max(map(len, said.split("\n")[1:8])) <= 160
    assert f"1 failed: {sweep}/failed: sparsity=0.99: keep at least 1" in said and "1 unfinished" in said and "at_work" in said


def test_stage_and_metric_are_chosen(sweep):
    found = compare([sweep], ["sparsity=0.5", "solver=greedy_taylor"], stage="solved", metric="ssim").frame().iloc[0]
    assert found["quality"] == pytest.approx((IDENTITY.mean() + 7.6 - 0.2) / 50) and np.isnan(found["latency_share"])
    assert found["psnr"] == pytest.approx(IDENTITY.mean() + 7.4)
    assert compare([sweep], stage="dense").frame()["minus_dense"].tolist() == [0] * 6


def test_a_single_run_has_no_interval_over_seeds(tmp_path):
    write_run(tmp_path / "run", config())
    compared = compare([tmp_path / "run"])
    assert compared.frame()[["quality_seeds_low", "quality_seeds_high"]].isna().all(axis=None) and "30.00  " in str(compared)


def test_accuracy_is_shown_in_per_cent(tmp_path):
    right = np.array([1.0, 1.0, 0.0, 1.0])
    some = {"identity": [0.0, 0.0, 1.0, 0.0], "dense": np.ones(4), "measures": ("accuracy", "cross_entropy")}
    write_run(tmp_path / "run", config(data="digits"), psnr=right, **some)
    compared = compare([tmp_path])
    assert "accuracy, %" in str(compared) and " 75.00 " in str(compared) and "-25.00" in str(compared)
    assert compared.frame()["quality"].tolist() == [0.75]


def test_measures_are_printed_as_the_tasks_print_them():
    assert {**Restoration().measures, **Classification().measures}.items() <= MEASURES.items()


def test_runs_on_other_images_stand_in_tables_of_their_own(sweep):
    write_run(sweep / "sidd", config("hybrid_qubo", data="sidd"), identity=IDENTITY + 1)
    compared = compare([sweep])
    assert [len(table.rows) for table in compared.tables] == [6, 1] or [len(table.rows) for table in compared.tables] == [1, 6]
    assert "data=sidd; solver=hybrid_qubo; sparsity=0.5; 6 images" in str(compared) and "not comparable" in str(compared)
    assert sorted(set(compared.frame()["block"])) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["sweep", "slover=x"], "slover: no run has such a setting; did you mean 'solver'"),
        (["sweep", "solver=hybrid"], "did you mean 'hybrid_qubo'"),
        (["sweep", "sparsity=0.99"], "no finished run to compare; 1 failed: "),
        (["sweep", "sparsity=0.75"], "no finished run to compare; 1 unfinished"),
        (["sweep/failed"], "sparsity=0.99: keep at least 1"),
        (["sweep", "--by", "sparsty"], "--by sparsty: no run has such a setting; did you mean 'sparsity'"),
        (["sweep", "--stage", "compnsated"], "--stage compnsated: no run has it; did you mean 'compensated'"),
        (["sweep", "--metric", "snr"], "--metric snr: no run has it; did you mean 'psnr'"),
        (["sweep", "--baseline", "solver=greedy"], "--baseline solver=greedy: no run has it; did you mean 'greedy_taylor'"),
        (["sweep", "--csv", "there.csv"], "--csv there.csv: there already; give another name, or --overwrite"),
        (["sweep", "--markdown", "there.csv"], "--markdown there.csv: there already"),
        (["sweep", "--csv", "sweep"], "--csv sweep: a folder; give a file"),
        (["sweep", "--csv", "new", "--markdown", "new"], "--csv, --markdown new: one file for both"),
        (["solver=x"], "give a folder with runs as well"),
        ([], "the following arguments are required"),
        (["sweep", "--what"], "`qprune compare --help` shows how"),
    ],
)
def test_mistakes_get_one_sentence_and_nothing_is_written(arguments, said, sweep, monkeypatch):
    monkeypatch.chdir(sweep.parent)
    (sweep.parent / "there.csv").write_text("mine")
    with pytest.raises(UserError) as caught:
        cli.dispatch(["compare", *arguments])
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert (sweep.parent / "there.csv").read_text() == "mine" and len(list(sweep.parent.iterdir())) == 2


def test_the_command_prints_and_writes_what_it_is_asked_for(sweep, monkeypatch, capsys):
    monkeypatch.chdir(sweep.parent)
    job = ["compare", "sweep", "--csv", "new/t.csv", "sparsity=0.5,0.25", "--markdown", "t.md", "--baseline", "solver=greedy_taylor"]
    assert cli.dispatch(job) == 0
    out = capsys.readouterr().out
    table = pd.read_csv("new/t.csv")
    assert len(table) == 4 and "greedy_taylor" in out and table["minus_baseline"].notna().sum() == 2
    text = (sweep.parent / "t.md").read_text()
    assert (
        text.startswith("### data=sample; 6 images") and "| solver | sparsity | runs |" in text and "- differences to the baseline" in text
    )
    assert cli.dispatch([*job, "--overwrite"]) == 0 and not list((sweep.parent / "new").glob(".*"))


def test_a_sweep_gets_its_tables(sweep):
    said = write_tables(sweep)
    assert said == str(compare([sweep])) and "1 failed" in said
    assert len(pd.read_csv(sweep / "table.csv")) == 6 and "keep at least 1" in (sweep / "table.md").read_text()
    assert write_tables(sweep) == said
    assert {path.name for path in sweep.iterdir() if path.is_file()} == {"table.csv", "table.md"}


def test_a_sweep_without_a_finished_job_gets_none(tmp_path):
    write_failed(tmp_path / "a", config(sparsity=0.99), "no such luck")
    write_run(tmp_path / "b", config(), finished=False)
    said = write_tables(tmp_path)
    assert said.startswith("no run has finished") and "no such luck" in said and "1 unfinished" in said
    assert not list(tmp_path.glob("table.*"))


@pytest.mark.slow
def test_two_hundred_runs_are_compared_without_torch_and_hydra(tmp_path):
    for k in range(200):
        write_run(tmp_path / f"run{k}", config(("greedy_taylor", "hybrid_qubo")[k % 2], round(0.1 + k // 10 / 40, 3), k // 2 % 5))
    program = (
        "import sys; from qprune_cli import cli\n"
        "assert cli.dispatch(sys.argv[1:]) == 0\n"
        "assert not {'torch', 'hydra', 'scipy.stats', 'matplotlib'} & set(sys.modules), 'a heavy import'"
    )
    command = [
        sys.executable,
        "-c",
        program,
        "compare",
        str(tmp_path),
        "--baseline",
        "solver=greedy_taylor",
        "--csv",
        str(tmp_path / "t.csv"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "t.csv")) == 40
