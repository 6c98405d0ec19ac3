import numpy as np
import pytest
from scipy.stats import ttest_rel

from qprune_cli.compare.compare import compare
from qprune_cli.compare.statistics import FLIPS, holm, sign_flips
from qprune_cli.errors import UserError
from qprune_cli.evaluate.interval import ci95, t95
from tests.compare.folders import config, write_run

IDENTITY = np.linspace(18, 26, 40)  # forty images: enough for small p


def sweep(root, shifts, seeds=(0, 1, 2), noise=0.02, **more):
    """Runs of solvers at sparsities; ``shifts`` says how far each is from the dense network."""
    rng = np.random.default_rng(0)
    values = {}
    for (solver, sparsity), shift in shifts.items():
        for seed in seeds:
            psnr = IDENTITY + 8 + shift + rng.normal(0, noise, len(IDENTITY))
            values[solver, sparsity, seed] = psnr
            write_run(root / f"{solver}_{sparsity}_{seed}", config(solver, sparsity, seed, **more), psnr=psnr, identity=IDENTITY)
    return values


SHIFTS = {
    ("greedy_taylor", 0.5): -0.5,
    ("hybrid_qubo", 0.5): -0.4,
    ("greedy_l1", 0.5): -0.5,
    ("greedy_taylor", 0.75): -2.0,
    ("hybrid_qubo", 0.75): -2.6,
}


def by_row(compared):
    (table,) = compared.tables
    return {row.keys: row for row in table.rows}


def test_differences_are_paired_by_seed_and_image_at_the_same_sparsity(tmp_path):
    values = sweep(tmp_path, SHIFTS)
    compared = compare([tmp_path], baseline="solver=greedy_taylor")
    rows = by_row(compared)
    p = {}
    for solver, sparsity in SHIFTS:
        row = rows[solver, str(sparsity)]
        if solver == "greedy_taylor":
            assert row.is_baseline and row.against is None
            continue
        change = np.array([values[solver, sparsity, seed] - values["greedy_taylor", sparsity, seed] for seed in (0, 1, 2)])
        found = row.against
        assert found.mean == pytest.approx(change.mean()) and found.seeds == 3
        assert found.over_images == pytest.approx(ci95(change.mean(axis=0)))
        assert found.over_seeds == pytest.approx(t95(change.mean(axis=1)))
        own, other = (np.array([values[name, sparsity, seed].mean() for seed in (0, 1, 2)]) for name in (solver, "greedy_taylor"))
        p[solver, str(sparsity)] = max(ttest_rel(own, other).pvalue, sign_flips(change.mean(axis=0)[None])[0])
        assert found.p == pytest.approx(p[solver, str(sparsity)])
    order = list(p)
    for name, adjusted in zip(order, holm(np.array([p[name] for name in order])), strict=True):
        assert rows[name].against.p_holm == pytest.approx(adjusted)
    assert rows["hybrid_qubo", "0.5"].against.shown and rows["hybrid_qubo", "0.75"].against.shown
    assert not rows["greedy_l1", "0.5"].against.shown
    said = str(compared)
    assert "+0.10* [" in said and "-0.60* [" in said and " (none) [" in said and "adjusted by Holm" in said
    assert "follow from the components that are shown, see them with --by: scorer" in said


def test_one_seed_is_tested_over_images_alone_and_this_is_said(tmp_path):
    sweep(tmp_path, {("greedy_taylor", 0.5): -0.5, ("hybrid_qubo", 0.5): -0.3}, seeds=(0,))
    compared = compare([tmp_path], baseline="solver=greedy_taylor")
    found = by_row(compared)["hybrid_qubo",].against
    assert found.p == 1 / (FLIPS + 1) and np.isnan(found.over_seeds[0])
    assert "says nothing about other seeds" in str(compared)


def test_seeds_that_disagree_make_no_difference_however_many_images_there_are(tmp_path):
    for seed, shift in enumerate((0.5, -0.4, 0.2)):
        write_run(tmp_path / f"t{seed}", config("greedy_taylor", seed=seed), identity=IDENTITY)
        write_run(tmp_path / f"h{seed}", config("hybrid_qubo", seed=seed), psnr=IDENTITY + 7.5 + shift, identity=IDENTITY)
    found = by_row(compare([tmp_path], baseline="solver=greedy_taylor"))["hybrid_qubo",].against
    assert found.over_images[0] > 0 and found.p == pytest.approx(ttest_rel([0.5, -0.4, 0.2], [0, 0, 0]).pvalue) and not found.shown


def test_only_common_seeds_are_paired(tmp_path):
    sweep(tmp_path, {("greedy_taylor", 0.5): -0.5}, seeds=(0, 1))
    values = sweep(tmp_path, {("hybrid_qubo", 0.5): -0.4}, seeds=(1, 2, 3))
    found = by_row(compare([tmp_path], baseline="solver=greedy_taylor"))["hybrid_qubo",].against
    taylor = compare([tmp_path], ["solver=greedy_taylor", "seed=1"]).tables[0].rows[0].quality
    assert found.seeds == 1 and found.mean == pytest.approx(values["hybrid_qubo", 0.5, 1].mean() - taylor)


def test_no_seed_in_common_leaves_the_cell_empty_and_is_said(tmp_path):
    sweep(tmp_path, {("greedy_taylor", 0.5): -0.5}, seeds=(0,))
    sweep(tmp_path, {("hybrid_qubo", 0.5): -0.5}, seeds=(1,))
    compared = compare([tmp_path], baseline="solver=greedy_taylor")
    assert by_row(compared)["hybrid_qubo",].against is None and "no seed in common with the baseline: solver=hybrid_qubo" in str(compared)


