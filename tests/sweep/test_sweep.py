"""Sweeps: each job once, whatever happens to the processes that work for them."""

import json

import pytest

from qprune_cli.errors import UserError
from qprune_cli.sweep import sweep as module
from qprune_cli.sweep.job import Ended, Job
from qprune_cli.sweep.sweep import run_sweep, sweep_name, until_done

TOLD = {"command": "train"}  # whose sweeps have no tables


@pytest.fixture
def jobs(tmp_path):
    return [Job(tmp_path / name) for name in "abcd"]


def finish(job: Job, missed: str = "") -> None:
    job.path.mkdir(exist_ok=True)
    (job.path / "manifest.json").write_text(json.dumps({"missed": missed}))


def begin(job: Job) -> None:
    job.path.mkdir(exist_ok=True)
    (job.path / "config.yaml").touch()


def test_the_same_jobs_have_one_folder_in_whatever_order():
    assert sweep_name("title", ["a", "b"]) == sweep_name("title", ["b", "a"]) != sweep_name("title", ["a"])


def test_finished_jobs_are_skipped_and_the_others_done(tmp_path, jobs, capsys):
    finish(jobs[1])
    launched = []

    def launch(todo):
        launched.extend(todo)
        for job in todo:
            finish(job)
        return [Ended()] * len(todo)

    assert run_sweep(tmp_path, jobs, launch, TOLD) == 0
    assert launched == [jobs[0], jobs[2], jobs[3]] and "4 jobs (1 finished)" in capsys.readouterr().out
    assert json.loads((tmp_path / "sweep.json").read_text())["jobs"] == ["a", "b", "c", "d"]
    assert run_sweep(tmp_path, jobs, lambda todo: pytest.fail("nothing is left"), TOLD) == 0


def test_the_code_is_the_highest_of_all_jobs_and_failures_are_told(tmp_path, jobs, capsys):
    def launch(todo):
        for job in todo[:2]:
            finish(job)
        finish(todo[2], "too large")
        todo[3].path.mkdir()
        todo[3].fail(Ended(2, "floor=9: too many"))
        return [Ended(), Ended(), Ended(), Ended(2, "floor=9: too many")]

    assert run_sweep(tmp_path, jobs, launch, TOLD) == 3
    said = capsys.readouterr()
    assert said.err.count("floor=9: too many") == 1 and "4/4" in said.out


def test_a_full_disk_is_told_once(tmp_path, jobs, capsys):
    full = Ended(2, "x: cannot be written (No space left on device); make room")
    assert run_sweep(tmp_path, jobs, lambda todo: [full] * 4, TOLD) == 2
    said = capsys.readouterr().err
    assert said.count("No space left") == 1 and "4 jobs could not be done, the same command goes on" in said


def test_jobs_of_a_process_that_died_are_done_once_more(jobs, capsys):
    calls = []

    def launch(todo):
        calls.append(list(todo))
        if len(calls) == 1:
            finish(todo[0])
            begin(todo[1])
            raise RuntimeError("a worker was killed")
        for job in todo:
            finish(job)
        return [Ended()] * len(todo)

    until_done(jobs, launch)
    assert calls == [jobs, jobs[2:], jobs[1:2]] and "one of these: b;" in capsys.readouterr().err


def test_a_job_that_kills_its_process_twice_has_failed_and_the_others_are_done(jobs):
    calls = []

    def launch(todo):
        calls.append(list(todo))
        for job in todo:
            begin(job)
            if job is jobs[2]:
                raise RuntimeError("killed")
            finish(job)
        return [Ended()] * len(todo)

    until_done(jobs, launch)
    assert jobs[2].ended == Ended(1, module.KILLED)
    assert all(job.ended == Ended() and job.over for job in jobs if job is not jobs[2]) and len(calls) == 3


def test_an_interrupted_sweep_says_how_far_it_came(tmp_path, jobs, capsys):
    def launch(todo):
        finish(todo[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(tmp_path, jobs, launch, TOLD)
    assert "1 of 4 jobs are finished; the same command goes on" in capsys.readouterr().err


def test_a_neighbour_of_a_job_that_kills_its_process_is_not_lost(jobs):
    def launch(todo):
        for job in todo:
            begin(job)
        if jobs[0] in todo:
            raise RuntimeError("killed")
        for job in todo:
            finish(job)
        return [Ended()] * len(todo)

    until_done(jobs, launch)
    assert jobs[0].ended == Ended(1, module.KILLED) and all(job.ended == Ended() and job.over for job in jobs[1:])


def test_a_launcher_that_gives_up_before_any_job_is_told_in_one_sentence(jobs):
    def launch(todo):
        raise RuntimeError("no such queue")

    with pytest.raises(UserError, match=r"gave up before any job began \(RuntimeError: no such queue\)"):
        until_done(jobs, launch)
