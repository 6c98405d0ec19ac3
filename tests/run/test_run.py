"""Whole runs: what they write, that they repeat, and that bad data stops them before anything is written."""

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from qprune_cli import cli
from qprune_cli.compose.repeat import repeated
from qprune_cli.errors import UserError
from qprune_cli.weights.checkpoint import find_weights
from tests.conftest import write_pairs
from tests.runs import DIGITS, QUICK, SMOKE, only_run, read, rows_of

PLAIN = [*SMOKE, "solver=greedy_l1", "compensate=none"]
PAIRS = ["data=pairs", "data.crops=4", "data.crop_size=32"]
FILES = {
    "crops",
    "config.yaml",
    "scores.npz",
    "problem.npz",
    "solution.json",
    "trace.csv",
    "mask.npz",
    "metrics.json",
    "metrics.csv",
    "images.csv",
    "run.log",
    "model.safetensors",
    "model.pt2",
    "plan.json",
    "report.html",
    "manifest.json",
}


def test_run_folder_is_complete_and_well_named(finished, refitted):
    assert {path.name for path in finished.iterdir()} == FILES
    assert {path.name for path in refitted.iterdir()} == FILES - {"model.pt2"} | {"compensation.csv"}
    assert finished.name.endswith("_sample_half_unet_small_hybrid_hybrid_qubo_none_s0.5_seed0")


def test_exactly_half_of_the_filters_stay(finished):
    masks = np.load(finished / "mask.npz")
    assert masks["keep"].sum() == 32 and masks["keep"].dtype == bool
    layers = [masks[name] for name in masks.files if name != "keep"]
    assert np.array_equal(np.concatenate(layers), masks["keep"]) and all(layer.any() for layer in layers)
    metrics = read(finished)
    assert metrics["sparsity"] == {"asked": 0.5, "got": 0.5, "budget": "filters"}
    assert metrics["stages"]["solved"]["filters"] == 32


def test_metrics_in_all_files_agree(finished):
    metrics, images = read(finished), rows_of(finished, "images.csv")
    rows = {row["stage"]: row for row in rows_of(finished, "metrics.csv")}
    for stage, stated in {"identity": metrics["identity"], **metrics["stages"]}.items():
        for name in ("psnr", "ssim"):
            values = [float(row[name]) for row in images if row["stage"] == stage]
            assert stated[name]["n"] == len(values) == 18
            assert np.isclose(np.mean(values), stated[name]["mean"]) and np.isclose(float(rows[stage][name]), stated[name]["mean"])
            assert stated[name]["ci95"][0] <= stated[name]["mean"] <= stated[name]["ci95"][1]
    sizes = [metrics["stages"][stage] for stage in ("dense", "solved")]
    assert all(sizes[0][name] > sizes[1][name] for name in ("params", "macs", "filters"))


def test_solution_tells_how_it_was_found(finished):
    solution = read(finished, "solution.json")
    assert solution["kept"] == solution["asked"] == 32 and solution["feasible"] is True and solution["bound"] <= solution["damage"]
    assert solution["trace"] and solution["reads"]["energy"] and "swaps" in solution["repair"]
    assert sum(solution["kept_per_layer"].values()) == 32


def test_manifest_names_versions_seed_and_digests(finished):
    manifest = read(finished, "manifest.json")
    assert manifest["status"] == "complete" and manifest["seed"] == 0 and manifest["versions"]["torch"]
    assert manifest["seconds"].keys() == {
        "load",
        "score",
        "solve",
        "fidelity",
        "refine",
        "compensate",
        "shrink",
        "measure",
        "save",
        "finetune",
        "baselines",
        "transfer",
    }
    assert all(len(digest) == 64 for digest in manifest["sha256"].values())


def test_from_repeats_the_mask_bit_for_bit(refitted, tmp_path):
    assert cli.dispatch(["run", "--from", str(refitted), f"output_root={tmp_path}"]) == 0
    again = only_run(tmp_path)
    assert np.array_equal(np.load(again / "mask.npz")["keep"], np.load(refitted / "mask.npz")["keep"])
    first, second = (read(folder, "manifest.json")["sha256"] for folder in (refitted, again))
    assert first == second
    configs = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in (refitted, again)]
    assert configs[0] | {"output_root": str(tmp_path)} == configs[1]


