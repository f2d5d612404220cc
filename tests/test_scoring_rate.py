"""The threshold follows how often records alert, as far as chance might have it."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.scoring.rate import AlertRate

BUDGETS = (0.001, 0.01, 0.05)


def fed(rate, p_values, budget):
    """After batches of p-values, each judged by the threshold before it."""
    for p in p_values:
        threshold = rate.threshold(budget)
        rate = rate.after(p < threshold, threshold, budget)
    return rate


@pytest.mark.parametrize("budget", BUDGETS)
def test_while_as_many_alert_as_the_budget_says_the_threshold_is_about_the_budget(budget):
    even = np.random.default_rng(1).permutation((np.arange(50_000) + 0.5) / 50_000)
    rates, rate = [], AlertRate()
    for p in np.split(np.tile(even, 4), 400):
        rate = fed(rate, [p], budget)
        rates.append(rate.threshold(budget))
    assert np.mean(rates[100:]) == pytest.approx(budget, rel=0.1)


def test_records_that_are_none_change_nothing():
    assert AlertRate(1.2).after(np.zeros(0, bool), 0.01, 0.01) == AlertRate(1.2)


@pytest.mark.parametrize("budget", BUDGETS)
def test_it_does_not_matter_how_records_under_one_threshold_are_cut_into_batches(budget):
    alerted = np.random.default_rng(2).random(20_000) < budget
    whole, parts = AlertRate().after(alerted, budget, budget), AlertRate()
    for part in np.split(alerted, [1, 700, 701, 9000, 15_500]):
        parts = parts.after(part, budget, budget)
    assert parts.records == whole.records == 20_000 % 512
    assert parts.threshold(budget) == pytest.approx(whole.threshold(budget), rel=1e-9)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_flood_is_not_corrected_for(budget):
    """A tenth of the records, as long as that is far above the budget, alert for 5,000 records."""
    flood = np.zeros(5000, bool)
    flood[:: 2 if budget > 0.01 else 10] = True
    before = AlertRate(1.3)
    assert before.after(flood, before.threshold(budget), budget).threshold(budget) == before.threshold(budget)


@pytest.mark.parametrize(("budget", "most"), [(0.0001, 2.0), (0.001, 3.0), (0.01, 3.0), (0.05, 1.4)])
def test_no_more_than_a_fiftieth_of_all_records_is_corrected_for_and_less_where_few_alerts_tell(budget, most):
    random = np.random.default_rng(3)
    many = fed(AlertRate(), (random.random(500) / 5 for _ in range(100)), budget)
    silent = fed(AlertRate(), (np.ones(500) for _ in range(100)), budget)
    assert budget < silent.threshold(budget) < most * budget
    assert budget / most < many.threshold(budget) < budget


def test_a_new_budget_is_corrected_by_no_more_than_its_own_share():
    assert AlertRate(3.0).threshold(0.2) == pytest.approx(0.2 / 1.1, rel=1e-3)
    assert AlertRate(1 / 3).threshold(0.2) == pytest.approx(0.2 * 1.1, rel=1e-3)


def test_what_a_day_moves_is_followed_so_that_each_part_of_it_keeps_the_budget():
    """By day 1.3 times as many records are under each p-value as by night 0.7 times; batches of 500."""
    random, rate, alerts, plain = np.random.default_rng(1), AlertRate(), [], []
    for batch in range(800):
        p = random.random(500) / (1.3 if batch % 100 < 50 else 0.7)
        threshold = rate.threshold(0.01)
        alerts.append(int((p < threshold).sum()))
        plain.append(int((p < 0.01).sum()))
        rate = rate.after(p < threshold, threshold, 0.01)

    def halves(counts):
        return np.array(counts[100:]).reshape(-1, 50).sum(axis=1) / 250

    assert np.abs(halves(alerts) - 1).mean() < 0.7 * np.abs(halves(plain) - 1).mean()
    assert np.mean(alerts[100:]) == pytest.approx(5, rel=0.05)
