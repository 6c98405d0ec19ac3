"""What is said of the networks of a run."""

import json

import numpy as np

from qprune_cli.evaluate.interval import ci95
from qprune_cli.report.facts import facts
from qprune_cli.report.headline import headline, obtained, verdicts
from qprune_cli.report.parts import read_parts
from tests.report.folders import write_whole


def changed(folder, name, change):
    """Alter a JSON file of a run."""
    told = json.loads((folder / name).read_text())
    change(told)
    (folder / name).write_text(json.dumps(told))
    return read_parts(folder)


def test_differences_are_paired_by_image(whole):
    parts = read_parts(whole)
    own, dense = parts.images["finetuned"]["psnr"], parts.images["dense"]["psnr"]
    change = facts(parts).row("finetuned").change
    assert [change.low, change.high] == ci95(own - dense).tolist() and np.isclose(change.mean, (own - dense).mean())


def test_a_run_hands_over_its_last_pruned_stage(whole, tmp_path):
    assert facts(read_parts(whole)).last == "finetuned"
    folder = write_whole(tmp_path / "run")
    parts = changed(folder, "metrics.json", lambda told: [told["stages"].pop(name) for name in ("finetuned", "dense_finetuned")])
    assert facts(parts).last == "compensated"


def test_baselines_show_their_mean_and_range(whole):
    found = facts(read_parts(whole))
    random = found.row("random/solved")
    solved = found.row("solved").values["psnr"].mean
    assert random.masks == 3 and np.allclose(
        [random.change.mean, random.change.low, random.change.high],
        np.array([solved - 4, solved - 5, solved - 3]) - found.row("dense").values["psnr"].mean,
    )
    assert found.row("leave_one_out/compensated").title == "leave-one-out, re-fitted"


def test_a_mask_that_nobody_refined_is_no_row_of_its_own(tmp_path):
    folder = write_whole(tmp_path / "run")
    assert facts(changed(folder, "metrics.json", lambda told: told.update(refinement={}))).row("refined") is None


def test_without_images_the_means_are_compared(tmp_path):
    folder = write_whole(tmp_path / "run")
    (folder / "images.csv").unlink()
    change = facts(read_parts(folder)).row("finetuned").change
    assert change.low is None and -1 < change.mean < 1


def test_the_headline_is_the_answer(whole):
    said = headline(read_parts(whole), facts(read_parts(whole))).replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("half_unet keeps 9 of 18 filters: 70 % fewer parameters, 60 % fewer MACs, 1.67× as fast; ")
    assert said.count("[") == 1 and "against dense" in said


def test_a_difference_within_its_interval_is_called_none(tmp_path):
    folder = write_whole(tmp_path / "run")
    rows = (folder / "images.csv").read_text().splitlines()
    dense = {line.split(",")[0]: line.split(",")[2:] for line in rows if ",dense," in line}
    same = [line if ",finetuned," not in line else ",".join([line.split(",")[0], "finetuned", *dense[line.split(",")[0]]]) for line in rows]
    (folder / "images.csv").write_text("\n".join(same) + "\n")
    parts = read_parts(folder)
    assert headline(parts, facts(parts)).endswith("no difference shown")


def test_a_missed_target_is_said(tmp_path):
    folder = write_whole(tmp_path / "run")
    parts = changed(folder, "manifest.json", lambda told: told.update(missed="too slow"))
    assert [one.kind for one in verdicts(parts)] == ["bad", "note"] and "Target missed" in verdicts(parts)[0].text
    assert ("filters that stay", "9", "9") in obtained(parts)