@pytest.mark.slow
def test_from_takes_other_values_but_no_other_components(refitted, tmp_path):
    assert cli.dispatch(["run", "--from", str(refitted), "sparsity=0.25", f"output_root={tmp_path}"]) == 0
    assert np.load(only_run(tmp_path) / "mask.npz")["keep"].sum() == 48
    with pytest.raises(UserError, match="repeated with its own components"):
        cli.dispatch(["run", "--from", str(refitted), "solver=greedy"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sparsty=0.25"], "did you mean 'sparsity'"),
        (["sparsity=0.1,0.2"], "a run is repeated with its own components"),
        (["-m"], "leave --multirun out"),
        (["sparsity"], "sparsity"),
        (["sparsity=[0.1"], "cannot be read as an override"),
        (["sparsity=2"], "sparsity=2"),
    ],
)
def test_mistakes_beside_from_get_one_sentence(finished, overrides, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        cli.dispatch(["run", "--from", str(finished), *overrides])
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("config", ["", "][", "components: {data: sample}"])
def test_from_refuses_folders_that_no_run_made(config, tmp_path):
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError):
        cli.dispatch(["run", "--from", str(tmp_path)])


def test_from_lets_a_setting_lead_those_that_follow_it(finished):
    job = repeated("run", finished, ["loss=mse"])
    assert job.settings["loss"] == job.settings["scorer"]["loss"] == "mse"
    unchanged = repeated("run", finished, [])
    saved = yaml.safe_load((finished / "config.yaml").read_text())
    assert unchanged.settings | {"components": unchanged.components} == saved


def test_table_shows_noisy_dense_and_pruned_and_the_folder(refitted):
    metrics, log = read(refitted), (refitted / "run.log").read_text()
    rows = {line.split()[0]: line for line in reversed(log.splitlines()) if line.strip()}
    for name, stated in (("noisy", metrics["identity"]), ("dense", metrics["stages"]["dense"]), ("pruned", metrics["stages"]["refined"])):
        assert f"{stated['psnr']['mean']:.2f} dB" in rows[name] and f"{stated['ssim']['mean']:.4f}" in rows[name]
    assert f"{metrics['stages']['refined']['params']:,}" in rows["pruned"] and str(refitted) in log


def test_a_sweep_keeps_its_runs_together_and_a_failed_job_does_not_stop_the_others(tmp_path, capfd):
    # floor=100 makes 0.75 unreachable on layers of 300 and 100 filters: a mistake that only shows on the network.
    code = cli.dispatch([*DIGITS, "-m", "sparsity=0.75,0.25,0.5", "floor=100", f"output_root={tmp_path}"])
    (sweep,) = (tmp_path / "sweeps").iterdir()
    assert code == 2 and "lower sparsity to at most 0.500" in capfd.readouterr().err
    complete = [folder for folder in sweep.iterdir() if (folder / "manifest.json").is_file()]
    assert sorted(int(np.load(folder / "mask.npz")["keep"].sum()) for folder in complete) == [200, 300]
    (failed,) = [path.parent for path in sweep.glob("*/failed.json")]
    assert "Traceback" in (failed / "run.log").read_text() and not (failed / "mask.npz").exists()
    assert "lower sparsity to at most 0.500" in (sweep / "table.md").read_text()
    assert [row["sparsity"] for row in rows_of(sweep, "table.csv")] == ["0.25", "0.5"]


def test_removing_nothing_is_said_aloud(tmp_path, caplog):
    cli.dispatch([*DIGITS, "sparsity=0", f"output_root={tmp_path}"])
    assert any("no filter was removed" in warning for warning in read(only_run(tmp_path))["warnings"])
    assert any("no filter was removed" in record.message for record in caplog.records)


