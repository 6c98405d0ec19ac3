"""The table of a search, from plain numbers."""

import csv

from qprune_cli.evaluate.classification import ACCURACY
from qprune_cli.evaluate.restoration import PSNR
from qprune_cli.tune.front import Row, command, terminal, write_front

WORTH = {"held_out": 31.234, "macs": 5e8, "share": 0.25, "test": 30.5, "low": 29.0, "high": 32.0}
ROWS = [Row(WORTH, "qprune run scorer=gram", "a_run"), Row(WORTH | {"share": 1.0, "macs": 2e9}, "the dense network")]


def test_a_row_shows_both_qualities_and_what_repeats_it():
    line = terminal(PSNR, ROWS).splitlines()[1].split("  ")
    assert [part.strip() for part in line if part] == [
        "31.23 dB",
        "0.250",
        "0.500 G",
        "30.50 dB",
        "[29.00, 32.00]",
        "qprune run scorer=gram",
    ]


def test_accuracy_is_shown_in_its_own_unit():
    assert "97.50 %" in terminal(ACCURACY, [Row(WORTH | {"held_out": 0.975}, "x")])


def test_files_hold_the_same_in_plain_numbers_and_say_what_they_are_worth(tmp_path):
    write_front(tmp_path, PSNR, ROWS, "2 trials")
    one, _ = csv.DictReader((tmp_path / "front.csv").open())
    assert (one["held_out_psnr"], one["test_psnr_low"], one["folder"]) == ("31.234", "29.0", "a_run")
    assert "the test images it has not seen" in (tmp_path / "front.md").read_text()


def test_words_with_spaces_are_quoted_for_the_shell():
    assert command(["limits={a: [1, 8]}"]) == "qprune run 'limits={a: [1, 8]}'"
