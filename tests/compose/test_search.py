"""What a search asks for, and what it refuses; nothing runs."""

import pytest

from qprune_cli import cli
from qprune_cli.compose.space import Choice, Span
from qprune_cli.compose.tune import compose_search
from qprune_cli.errors import UserError
from qprune_cli.tune.tune import Tuning

pytest.importorskip("optuna")


def names(search):
    return {one.name for one in search.space}


def first(entry):
    return entry.values[0]


def test_a_list_takes_the_place_of_an_entry_and_a_plain_value_fixes_it():
    search = compose_search(["scorer=gram,hybrid", "sparsity=0.5", "rounds=range(1,4)"])
    assert next(one.values for one in search.space if one.name == "scorer") == ("gram", "hybrid")
    assert "sparsity" not in names(search) and search.given == ("sparsity=0.5",)
    assert next(one for one in search.space if one.name == "rounds").values == (1, 2, 3)


def test_a_trial_is_asked_only_for_settings_that_its_components_have():
    search = compose_search(["~tune.space", "scorer=gram,hybrid", "scorer.beta=interval(0,2)", "scorer.reach=network,layer"])
    assert search.words(first) == ("scorer=gram", "scorer.reach=network")
    assert search.words(lambda one: one.values[-1]) == ("scorer=hybrid", "scorer.beta=2")


def test_a_fixed_setting_is_given_to_the_components_that_have_it():
    search = compose_search(["~tune.space", "scorer=gram,hybrid", "scorer.beta=0.25"])
    assert search.fixed(["scorer=gram"]) == () and search.fixed(["scorer=hybrid"]) == ("scorer.beta=0.25",)
    assert search.composed(("scorer=hybrid",)).settings["scorer"]["beta"] == 0.25
    assert "tune" not in search.composed(("scorer=gram",)).settings


def test_fixing_a_component_takes_settings_of_others_out_of_the_default_space():
    assert "scorer.beta" not in names(compose_search(["scorer=gram"]))
    assert {"scorer", "scorer.reach", "solver"}.isdisjoint(names(compose_search(["solver=greedy_taylor"])))


def test_a_small_space_is_listed_in_full_and_a_continuous_one_is_not():
    few = compose_search(["~tune.space", "scorer=gram,hybrid", "scorer.reach=network,layer", "compensate=none,ridge"])
    assert len(few.grid(10)) == 6  # gram with two reaches, hybrid with none, twice
    assert few.grid(5) is None and compose_search([]).grid(1000) is None


@pytest.mark.parametrize(
    ("word", "entry"),
    [
        ("rounds=int(interval(1, 8))", Span("rounds", 1, 8, "int(interval(1, 8))", step=1, whole=True)),
        ("rounds=tag(log, int, interval(1, 8))", Span("rounds", 1, 8, "tag(log, int, interval(1, 8))", log=True, whole=True)),
        ("sparsity=range(0.1, 0.5, 0.1)", Span("sparsity", 0.1, 0.4, "range(0.1, 0.5, 0.1)", step=0.1)),
        ("loss=psnr,mse", Choice("loss", ("psnr", "mse"), "psnr,mse")),
    ],
)
def test_hydras_grammar_becomes_plain_values(word, entry):
    assert compose_search(["~tune.space", word]).space == (entry,)


def test_a_rounded_number_stays_within_its_interval():
    assert Span("a", 0.12344, 0.9, "").word(0.123444) == "a=0.123444"
    assert Span("a", 0.1, 0.9, "").word(0.123444) == "a=0.1234"


def test_a_search_of_nothing_is_refused():
    with pytest.raises(UserError, match="nothing to search"):
        cli.dispatch(["tune", "~tune.space"])


LITTLE = ["~tune.space", "loss=psnr,mse"]  # a space that is composed in a moment


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*LITTLE, "sparsty=interval(0,1)"], "did you mean 'sparsity'"),
        (["scorer.betta=interval(0,1)"], "did you mean 'scorer.beta'"),
        (["scorer.betta=1"], "did you mean 'scorer.beta'"),
        (["scorer=gram", "scorer.beta=1,2"], "scorer.beta: no such setting"),
        ([*LITTLE, "tune.trials=0"], "at least 1"),
        (["tune.trals=3"], "did you mean 'tune.trials'"),
        ([*LITTLE, "tune.name=a/b"], "gives a folder its name"),
        (["tune.trials=1,2"], "one value"),
        (["tune.space.sparsity=3"], "give the settings themselves"),
        (["solver=swap,gredy"], "did you mean 'greedy'"),
        (["solver=hybrid_qubo,swap"], "alias"),
        ([*LITTLE, "sparsity=interval(0.8,0.3)"], "the lower end comes first"),
        ([*LITTLE, "sparsity=interval(0.5,1.5)"], "sparsity=1.5"),
        ([*LITTLE, "sparsity=interval(0.1,0.2)", "sparsity=0.5"], "given twice"),
        ([*LITTLE, "floor=tag(log,interval(0,1))"], "above 0"),
        ([*LITTLE, "floor=range(3,1)"], "holds no value"),
        ([*LITTLE, "rounds=tag(foo,interval(1,2))"], "tag 'foo'"),
        ([*LITTLE, "refine=none,sequential"], "images that trials are judged on"),
        ([*LITTLE, "refine=sequential"], "images that trials are judged on"),
        ([*LITTLE, "seed=0,1"], "luck"),
        ([*LITTLE, "data.crops=1,2"], "the same images"),
        (["hydra/launcher=joblib"], "one after another"),
        (["-m"], "leave -m out"),
        (["--from", "x"], "leave --from out"),
        (["--resume=x"], "leave --resume out"),
    ],
)
@pytest.mark.slow
def test_mistakes_get_one_sentence_and_nothing_is_written(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        cli.dispatch(["tune", *words])
    assert not list(tmp_path.iterdir())


def test_the_folder_is_named_by_what_is_searched_and_not_by_how_long(tmp_path):
    few = ["scale=tiny", *LITTLE, f"output_root={tmp_path}"]
    one, same, other = (Tuning.of(compose_search([*few, *more])) for more in ([], ["tune.trials=7"], ["sparsity=0.4"]))
    assert one.folder == same.folder != other.folder
    assert one.folder.parent == tmp_path / "tune" and one.folder.name.startswith("sample_half_unet_small_")


def test_cfg_job_shows_the_space_that_is_searched(capsys, tmp_path):
    cli.dispatch(["tune", "--cfg", "job", "scorer=gram,hybrid", "sparsity=0.4", "tune.trials=3"])
    shown = capsys.readouterr().out
    assert "scorer: gram,hybrid" in shown and "sparsity: 0.4" in shown and "trials: 3" in shown
    assert "interval(0.3" not in shown
