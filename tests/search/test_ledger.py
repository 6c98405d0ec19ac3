import numpy as np
import pytest

from qprune_cli.search.ledger import LIVES, RACE, Ledger, gradient_price
from tests.conftest import random_problem
from tests.search.conftest import fake_metric


def begun(images=6, noise=0.0, saved=None, evaluations=100, save=lambda ledger: None):
    problem = random_problem(0, signed=True)
    keep = np.arange(12) < 6
    ledger = Ledger(fake_metric(problem, images, noise), keep, saved, save)
    return ledger, ledger.allowance(evaluations, "test"), keep


def neighbours(keep, count=8):
    masks = np.repeat(keep[None], count, axis=0)
    for k, mask in enumerate(masks):
        mask[k % 6], mask[6 + (k + k // 6) % 6] = False, True
    return masks


def test_distinct_masks_are_measured_and_counted_once():
    ledger, allowance, keep = begun()
    with allowance:
        before, measured = ledger.spent, ledger.metric.measured
        masks = neighbours(keep)
        first = ledger.values(np.concatenate([masks, masks[:3]]), race=False)
        again = ledger.values(masks, race=False)
    assert ledger.spent - before == ledger.metric.measured - measured == len(masks)
    assert np.array_equal(first[:8], again) and np.array_equal(first[8:], again[:3])
    assert np.allclose(again, ledger.metric.measure(masks, ledger.tuned, keep).mean(axis=1))


def test_no_more_is_spent_than_allowed_and_what_is_over_is_minus_infinity():
    ledger, allowance, keep = begun(evaluations=7)
    with allowance:
        values = ledger.values(neighbours(keep))
        assert ledger.spent == 6 and not ledger.open and np.isfinite(values).tolist() == [True] * 4 + [False] * 4
        ledger.moved(neighbours(keep)[int(values.argmax())])
    assert ledger.spent == 7
    assert ledger.why == "the evaluations are spent"


def test_gradients_cost_their_price():
    ledger, allowance, keep = begun()
    with allowance:
        before = ledger.spent
        ledger.quadratic(keep, 2, 0)
    assert ledger.spent - before == gradient_price(2) == 7 and gradient_price(0) == 3


def test_the_result_is_the_incumbent_that_is_best_on_the_held_out_images():
    ledger, allowance, keep = begun(noise=3.0)
    with allowance:
        for mask in neighbours(keep):
            ledger.moved(mask)
    masks = np.concatenate([keep[None], neighbours(keep)])
    tuned, held = (ledger.metric.measure(masks, half, keep).mean(axis=1) for half in (ledger.tuned, ledger.held))
    held[tuned < tuned[0]] = -np.inf  # the result is no worse on the tuned ones
    assert np.array_equal(ledger.best.keep, masks[held.argmax()]) and ledger.best.held == pytest.approx(held.max())
    solution = ledger.solution(random_problem(0, signed=True), 0.0)
    assert np.array_equal(solution.keep, ledger.best.keep) and solution.notes["held_out"]["before"] == pytest.approx(held[0])
    assert not set(ledger.tuned) & set(ledger.held) and len(ledger.tuned) + len(ledger.held) == 6


def test_a_search_ends_when_the_held_out_images_gain_no_more():
    ledger, allowance, keep = begun()
    with allowance:
        masks = neighbours(keep, 20)
        worse = masks[ledger.metric.measure(masks, ledger.held, keep).mean(axis=1) < ledger.last.held]
        for mask in worse[:LIVES]:
            assert ledger.open
            ledger.moved(mask)
        assert not ledger.open and ledger.why == "the held-out images gained no more"


def test_racing_lets_clearly_bad_masks_go_and_keeps_those_that_may_be_better():
    ledger, allowance, keep = begun(images=8 * RACE, noise=0.01)
    masks = neighbours(keep, 12)
    with allowance:
        raced = ledger.values(masks)
    true = ledger.metric.measure(masks, ledger.tuned, keep).mean(axis=1)
    seen = np.array([ledger.known[mask.tobytes()].images for mask in masks])
    better = true > ledger.last.tuned
    assert (seen[better] == len(ledger.tuned)).all() and np.allclose(raced[better], true[better])
    assert (seen[~better] < len(ledger.tuned)).any() and (raced[~better] < ledger.last.tuned).all()


def test_what_was_saved_is_counted_but_not_measured_again():
    saved = []
    ledger, allowance, keep = begun(save=lambda ledger: saved.append(ledger.state()))
    with allowance:
        first = ledger.values(neighbours(keep))
        ledger.moved(neighbours(keep)[0])
    again, allowance, _ = begun(saved=saved[-1], save=lambda ledger: saved.append(ledger.state()))
    with allowance:
        assert len(saved[-1]["masks"]) == len(saved[-2]["masks"]) and np.array_equal(saved[-1]["best"], saved[-2]["best"])
        measured = again.metric.measured
        second = again.values(neighbours(keep))
        assert again.metric.measured == measured and np.array_equal(first, second)
        again.moved(neighbours(keep)[0])
    assert again.spent == ledger.spent and len(again.trace) == len(ledger.trace)


def test_one_image_is_both_halves():
    ledger, allowance, _ = begun(images=1)
    with allowance:
        assert ledger.last.tuned == ledger.last.held


def test_an_estimate_does_not_justify_a_move_to_where_it_is_better_than_before():
    ledger, allowance, keep = begun(images=4 * RACE)
    worse, better = neighbours(keep)[:2]
    late = np.arange(2 * RACE, 4 * RACE)  # images that a race looks at last
    ledger.metric.own[:, :] = 0
    ledger.metric.truth = random_problem(0, budget=6)
    with allowance:
        ledger.metric.own = np.zeros((4 * RACE, 12))
        gained = np.flatnonzero(better & ~keep)
        ledger.metric.own[:, gained] = 5.0  # this mask is better everywhere
        odd = np.flatnonzero(worse & ~keep)
        ledger.metric.own[:, odd] += 4.0  # that one on the first images alone
        ledger.metric.own[late[:, None], odd] = -20.0
        ledger.moved(better)
        dropped = ledger.values(worse[None])
        assert ledger.known[worse.tobytes()].images == RACE and dropped[0] > ledger.incumbents[0].tuned
        ledger.again()
        again = ledger.values(worse[None])
        assert ledger.known[worse.tobytes()].images == len(ledger.tuned) and again[0] < ledger.last.tuned
        ledger.moved(worse)
    assert ledger.best.tuned >= ledger.incumbents[0].tuned