def test_a_row_without_a_partner_at_its_sparsity_stays_empty_and_is_said(tmp_path):
    sweep(tmp_path, {("greedy_taylor", 0.5): -0.5, ("hybrid_qubo", 0.5): -0.4, ("hybrid_qubo", 0.75): -2.0})
    compared = compare([tmp_path], baseline="solver=greedy_taylor")
    assert by_row(compared)["hybrid_qubo", "0.75"].against is None
    assert "no baseline agrees in all else with: solver=hybrid_qubo sparsity=0.75" in str(compared)


def test_sparsity_is_never_ignored_even_where_every_solver_has_its_own(tmp_path):
    sweep(tmp_path, {("greedy_taylor", 0.5): -0.5, ("hybrid_qubo", 0.75): -2.0})
    assert by_row(compare([tmp_path], baseline="solver=greedy_taylor"))["hybrid_qubo", "0.75"].against is None


def test_settings_that_only_one_component_has_do_not_hinder_a_pair(tmp_path):
    sweep(tmp_path / "t", {("greedy_taylor", 0.5): -0.5})
    for reads in (10, 20):
        sweep(tmp_path / f"h{reads}", {("hybrid_qubo", 0.5): -0.4}, **{"solver.reads": reads})
    compared = compare([tmp_path], baseline="solver=greedy_taylor")
    rows = by_row(compared)
    assert rows["hybrid_qubo", "10"].against.mean == pytest.approx(0.1, abs=0.01) and rows["hybrid_qubo", "20"].against is not None
    assert "a row and its baseline differ also in solver.reads" in str(compared)


def test_several_baselines_of_a_row_are_none(tmp_path):
    for reads in (10, 20):
        sweep(tmp_path / f"h{reads}", {("hybrid_qubo", 0.5): -0.4}, **{"solver.reads": reads})
    sweep(tmp_path / "t", {("greedy_taylor", 0.5): -0.5})
    compared = compare([tmp_path], baseline="solver=hybrid_qubo")
    assert "several baselines fit, say more in --baseline: solver=greedy_taylor" in str(compared)
    exact = compare([tmp_path], baseline="solver=hybrid_qubo,solver.reads=20")
    assert by_row(exact)["greedy_taylor", ""].against.mean == pytest.approx(-0.1, abs=0.01)


def test_a_baseline_of_settings_pairs_within_each_solver(tmp_path):
    for name, shift in (("none", -0.6), ("ridge", -0.4)):
        sweep(tmp_path / name, {("greedy_taylor", 0.5): shift, ("hybrid_qubo", 0.5): shift + 0.1}, compensate=name)
    rows = by_row(compare([tmp_path], baseline="compensate=none"))
    for solver in ("greedy_taylor", "hybrid_qubo"):
        assert rows[solver, "none"].is_baseline and rows[solver, "ridge"].against.mean == pytest.approx(0.2, abs=0.01)


def test_differences_never_cross_blocks(tmp_path):
    sweep(tmp_path / "a", {("greedy_taylor", 0.5): -0.5, ("greedy_l1", 0.5): -0.6})
    for seed in (0, 1):
        write_run(tmp_path / f"h{seed}", config("hybrid_qubo", seed=seed))
    compared = compare([tmp_path], baseline="solver=greedy_taylor")
    one, two = compared.tables
    assert [row.against is None for row in one.rows] == [False, True] and two.rows[0].against is None
    assert any("no run here is a baseline" in line for line in two.lines) and "not comparable" in str(compared)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"baseline": "solver=greedy_tailor"}, "--baseline solver=greedy_tailor: no run has it; did you mean 'greedy_taylor'"),
        ({"baseline": "slover=x"}, "--baseline slover: no run has such a setting"),
        ({"baseline": "solver=greedy_taylor,sparsity=0.75"}, "no run has all of them"),
        ({"baseline": "seed=0"}, "every row holds other runs as well"),
        ({"baseline": "solver=greedy_taylor", "by": "sparsity"}, "every row holds other runs as well; add it to --by"),
    ],
)
def test_a_baseline_that_is_no_row_is_refused(asked, said, tmp_path):
    sweep(tmp_path, {("greedy_taylor", 0.5): -0.5, ("hybrid_qubo", 0.5): -0.4, ("hybrid_qubo", 0.75): -2.0})
    with pytest.raises(UserError) as caught:
        compare([tmp_path], **asked)
    assert said in str(caught.value)


def test_rows_that_hold_runs_of_other_settings_than_their_baseline_are_not_tested(tmp_path):
    sweep(tmp_path / "one", {("greedy_taylor", 0.5): -0.5, ("hybrid_qubo", 0.5): -0.4}, floor=1)
    sweep(tmp_path / "four", {("hybrid_qubo", 0.5): -1.4}, floor=4)
    compared = compare([tmp_path], by="solver,sparsity", baseline="solver=greedy_taylor")
    assert by_row(compared)["hybrid_qubo", "0.5"].against is None
    assert "hold runs of other settings, add these to --by: solver=hybrid_qubo sparsity=0.5 (floor)" in str(compared)
    assert by_row(compare([tmp_path], ["floor=1"], by="solver,sparsity", baseline="solver=greedy_taylor"))["hybrid_qubo", "0.5"].against
