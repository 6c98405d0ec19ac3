import pytest
import yaml

from qprune_cli.compare.find import find
from qprune_cli.errors import UserError
from tests.compare.folders import config, write_failed, write_run


def test_runs_are_found_at_any_depth_and_each_once(tmp_path):
    one = write_run(tmp_path / "outputs" / "runs" / "a", config())
    two = write_run(tmp_path / "outputs" / "sweeps" / "s" / "s_1", config(seed=1))
    (tmp_path / "outputs" / ".hidden").mkdir()
    (tmp_path / "link").symlink_to(two)
    (tmp_path / "outputs" / "loop").symlink_to(tmp_path / "outputs")
    (tmp_path / "outputs" / "itself").symlink_to("itself")
    found = find([tmp_path / "outputs", one, tmp_path / "link", tmp_path])
    assert [folder.path for folder in found] == [one, two]


def test_unfinished_and_failed_jobs_are_found_and_trainings_are_not(tmp_path):
    write_run(tmp_path / "begun", config(), finished=False)
    write_failed(tmp_path / "failed", config(), "no such luck")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "failed.json").write_text("{}")
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "config.yaml").write_text(yaml.safe_dump({"components": {"train": "adamw"}}))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "config.yaml").write_text("name: something else")
    write_run(tmp_path / "project" / "run", config())
    assert [folder.path.name for folder in find([tmp_path])] == ["bare", "begun", "failed", "run"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"components": {"train": "adamw", "model": "mlp"}}, "the folder of a training"),
        ({"run": "outputs/runs/x", "data": {}, "components": {"data": "sample"}}, "the folder of an evaluation"),
        ({"anything": 1}, "holds no run"),
    ],
)
def test_a_folder_that_holds_no_run_is_refused_by_what_it_is(settings, said, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match=said):
        find([tmp_path])


def test_a_folder_of_trainings_alone_says_so(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump({"components": {"train": "adamw"}}))
    with pytest.raises(UserError, match="holds no run, only 2 trainings"):
        find([tmp_path])


def test_what_does_not_exist_and_what_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        find([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="file: a file; give the folder"):
        find([tmp_path / "file"])
