"""Jobs: names that settings give, states that folders tell, and that nothing is done twice or lost."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qprune_cli.errors import MissedTarget, UserError
from qprune_cli.record.folder import Folder
from qprune_cli.sweep.job import Ended, Job, State, carry_out, job_name


@dataclass(frozen=True)
class Plan:
    title: str = "title"
    config: dict[str, Any] = field(default_factory=lambda: {"seed": 0, "output_root": "here", "cache": True, "model": {"weights": None}})


def done(folder: Folder) -> None:
    folder.json("manifest.json", {"missed": ""})


def test_a_name_follows_all_settings_but_where_results_go(tmp_path):
    plan = Plan()
    assert job_name(plan) == job_name(Plan(config=plan.config | {"output_root": "there", "cache": False}))
    assert job_name(plan) != job_name(Plan(config=plan.config | {"seed": 1}))
    assert job_name(plan).startswith("title_")


def test_a_name_follows_the_content_of_weights(tmp_path):
    weights = tmp_path / "mine.safetensors"
    plan = Plan(config={"model": {"weights": str(weights)}})
    names = []
    for content in (b"one", b"two", b"one"):
        weights.write_bytes(content)
        names.append(job_name(plan))
    assert names[0] == names[2] != names[1]


def test_a_finished_job_is_not_done_again(tmp_path):
    count = []

    def start(folder: Folder) -> None:
        count.append(folder.path)
        done(folder)

    for _ in range(3):
        assert carry_out(Plan(), tmp_path / "job", start) == Ended()
    assert count == [tmp_path / "job"] and Job(tmp_path / "job").state is State.FINISHED


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (UserError("floor=9: too many"), Ended(2, "floor=9: too many")),
        (ValueError("no\nsuch thing"), Ended(1, "ValueError: no")),
    ],
)
def test_a_failed_job_says_why_and_is_done_again(tmp_path, error, ended):
    def fail(folder: Folder) -> None:
        raise error

    job = Job(tmp_path / "job")
    assert carry_out(Plan(), job.path, fail) == ended == job.ended
    assert job.state is State.FAILED and "Traceback" in (job.path / "run.log").read_text()
    assert (job.path / "config.yaml").is_file()
    assert carry_out(Plan(), job.path, done) == Ended() == job.ended
    assert job.state is State.FINISHED and not (job.path / "failed.json").exists()


def test_a_missed_target_is_a_finished_job_with_its_code(tmp_path):
    def miss(folder: Folder) -> None:
        folder.json("manifest.json", {"missed": "too large"})
        raise MissedTarget("too large")

    job = Job(tmp_path / "job")
    assert carry_out(Plan(), job.path, miss) == Ended()
    assert job.state is State.FINISHED and job.ended.code == 3


def test_a_job_that_another_process_holds_is_left_alone(tmp_path):
    job = Job(tmp_path)
    held = "import sys, time\nfrom pathlib import Path\nfrom qprune_cli.record.folder import Folder\n"
    held += "with Folder(Path(sys.argv[1])).log(): print('held', flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", held, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    assert job.state is State.BUSY
    assert carry_out(Plan(), tmp_path, done) == Ended() and not (tmp_path / "manifest.json").exists()
    other.kill()
    other.wait()
    assert job.state is State.OPEN
    carry_out(Plan(), tmp_path, done)
    assert job.state is State.FINISHED


def test_a_full_disk_leaves_a_job_open(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 1000}))
    ended = carry_out(Plan(), tmp_path / "job", done)
    assert ended.code == 2 and "make room" in ended.error
    assert Job(tmp_path / "job").state is State.OPEN


def test_the_log_of_a_job_holds_what_is_logged_and_the_terminal_does_not(tmp_path, caplog):
    def start(folder: Folder) -> None:
        import logging

        logging.getLogger("qprune_cli").info("for the log")
        done(folder)

    carry_out(Plan(), tmp_path, start)
    assert "for the log" in (tmp_path / "run.log").read_text() and "for the log" not in caplog.text


def test_what_failed_is_plain_json(tmp_path):
    Job(tmp_path).fail(Ended(2, "why"))
    assert json.loads((tmp_path / "failed.json").read_text()) == {"code": 2, "error": "why"}
    assert Path(tmp_path / "failed.json").stat().st_size < 100
