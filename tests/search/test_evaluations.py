import numpy as np
import pytest

from qprune_cli.search.evaluations import LIVES, RACE, EvaluationLog, gradient_price
from tests.conftest import random_problem
from tests.search.conftest import fake_metric


def begun(images=6, noise=0.0, saved=None, evaluations=100, save=lambda log: None):
    problem = random_problem(0, signed=True)
    keep = np.arange(12) < 6
    log = EvaluationLog(fake_metric(problem, images, noise), keep, saved, save)
    return log, log.allowance(evaluations, "test"), keep


def neighbours(keep, count=8):
    masks = np.repeat(keep[None], count, axis=0)
    for k, mask in enumerate(masks):
        mask[k % 6], mask[6 + (k + k // 6) % 6] = False, True
    return masks


def test_distinct_masks_are_measured_and_counted_once():
    log, allowance, keep = begun()
    with allowance:
        before, measured = log.spent, log.metric.measured
        masks = neighbours(keep)
        first = log.values(np.concatenate([masks, masks[:3]]), race=False)
        again = log.values(masks, race=False)
    assert log.spent - before == log.metric.measured - measured == len(masks)
    assert np.array_equal(first[:8], again) and np.array_equal(first[8:], again[:3])
    assert np.allclose(again, log.metric.measure(masks, log.tuned_images, keep).mean(axis=1))


def test_no_more_is_spent_than_allowed_and_what_is_over_is_minus_infinity():
    log, allowance, keep = begun(evaluations=7)
    with allowance:
        values = log.values(neighbours(keep))
        assert log.spent == 6 and not log.open and np.isfinite(values).tolist() == [True] * 4 + [False] * 4
        log.move_to(neighbours(keep)[int(values.argmax())])
    assert log.spent == 7
    assert log.stop_reason == "the evaluations are spent"


def test_gradients_cost_their_price():
    log, allowance, keep = begun()
    with allowance:
        before = log.spent
        log.quadratic(keep, 2, 0)
    assert log.spent - before == gradient_price(2) == 7 and gradient_price(0) == 3


def test_the_result_is_the_incumbent_that_is_best_on_the_held_out_images():
    log, allowance, keep = begun(noise=3.0)
    with allowance:
        for mask in neighbours(keep):
            log.move_to(mask)
    masks = np.concatenate([keep[None], neighbours(keep)])
    tuned, held_out = (log.metric.measure(masks, half, keep).mean(axis=1) for half in (log.tuned_images, log.held_out_images))
    held_out[tuned < tuned[0]] = -np.inf  # the result is no worse on the tuned ones
    assert np.array_equal(log.best.keep, masks[held_out.argmax()]) and log.best.held_out == pytest.approx(held_out.max())
    solution = log.solution(random_problem(0, signed=True), 0.0)
    assert np.array_equal(solution.keep, log.best.keep) and solution.notes["held_out"]["before"] == pytest.approx(held_out[0])
    assert not set(log.tuned_images) & set(log.held_out_images) and len(log.tuned_images) + len(log.held_out_images) == 6


def test_a_search_ends_when_the_held_out_images_gain_no_more():
    log, allowance, keep = begun()
    with allowance:
        masks = neighbours(keep, 20)
        worse = masks[log.metric.measure(masks, log.held_out_images, keep).mean(axis=1) < log.last.held_out]
        for mask in worse[:LIVES]:
            assert log.open
            log.move_to(mask)
        assert not log.open and log.stop_reason == "the held-out images gained no more"


def test_racing_lets_clearly_bad_masks_go_and_keeps_those_that_may_be_better():
    log, allowance, keep = begun(images=8 * RACE, noise=0.01)
    masks = neighbours(keep, 12)
    with allowance:
        raced = log.values(masks)
    true = log.metric.measure(masks, log.tuned_images, keep).mean(axis=1)
    seen = np.array([log.records[mask.tobytes()].images for mask in masks])
    better = true > log.last.tuned
    assert (seen[better] == len(log.tuned_images)).all() and np.allclose(raced[better], true[better])
    assert (seen[~better] < len(log.tuned_images)).any() and (raced[~better] < log.last.tuned).all()


def test_what_was_saved_is_counted_but_not_measured_again():
    saved = []
    log, allowance, keep = begun(save=lambda log: saved.append(log.state()))
    with allowance:
        first = log.values(neighbours(keep))
        log.move_to(neighbours(keep)[0])
    again, allowance, _ = begun(saved=saved[-1], save=lambda log: saved.append(log.state()))
    with allowance:
        assert len(saved[-1]["masks"]) == len(saved[-2]["masks"]) and np.array_equal(saved[-1]["best"], saved[-2]["best"])
        measured = again.metric.measured
        second = again.values(neighbours(keep))
        assert again.metric.measured == measured and np.array_equal(first, second)
        again.move_to(neighbours(keep)[0])
    assert again.spent == log.spent and len(again.trace) == len(log.trace)


def test_one_image_is_both_halves():
    log, allowance, _ = begun(images=1)
    with allowance:
        assert log.last.tuned == log.last.held_out


def test_an_estimate_does_not_justify_a_move_to_where_it_is_better_than_before():
    log, allowance, keep = begun(images=4 * RACE)
    worse, better = neighbours(keep)[:2]
    late = np.arange(2 * RACE, 4 * RACE)  # images that a race looks at last
    log.metric.image_terms[:, :] = 0
    log.metric.truth = random_problem(0, budget=6)
    with allowance:
        log.metric.image_terms = np.zeros((4 * RACE, 12))
        gained = np.flatnonzero(better & ~keep)
        log.metric.image_terms[:, gained] = 5.0  # this mask is better everywhere
        odd = np.flatnonzero(worse & ~keep)
        log.metric.image_terms[:, odd] += 4.0  # that one on the first images alone
        log.metric.image_terms[late[:, None], odd] = -20.0
        log.move_to(better)
        dropped = log.values(worse[None])
        assert log.records[worse.tobytes()].images == RACE and dropped[0] > log.incumbents[0].tuned
        log.restart()
        again = log.values(worse[None])
        assert log.records[worse.tobytes()].images == len(log.tuned_images) and again[0] < log.last.tuned
        log.move_to(worse)
    assert log.best.tuned >= log.incumbents[0].tuned
