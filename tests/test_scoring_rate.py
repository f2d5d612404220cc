"""The threshold follows how often records alert, as far as chance might have it."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.scoring.rate import AlertRate


def test_while_as_many_alert_as_the_budget_says_the_threshold_is_the_budget():
    rate = AlertRate()
    for _ in range(50):
        rate = rate.after(1000, 10, 1000 * rate.threshold(0.01))
    assert rate.threshold(0.01) == pytest.approx(0.01)


def test_records_that_are_none_change_nothing():
    assert AlertRate(1.2).after(0, 0, 0.0) == AlertRate(1.2)


@pytest.mark.parametrize(
    ("budget", "least", "most"),
    [(0.001, 0.000667, 0.0015), (0.01, 0.00739, 0.01354), (0.05, 0.0432, 0.0579)],
)
def test_neither_a_flood_nor_silence_moves_it_further_than_chance_might(budget, least, most):
    flooded = silent = AlertRate()
    for _ in range(50):
        flooded = flooded.after(1000, 900, 1000 * budget)
        silent = silent.after(1000, 0, 1000 * budget)
    assert flooded.threshold(budget) == pytest.approx(least, rel=0.03)
    assert silent.threshold(budget) == pytest.approx(most, rel=0.03)


def test_what_a_day_moves_is_followed_so_that_each_part_of_it_keeps_the_budget():
    """By day 1.3 times as many records are under each p-value as by night 0.7 times; batches of 500."""
    random, rate, alerts, plain = np.random.default_rng(1), AlertRate(), [], []
    for batch in range(800):
        p = random.random(500) / (1.3 if batch % 100 < 50 else 0.7)
        threshold = rate.threshold(0.01)
        alerts.append(int((p < threshold).sum()))
        plain.append(int((p < 0.01).sum()))
        # what is expected is said of the budget itself
        rate = rate.after(500, alerts[-1], 500 * 0.01)

    def halves(counts):
        return np.array(counts[100:]).reshape(-1, 50).sum(axis=1) / 250

    assert np.abs(halves(alerts) - 1).mean() < 0.7 * np.abs(halves(plain) - 1).mean()
    assert np.mean(alerts[100:]) == pytest.approx(5, rel=0.05)
