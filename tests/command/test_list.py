"""``qprune list``."""

from qprune_cli import cli


def test_list_shows_components_with_their_purpose(capsys):
    cli.dispatch(["list", "solver"])
    out = capsys.readouterr().out
    assert "annealing" in out and "capacity-driven search" in out and "scorer" not in out.split("\n")[0]
