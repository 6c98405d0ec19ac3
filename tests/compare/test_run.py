import json
from math import isnan

import numpy as np
import pytest

from qprune_cli.compare.find import find
from qprune_cli.compare.gather import gather
from qprune_cli.compare.run import read_run
from qprune_cli.record.read import Unreadable
from tests.compare.folders import IDENTITY, config, write_failed, write_run


def read(folder):
    return read_run(find([folder])[0])


def test_a_run_is_read_as_it_was_measured(tmp_path):
    run = read(write_run(tmp_path / "run", config(sparsity=0.4, seed=3), psnr=IDENTITY + 7, warnings=["a", "b"]))
    np.testing.assert_array_equal(run.qualities["compensated"]["psnr"], IDENTITY + 7)
    np.testing.assert_array_equal(run.qualities["dense"]["ssim"], (IDENTITY + 8) / 50)
    assert run.images[:2] == ("image_0", "image_1") and run.seed == "3"
    assert run.stages == ("dense", "solved", "refined", "compensated", "final") and run.last == "compensated"
    assert run.sizes["compensated"] == {"filters": 0.6, "params": 0.3, "macs": 0.4, "latency_ms": 0.6}
    assert isnan(run.sizes["solved"]["latency_ms"])
    assert (run.obtained, run.fidelity, run.gap, run.seconds, run.warnings) == (0.4, 0.75, 0.01, 3.5, 2)
    assert run.made == {"weights": "a" * 64, "qprune": "0.1.0", "commit": "c" * 40, "device": "cpu", "torch": "2.13.0"}


def test_names_of_images_stay_as_they_are(tmp_path):
    run = read(write_run(tmp_path / "run", config(), identity=[1.0, 2.0, 3.0], names=["001", "NA", "null"]))
    assert run.images == ("001", "NA", "null")


def unlisted(folder):
    """Take the digests out of the manifest, as of a run before they were there."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": {}}))


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", ["metrics.json", "images.csv", "solution.json"])
@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1}', "image,stage,psnr\na,dense,1.0\n", None])
def test_a_damaged_file_is_named(name, content, listed, tmp_path):
    folder = write_run(tmp_path / "run", config())
    if not listed:
        unlisted(folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    if name == "solution.json" and content == '{"schema": 1}' and not listed:
        assert isnan(read(folder).gap)  # says nothing of a gap
        return
    with pytest.raises(Unreadable, match=name):
        read(folder)


def test_a_cut_images_csv_is_damaged(tmp_path):
    folder = write_run(tmp_path / "run", config())
    unlisted(folder)
    whole = (folder / "images.csv").read_text().splitlines()
    for cut in (whole[:-1], [*whole[:-1], "image_5,compensated,,0.5"], [*whole[:-1], whole[-1].replace("image_5", "image_6")]):
        (folder / "images.csv").write_text("\n".join(cut))
        with pytest.raises(Unreadable, match=r"images\.csv is damaged"):
            read(folder)


def test_another_schema_is_said(tmp_path):
    with pytest.raises(Unreadable, match="schema 2, this qprune reads 1"):
        read(write_run(tmp_path / "run", config(), schema=2))


def test_runs_that_cannot_be_compared_are_named_with_the_reason(tmp_path):
    write_run(tmp_path / "a", config())
    for k in range(7):
        write_run(tmp_path / f"begun{k}", config(), finished=False)
    write_failed(tmp_path / "failed", config(sparsity=0.9), "sparsity=0.9: keep more")
    (tmp_path / "failed2").mkdir()
    (tmp_path / "failed2" / "failed.json").write_text("")
    write_run(tmp_path / "other", config(), schema=2)
    gathered = gather(find([tmp_path]))
    failed, unfinished, unreadable = gathered.lines()
    assert [run.folder.name for run in gathered.runs] == ["a"]
    assert failed == f"2 failed: {tmp_path}/failed: sparsity=0.9: keep more; {tmp_path}/failed2: failed.json is damaged"
    assert unfinished.startswith("7 unfinished") and "begun4 and 2 more" in unfinished and "begun5" not in unfinished
    assert f"{tmp_path}/other: metrics.json has schema 2" in unreadable


def test_a_job_that_failed_at_first_and_finished_later_is_a_run(tmp_path):
    (write_run(tmp_path / "a", config()) / "failed.json").write_text('{"code": 2, "error": "at first"}')
    gathered = gather(find([tmp_path]))
    assert len(gathered.runs) == 1 and not gathered.left_out


def test_a_run_whose_config_is_damaged_is_left_out(tmp_path):
    (write_run(tmp_path / "a", config()) / "config.yaml").write_text("data: [")
    assert "config.yaml is missing or damaged" in gather(find([tmp_path])).left_out[0].why
    (tmp_path / "a" / "config.yaml").unlink()
    write_run(tmp_path / "b", config())
    assert len(gather(find([tmp_path])).runs) == 1
