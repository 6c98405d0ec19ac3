import dimod
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qprune_cli.problem.bqm import CapacityModel
from tests.conftest import all_masks, random_problem


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.booleans(), st.floats(-3, 3))
def test_energy_is_damage_plus_capacity_and_decoding_brings_the_mask_back(seed, signed, alpha):
    problem = random_problem(seed, widths=(3, 4), budget=3, signed=signed)
    model = CapacityModel(problem)
    keeps, energies = model.decode(dimod.ExactSolver().sample(model.bqm(alpha)))
    assert np.allclose(energies, problem.damage(keeps) + alpha * (~keeps).sum(axis=1))
    assert (np.diff(energies) >= 0).all()
    assert len(np.unique(keeps, axis=0)) == len(all_masks(7))


@given(st.integers(0, 10**6), st.booleans())
def test_bracket_drops_everything_and_keeps_everything(seed, signed):
    problem = random_problem(seed, widths=(3, 4), budget=3, signed=signed)
    model = CapacityModel(problem)
    low, high = model.bracket()
    masks = all_masks(7)
    for alpha, kept in ((low, 0), (high, 7)):
        energy = problem.damage(masks) + alpha * (~masks).sum(axis=1)
        assert masks[energy.argmin()].sum() == kept
