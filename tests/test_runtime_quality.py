"""The quality counts of a replay: bounded memory, and still the areas that everybody else computes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from streamad.runtime.counters import Quality


@pytest.fixture
def records():
    rng = np.random.default_rng(3)
    truth = (rng.random(60_000) < 0.03).astype(np.int8)
    return np.clip(10 ** -(rng.exponential(size=60_000) * (1 + 2 * truth)), 1e-12, 1), truth


def counted(p_values, truth, threshold=0.01, parts=7):
    quality = Quality()
    for rows in np.array_split(np.arange(len(truth)), parts):
        quality.add(p_values[rows], truth[rows], threshold)
    return quality


def test_areas_equal_those_of_scikit_learn_and_recall_counts_the_alerts(records):
    p_values, truth = records
    report = counted(p_values, truth).report()
    assert report["auroc"] == pytest.approx(roc_auc_score(truth, -p_values), abs=0.001)
    assert report["average_precision"] == pytest.approx(average_precision_score(truth, -p_values), abs=0.005)
    assert report["recall_at_budget"] == pytest.approx((p_values[truth == 1] < 0.01).mean(), abs=1e-4)


def test_records_without_truth_or_score_do_not_count(records):
    p_values, truth = records
    more = np.concatenate([p_values, np.full(100, 1e-9), np.full(50, np.nan)])
    unknown = np.concatenate([truth, np.full(100, -1), np.ones(50)]).astype(np.int8)
    assert counted(more, unknown).report() == counted(p_values, truth).report()


def test_with_one_class_only_there_is_nothing_to_report(records):
    p_values, truth = records
    assert counted(p_values, np.zeros_like(truth)).report() == {}


def test_the_state_brings_everything_back_and_a_copy_goes_its_own_way(records):
    quality = counted(*records)
    assert Quality.from_state(quality.state()).report() == quality.report()
    copy, before = quality.copy(), quality.report()
    copy.add(np.array([1e-9]), np.array([1], np.int8), 0.01)
    assert quality.report() == before
