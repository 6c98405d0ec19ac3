import numpy as np

from qprune_cli.problem.budget import Budget
from qprune_cli.problem.problem import PruningProblem
from qprune_cli.scores import Pairs
from qprune_cli.solver.greedy import Greedy
from qprune_cli.types import FilterGroup, Layout


def test_the_lowest_scores_go_first():
    layout = Layout((FilterGroup("a", "a", 3), FilterGroup("b", "b", 3)))
    problem = PruningProblem(layout, np.array([5.0, 1, 6, 2, 9, 8]), Pairs.none(), Budget.filters(layout, 4))
    assert Greedy().solve(problem, 0).keep.tolist() == [True, False, True, False, True, True]


def test_a_layer_never_falls_below_its_floor():
    layout = Layout((FilterGroup("a", "a", 3), FilterGroup("b", "b", 3)))
    problem = PruningProblem(layout, np.array([1.0, 2, 3, 7, 8, 9]), Pairs.none(), Budget.filters(layout, 4, floor=2))
    assert Greedy().solve(problem, 0).keep.tolist() == [False, True, True, False, True, True]


def test_a_filter_whose_partner_is_gone_becomes_dear():
    layout = Layout((FilterGroup("a", "a", 3),))
    pairs = Pairs.listed(layout, np.array([0]), np.array([1]), np.array([10.0]))
    problem = PruningProblem(layout, np.array([1.0, 2.0, 3.0]), pairs, Budget.filters(layout, 1))
    assert Greedy().solve(problem, 0).keep.tolist() == [False, True, False]
