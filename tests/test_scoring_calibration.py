"""Calibration: scores to tail probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.scoring.calibration import SMALLEST, Calibration, threshold_for


def test_a_p_value_is_the_share_of_the_reference_that_scores_at_least_as_high():
    calibration = Calibration.fit(np.arange(1.0, 1000))
    assert calibration.p_values(np.array([0.0, 1, 500, 900])).tolist() == [1.0, 1.0, 0.501, 0.101]


@pytest.mark.parametrize("draw", ["exponential", "standard_normal", "lognormal"])
def test_new_records_of_the_same_kind_fall_under_a_threshold_as_often_as_it_says(draw):
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(40):
        calibration = Calibration.fit(getattr(rng, draw)(size=4000))
        p_values = calibration.p_values(getattr(rng, draw)(size=20_000))
        shares.append([(p_values < threshold).mean() for threshold in (0.1, 0.01, 0.001)])
    assert np.mean(shares, axis=0) == pytest.approx([0.1, 0.01, 0.001], rel=0.35)


@pytest.mark.parametrize("draw", ["exponential", "random"])
def test_a_reference_of_twenty_records_keeps_a_budget_of_a_twentieth_roughly(draw):
    rng = np.random.default_rng(4)
    fits = [Calibration.fit(getattr(rng, draw)(size=20)) for _ in range(400)]
    share = np.mean([(fit.p_values(getattr(rng, draw)(size=200)) < 0.05).mean() for fit in fits])
    assert 0.025 < share < 0.1


def test_higher_scores_never_get_higher_p_values_and_the_far_tail_keeps_its_order():
    rng = np.random.default_rng(2)
    calibration = Calibration.fit(rng.exponential(size=500))
    scores = np.linspace(0, 25, 2000)
    p_values = calibration.p_values(scores)
    assert (np.diff(p_values) <= 0).all()
    beyond = p_values[scores > calibration.reference[-1]]
    assert (np.diff(beyond) < 0).all()


@pytest.mark.parametrize("reference", [[1.0], [2.0] * 50, [0.0, 1.0], [*([1.0] * 99), 5.0]])
def test_degenerate_references_give_probabilities_all_the_same(reference):
    p_values = Calibration.fit(np.array(reference)).p_values(np.array([-1e300, 0, 1, 2, 5, 6, 1e300]))
    assert ((p_values >= SMALLEST) & (p_values <= 1)).all()
    assert (np.diff(p_values) <= 0).all()


def test_a_threshold_is_the_budget_as_a_share_of_the_records():
    assert threshold_for(0.02, None) == 0.02
    assert threshold_for("20/h", 40_000) == 0.0005
    assert threshold_for("20/h", 10) == 0.5
    assert threshold_for("20/h", None) == 0.001