@pytest.mark.slow
def test_training_makes_a_checkpoint_that_a_run_can_prune(tmp_path):
    quick = ["train.steps=20", "train.validate_every=10", "data.crops=4", "data.crop_size=32"]
    assert cli.dispatch(["train", "experiment=train_half_unet_small", *quick, f"output_root={tmp_path}"]) == 0
    folder = only_run(tmp_path, "train")
    assert {path.name for path in folder.iterdir()} >= {"config.yaml", "training.csv", "model.safetensors", "metrics.json", "manifest.json"}
    assert [int(row["step"]) for row in rows_of(folder, "training.csv")] == [10, 20]
    assert cli.dispatch([*PLAIN, f"model.weights={folder}/model.safetensors", f"output_root={tmp_path}"]) == 0


def test_own_images_are_pruned_on(tmp_path):
    images = write_pairs(tmp_path / "images", 10, side=48)
    assert cli.dispatch([*SMOKE, "solver=hybrid_qubo", *PAIRS, f"data.root={images}", f"output_root={tmp_path / 'out'}"]) == 0
    assert read(only_run(tmp_path / "out"))["identity"]["psnr"]["n"] == 2


@pytest.mark.slow
def test_from_finds_data_and_weights_from_any_folder(tmp_path, monkeypatch):
    write_pairs(tmp_path / "images", 5)
    (tmp_path / "own.safetensors").write_bytes(find_weights("half_unet_small").read_bytes())
    monkeypatch.chdir(tmp_path)
    cli.dispatch([*PLAIN, *PAIRS, "data.root=images", "model.weights=own.safetensors"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli.dispatch(["run", "--from", str(only_run(tmp_path / "outputs"))]) == 0
    assert (only_run(tmp_path / "elsewhere" / "outputs") / "manifest.json").is_file()


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A folder of weights and images, each with something that is wrong, and of ``images`` that are fine."""
    folder = tmp_path_factory.mktemp("broken")
    state = load_file(find_weights("half_unet_small"))
    state["head.weight"].view(-1)[0] = float("nan")
    save_file(state, folder / "nan.safetensors")
    (folder / "cut.safetensors").write_bytes(find_weights("half_unet_small").read_bytes()[:500])
    for name in ("images", "empty", "lonely", "sizes", "cut", "grey", "same"):
        write_pairs(folder / name, 5)
    for path in (folder / "empty").iterdir():
        path.unlink()
    (folder / "lonely" / "3_clean.png").unlink()
    for k in range(5):
        (folder / "same" / f"{k}_noisy.png").write_bytes((folder / "same" / f"{k}_clean.png").read_bytes())
        Image.new("RGB", (44, 44)).save(folder / "sizes" / f"{k}_clean.png")
        cut = folder / "cut" / f"{k}_noisy.png"
        cut.write_bytes(cut.read_bytes()[:1000])
        Image.new("L", (40, 40)).save(folder / "grey" / f"{k}_noisy.png")
    return folder


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.weights=none.safetensors"], "no such file"),
        (["model.weights=cut.safetensors"], "not a readable safetensors file"),
        (["model.weights=nan.safetensors"], "not finite"),
        (["model.width=16"], "another architecture"),
        (["sparsity=0.75", "floor=4"], "lower sparsity to at most 0.500"),
        (["loss=cross_entropy"], "have no labels"),
        (["budget=macs", "sparsity=0.999"], "what cannot be cut, such as head"),
        (["solver=exact"], "solver=exact: 64 free filters"),
        (["solver=scip", "budget=macs"], "no quadratic function"),
        (["exclude=['*']"], "no layer is left"),
        (["fidelity=1"], "so few swaps"),
        (["limits={decoder: [1, 2]}"], "limits: decoder: no such layer"),
        (["exclude=[encoder.9]"], "exclude=encoder.9: no such layer"),
        (["floor=9"], "is to keep 9 filters and has 8"),
        (["data.root=empty"], "no image below"),
        (["data.root=nowhere"], "no folder"),
        (["data.root=lonely"], "no clean image '3_clean"),
        (["data.root=sizes"], "pairs must match"),
        (["data.root=cut"], "damaged"),
        (["data.root=grey"], "1 channels where the network wants 3"),
        (["data.crop_size=200"], "smaller than a crop of 200"),
        (["output_root=nan.safetensors/runs"], "is a file"),
        (["data.root=same"], "the noisy and the clean image are the same"),
        (["model.channels=1", "data.channels=3"], "the images have 3; set model.channels=3"),
    ],
)
def test_bad_weights_data_and_targets_stop_the_run_before_it_writes(overrides, message, broken, monkeypatch):
    monkeypatch.chdir(broken)
    before = sorted(broken.rglob("*"))
    words = ["run", "model=half_unet_small", "scorer=hybrid", *PAIRS, "data.root=images"]
    with pytest.raises(UserError, match=message) as caught:
        cli.dispatch([*words, *overrides])
    assert "\n" not in str(caught.value)
    assert sorted(broken.rglob("*")) == before


def linked(files, folder):
    """A folder that holds some of the pairs of another: every eighth."""
    folder.mkdir()
    names = sorted(path.name.removesuffix("_gt.png") for path in files.glob("*_gt.png"))[::8]
    for name in names:
        for kind in ("gt", "noisy"):
            (folder / f"{name}_{kind}.png").symlink_to(files / f"{name}_{kind}.png")
    return folder


def test_official_photographs_are_denoised_and_pruned(real_data, tmp_path):
    train, val = (linked(real_data / "sidd_native" / part, tmp_path / part) for part in ("train", "val"))
    where = [f"data.root={train}", f"data.test_root={val}", "data.clean='*_gt.*'", "data.shares=[0,0.5,0.5,0]"]
    assert cli.dispatch([*SMOKE, "data=pairs", "data.crops=8", "solver=hybrid_qubo", *where, f"output_root={tmp_path}"]) == 0
    metrics = read(only_run(tmp_path))
    assert metrics["stages"]["solved"]["filters"] == 32 and metrics["stages"]["dense"]["psnr"]["n"] == 4
    assert metrics["stages"]["dense"]["psnr"]["mean"] > metrics["identity"]["psnr"]["mean"] + 3


@pytest.mark.parametrize(
    "overrides",
    [
        ["round_to=4", "sparsity=0.3"],
        ["round_to=4", "sparsity=0.2", "solver=profile"],
        ["scope=layer"],
        ["scope=layer", "round_to=2", "budget=macs"],
        ["round_to=4", "budget=macs"],
        ["budget=params", "sparsity=0.2", "floor=4", "solver=profile", "compensate=ridge"],
    ],
)
@pytest.mark.slow
def test_rounds_meet_every_kind_of_budget_and_use_it_up(overrides, tmp_path):
    assert cli.dispatch([*SMOKE, "compensate=none", "rounds=3", f"output_root={tmp_path}", *overrides]) == 0
    folder = only_run(tmp_path)
    solution, problem = read(folder, "solution.json"), np.load(folder / "problem.npz")
    keep = np.load(folder / "mask.npz")["keep"]
    kept = np.bincount(problem["layer_of"], keep)
    assert solution["feasible"] and len(solution["rounds"]) == 3 and solution["spent"] <= solution["asked"]
    assert all(k in problem["counts"][problem["count_of"] == layer] for layer, k in enumerate(kept))
    if solution["budget"] != "filters":
        assert solution["spent"] > 0.85 * solution["asked"]


@pytest.mark.slow
def test_a_budget_that_everything_meets_leaves_everything(tmp_path):
    for k, solver in enumerate(("profile", "swap")):
        words = ["budget=macs", "sparsity=0", "scorer=taylor", f"solver={solver}", f"output_root={tmp_path / str(k)}"]
        assert cli.dispatch(["run", "data=digits", "data.test_images=40", "model=mlp", *QUICK, "compensate=none", *words]) == 0
        assert np.load(only_run(tmp_path / str(k)) / "mask.npz")["keep"].all()
