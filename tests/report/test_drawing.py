"""Scales, signs, the front: what charts are made of."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qprune_cli.compare.measure import measure_of
from qprune_cli.report.lines import MOST, Curves, Level, Series
from qprune_cli.report.marker import COUNT, marker
from qprune_cli.report.pareto import front
from qprune_cli.report.quality import Cost, Point, quality_chart
from qprune_cli.report.scale import Scale, around
from qprune_cli.report.svg import node, picture

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)
NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)


@given(POINTS)
def test_the_front_holds_whatever_no_other_point_beats(points):
    def beaten(own):
        return any(c <= own[0] and q >= own[1] and (c, q) != own for c, q in points)

    assert front(points) == [not beaten(own) for own in points]


def test_what_is_no_number_is_on_no_front_and_beats_nobody():
    assert front([(1.0, float("nan")), (float("nan"), 9.0), (2.0, 1.0)]) == [False, False, True]


@given(NUMBERS, NUMBERS)
def test_ticks_are_even_round_and_inside(a, b):
    low, high = around([a, b])
    ticks = Scale(low, high, 0, 100).ticks(5)
    assert 1 <= len(ticks) <= 12 and all(low - 1e-6 * (high - low) <= tick <= high + 1e-6 * (high - low) for tick in ticks)
    gaps = [y - x for x, y in pairwise(ticks)]
    assert not gaps or max(gaps) - min(gaps) <= 1e-6 * (high - low)


def test_values_outside_lie_at_the_end():
    scale = Scale(0, 10, 100, 0)
    assert (scale(-5), scale(0), scale(10), scale(99)) == (100, 100, 0, 0)
    assert Scale(1, 100, 0, 10, log=True).ticks() == [1.0, 10.0, 100.0]


def test_text_in_a_drawing_is_escaped():
    drawn = picture(10, 10, "a <b>", '"said" & done', node("text", "<script>"))
    assert "<script>" not in drawn and "&lt;b&gt;" in drawn and 'role="img"' in drawn and "&amp; done" in drawn


def test_every_series_has_a_sign_of_its_own():
    drawn = [marker(k, 0.0, 0.0) for k in range(2 * COUNT)]
    assert len(set(drawn)) == 2 * COUNT
    shapes = [re.search(r' d="([^"]+)"', one).group(1) for one in drawn[:COUNT]]
    assert len(set(shapes)) == COUNT


COST = Cost("macs", "MACs", "Quality against MACs", str, str)


def points(*qualities, low=0.1):
    return [Point(f"n{k}", k, {"macs": float(k)}, q, q - low, q + low) for k, q in enumerate(qualities)]


def test_a_chart_says_in_words_what_it_shows():
    chart = quality_chart(measure_of("psnr"), COST, points(28.0, 30.0), [("dense", 30.5, "dense")], ["n0", "n1"], "intervals")
    said = re.search(r"<desc[^>]*>(.*?)</desc>", chart.drawing).group(1)
    assert "n0 (28.00 dB, 0.0); n1 (30.00 dB, 1.0)" in said and "dense: 30.50 dB" in said


def test_what_is_worse_than_no_network_does_not_squeeze_the_others():
    levels = [("dense", 30.0, "dense"), ("noisy", 25.0, "ignorant")]
    chart = quality_chart(measure_of("psnr"), COST, points(10.0, 29.0, 30.0), levels, ["a", "b", "c"], "intervals")
    assert "1 network is worse than the picture goes" in chart.note
    numbers = [float(number) for number in re.findall(r'class="tick end">([\d.]+)<', chart.drawing)]
    assert min(numbers) >= 24


def test_a_line_far_away_is_named_below_the_chart():
    chart = quality_chart(measure_of("psnr"), COST, points(29.9, 30.0), [("noisy", 20.0, "ignorant")], ["a", "b"], "intervals")
    assert "Outside the picture: noisy at 20.00 dB." in chart.note


def test_a_chart_of_one_point_is_none():
    assert quality_chart(measure_of("psnr"), COST, points(30.0), [], ["a"], "") is None
    assert Curves("t", ("x", "y"), [Series("a", [1.0], [2.0], "line")]).chart("") is None
    assert Curves("t", ("x", "y"), [Series("a", [1.0, 2.0], [float("nan")] * 2, "line")]).chart("") is None


@pytest.mark.parametrize("log", [False, True])
def test_lines_take_values_of_any_sign_and_many_points(log):
    series = Series("a", np.arange(5000.0), np.linspace(-1, 1, 5000), "line s0", 0)
    chart = Curves("t", ("x", "y"), [series], [Level("bound", -0.5)], log=log).chart("said")
    assert chart.drawing.count("<path") <= MOST + 2 and ("bound" in chart.drawing) != log
