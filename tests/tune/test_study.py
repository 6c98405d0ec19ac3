"""The record of a search, without any run."""

import sys

import pytest

from qprune_cli.compose.space import Choice, Span
from qprune_cli.errors import UserError
from qprune_cli.tune.draw import load_optuna, suggest
from qprune_cli.tune.study import STUDY, Study

pytest.importorskip("optuna")
SPACE = (Choice("solver", ("swap", "greedy"), ""), Span("sparsity", 0.3, 0.8, ""))
DEFINITION = {"sparsity": "interval(0.3, 0.8)"}


def values(trial):
    return [suggest(trial, entry) for entry in SPACE]


def finish(study, trial, held_out, macs):
    values(trial)
    study.tell(trial, {"held_out": held_out, "macs": macs}, folder=str(trial.number))


def test_trials_count_in_all_and_the_front_is_what_nothing_beats(tmp_path):
    study = Study(tmp_path, DEFINITION, 0)
    for held_out, macs in [(30.0, 5), (31.0, 9), (29.0, 6)]:
        finish(study, study.next(3), held_out, macs)
    assert study.next(3) is None
    assert [one.values for one in study.front] == [[30.0, 5.0], [31.0, 9.0]]
    study.close()
    again = Study(tmp_path, DEFINITION, 0)
    assert again.next(3) is None and again.next(4) is not None
    again.close()


def test_a_failed_trial_counts_and_is_not_on_the_front(tmp_path):
    study = Study(tmp_path, DEFINITION, 0)
    study.fail(study.next(1), error="no", code=2, folder="", words=[])
    assert study.next(1) is None and not study.front
    study.close()


def test_what_a_process_that_is_gone_has_left_is_tried_again_with_the_same_values(tmp_path):
    study = Study(tmp_path, DEFINITION, 0)
    left = values(study.next(1))
    study.close()  # the lock of a process that is killed goes as well
    again = Study(tmp_path, DEFINITION, 0)
    trial = again.next(1)
    assert trial.number == 1 and values(trial) == left
    assert not again.over
    again.close()


def test_two_processes_take_different_trials_and_no_more_than_were_asked_for(tmp_path):
    one, two = Study(tmp_path, DEFINITION, 0), Study(tmp_path, DEFINITION, 0)
    first, second = one.next(2), two.next(2)
    assert first.number != second.number and values(first) != values(second)
    assert one.next(2) is None and two.next(2) is None
    one.close()
    two.close()


def test_a_grid_is_queued_once(tmp_path):
    grid = [{"solver": "swap", "sparsity": 0.3}, {"solver": "greedy", "sparsity": 0.3}]
    study = Study(tmp_path, DEFINITION, 0)
    study.queue(grid)
    study.queue(grid)
    assert values(study.next(9)) == ["swap", 0.3] and values(study.next(9)) == ["greedy", 0.3]
    study.queue(grid)
    assert values(study.next(9)) not in (["swap", 0.3], ["greedy", 0.3])
    study.close()


def test_another_search_in_the_same_folder_is_refused(tmp_path):
    Study(tmp_path, DEFINITION, 0).close()
    with pytest.raises(UserError, match=r"began otherwise \(sparsity: interval\(0.3, 0.8\)\)"):
        Study(tmp_path, {"sparsity": "interval(0.3, 0.9)"}, 0)


def test_a_damaged_study_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / STUDY).write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="damaged"):
        Study(tmp_path, DEFINITION, 0)
    assert (tmp_path / STUDY).read_bytes() == b"no database" * 100


def test_without_optuna_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'qprune\[tune\]'"):
        load_optuna()
