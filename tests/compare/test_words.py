from dataclasses import dataclass

import pytest

from qprune_cli.compare.settings import flat
from qprune_cli.compare.words import apart, select, words
from qprune_cli.errors import UserError
from tests.compare.folders import config


@dataclass
class Configured:
    settings: dict


RUNS = [
    Configured(flat(config(solver, sparsity, seed)))
    for solver in ("greedy_taylor", "hybrid_qubo", "greedy_l1")
    for sparsity in (0.5, 0.75)
    for seed in (0, 1)
]


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (["solver=hybrid_qubo,greedy_taylor", "sparsity=0.5"], 4),
        (["solver=hybrid_qubo,sparsity=0.50"], 2),
        (["solver=hybrid_qubo", "solver=greedy_l1"], 8),
        (["scorer.beta=0.5"], 4),
        (["solver.reads=null"], 8),
        (["solver.reads=10,seed=0,1,sparsity=0.75"], 2),
        (["solver='hybrid_qubo' sparsity=0.5"], 2),
        ([], 12),
    ],
)
def test_words_choose_runs(given, count):
    assert len(select(RUNS, words(given))) == count


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["slover=hybrid_qubo"], "slover: no run has such a setting; did you mean 'solver'"),
        (["scorer.bta=0"], "did you mean 'scorer.beta'"),
        (["solver=hybrid_quob"], "solver=hybrid_quob: no run has it; did you mean 'hybrid_qubo'"),
        (["sparsity=0.6"], "Valid: 0.5, 0.75"),
        (["solver=hybrid_qubo,scorer=taylor"], "solver=hybrid_qubo scorer=taylor: each is there, but no run has all"),
        (["solver=[a"], "[a: cannot be read as a value"),
        (["greedy_taylor"], "greedy_taylor: begins without a setting"),
    ],
)
def test_what_no_run_has_is_refused(given, said):
    with pytest.raises(UserError) as caught:
        select(RUNS, words(given))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_word_that_is_a_path_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run=1").mkdir()
    assert apart(["run=1", "solver=swap", "outputs", "outputs/a=b/c"]) == (["run=1", "outputs", "outputs/a=b/c"], ["solver=swap"])
    with pytest.raises(UserError, match="give a folder with runs as well"):
        apart(["solver=swap"])
