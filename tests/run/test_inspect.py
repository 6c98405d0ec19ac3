import re

import pytest

from qprune_cli import cli
from qprune_cli.errors import UserError
from tests.runs import SMOKE, TINY


def inspected(capsys, *overrides):
    assert cli.dispatch(["inspect", *overrides]) == 0
    return capsys.readouterr().out


def test_inspect_says_what_can_go_what_stays_and_what_can_be_reached(capsys, tmp_path):
    said = inspected(capsys, "scale=tiny", f"output_root={tmp_path / 'out'}")
    assert "encoder.1.1.conv        8     7  encoder.2.0.conv, decoder.0.conv (ReLU, interpolate, MaxPool2d, add)" in said
    assert "3 filters of head stay because it is the network's output" in said
    assert "64 filters can go, 27 of 64 are dead; 3 filters stay" in said
    assert "sparsity=0.5 keeps 32" in said and "sparsity 0 to 0.875" in said and "4,339" in said and "shape [3, 256, 256]" in said
    assert not (tmp_path / "out").exists(), "nothing is written"


@pytest.mark.slow
def test_the_largest_sparsity_that_inspect_names_is_reached(capsys, tmp_path):
    assert "sparsity 0 to 0.750" in inspected(capsys, "scale=tiny", "floor=2")
    assert cli.dispatch([*SMOKE, "compensate=none", "floor=2", "sparsity=0.75", f"output_root={tmp_path}"]) == 0
    with pytest.raises(UserError, match=r"lower sparsity to at most 0.750"):
        cli.dispatch([*SMOKE, "floor=2", "sparsity=0.77", f"output_root={tmp_path}"])


def test_inspect_shows_groups_and_named_layers(capsys):
    said = inspected(capsys, "scale=tiny", "granularity=group", "model.keep_layers=['decoder.0.*']")
    assert re.search(r"encoder.1.1.conv +together with these", said)
    assert "8 filters of decoder.0.conv stay because model.keep_layers names it" in said
    assert "56 filters can go in 40 groups that live or die together" in said


def test_inspect_shows_the_halves_of_a_gate(capsys):
    said = inspected(capsys, "model=nafnet", "model.width=4", "model.encoder=[1]", "model.middle=1", "model.decoder=[1]", "data.crops=2")
    assert "without weights nobody knows which are dead" in said
    said = inspected(capsys, "model=nafnet_narrow", "granularity=group", "data.crops=2")
    assert re.search(r"encoder.0.0.conv1\[0:16\] +16 +\d+  encoder", said)
    assert re.search(r"encoder.0.0.conv1\[16:32\] +together with these", said)


def test_a_misspelt_layer_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"model.keep_layers: no layer of this network matches 'decodr.0'; did you mean 'decoder"):
        cli.dispatch([*TINY, "model.keep_layers=[decodr.0]", f"output_root={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()
