"""Calibration: scores to tail probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.scoring.calibration import SMALLEST, Calibration, threshold_for


def test_a_p_value_counts_the_reference_that_scores_higher_and_is_interpolated_in_between():
    calibration = Calibration.fit(np.arange(1.0, 1000))
    assert calibration.p_values(np.array([0.0, 1, 500, 500.5, 998, 999])).tolist() == pytest.approx(
        [1.0, 0.999, 0.5, 0.4995, 0.002, 0.001]
    )


@pytest.mark.parametrize("draw", ["exponential", "standard_normal", "lognormal", "random"])
@pytest.mark.parametrize("rows", [20, 1000, 4000])
def test_new_records_of_the_same_kind_fall_under_a_threshold_as_often_as_it_says(draw, rows):
    rng = np.random.default_rng(1)
    thresholds = [share for share in (0.1, 0.01, 0.001) if share * (rows + 1) > 1]
    shares = []
    for _ in range(300):
        calibration = Calibration.fit(getattr(rng, draw)(size=rows))
        p_values = calibration.p_values(getattr(rng, draw)(size=4000))
        shares.append([(p_values < threshold).mean() for threshold in thresholds])
    assert np.mean(shares, axis=0) == pytest.approx(thresholds, rel=0.15)


def test_a_reference_that_holds_anomalies_itself_keeps_the_budget_too():
    rng = np.random.default_rng(5)

    def polluted(rows):
        return np.where(rng.random(rows) < 0.01, 50 + rng.random(rows), rng.exponential(size=rows))

    shares = [(Calibration.fit(polluted(1000)).p_values(polluted(10_000)) < 0.001).mean() for _ in range(200)]
    assert 0.0007 < np.mean(shares) < 0.0013


def test_a_flood_of_one_record_that_the_reference_knows_is_rare_no_more():
    calibration = Calibration.fit(np.array([*range(900), *([2000.0] * 100)]))
    assert calibration.p_values(np.array([2000.0])) > 0.04


def test_higher_scores_never_get_higher_p_values_and_the_far_tail_keeps_its_order():
    rng = np.random.default_rng(2)
    calibration = Calibration.fit(rng.exponential(size=500))
    scores = np.linspace(0, 25, 2000)
    p_values = calibration.p_values(scores)
    assert (np.diff(p_values) <= 0).all()
    beyond = p_values[scores > calibration.scores[-1]]
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


def test_a_score_that_stands_for_many_counts_as_many():
    rng = np.random.default_rng(3)
    scores, weights = rng.exponential(size=300), rng.integers(1, 9, 300).astype(float)
    weighted, repeated = Calibration.fit(scores, weights), Calibration.fit(scores.repeat(weights.astype(int)))
    assert weighted.scores.tolist() == repeated.scores.tolist()
    assert weighted.shares == pytest.approx(repeated.shares)
