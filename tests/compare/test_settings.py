from qprune_cli.compare.settings import flat, plain, spelled
from tests.compare.folders import config


def test_spellings_of_a_value_are_one_text():
    assert spelled("0.50") == plain(0.5) and spelled("true") == plain(True) and spelled("null") == plain(None) == spelled("~")
    assert spelled("1e-5") == plain(1.0e-05) and spelled("[1.0,5]") == plain([1, 5]) and spelled("2") == plain(2.0)
    assert len({spelled("1"), spelled("true"), spelled("null"), spelled("none")}) == 4


def test_a_role_stands_for_its_component_and_sections_are_dotted():
    settings = flat(config("hybrid_qubo", 0.5, 1, **{"limits.encoder": [4, 8]}))
    assert settings["solver"] == "hybrid_qubo" and settings["scorer"] == "hybrid" and settings["scorer.beta"] == "0.5"
    assert settings["data.camera.read"] == "0.1" and settings["limits.encoder"] == "[4, 8]" and "components" not in settings


def test_a_role_without_settings_keeps_its_name():
    assert flat({"refine": None, "components": {"refine": "none"}}) == {"refine": "none"}
