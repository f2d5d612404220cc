"""The baselines of the benchmark, and the active protocol."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bench_help import small
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from streamad.bench.papers import baselines
from streamad.bench.papers.active import active_trees, active_trees_on_new_rows, queries_a_round
from streamad.bench.papers.baselines import for_each, on_codes
from streamad.bench.papers.deep import coding, fitted_together, scoring
from streamad.bench.papers.evaluate import Cell, judge
from streamad.bench.papers.protocols import Split, deep_sad_split
from streamad.errors import TrainingError
from streamad.estimators.detectors import AE

ALL = (
    baselines.one_class_svm,
    baselines.isolation_forest,
    baselines.kernel_density,
    baselines.neighbours,
    baselines.extra_trees,
    baselines.logistic_regression,
    baselines.trees_and_neighbours,
)
UNLABELED = ALL[:4]


def tiny(train, told, test):
    """A split of one feature."""
    return Split(
        np.array(train, dtype=float)[:, None],
        np.array(told, dtype=np.int8),
        np.array(test, dtype=float)[:, None],
        np.zeros(len(test), dtype=np.int8),
    )


@pytest.mark.parametrize("score", ALL)
def test_anomalies_far_from_the_normal_rows_score_higher(score):
    data = small(normals=300, anomalies=60, width=4)
    split = deep_sad_split(replace(data, x=np.where(data.y[:, None] == 1, abs(data.x), data.x)), 0)
    assert roc_auc_score(split.test_y, score(split, 0)) > 0.8


@pytest.mark.parametrize("score", UNLABELED)
def test_an_unsupervised_baseline_sees_no_labeled_anomaly(score):
    data = small()
    split = deep_sad_split(data, 0)
    moved = replace(split, train_x=np.where(split.train_y[:, None] == 1, 1e6, split.train_x))
    assert np.array_equal(score(split, 0), score(moved, 0))


@pytest.mark.parametrize("score", ALL)
def test_a_baseline_is_a_function_of_split_and_seed(score):
    split = deep_sad_split(small(), 1)
    assert np.array_equal(score(split, 5), score(split, 5))


@pytest.mark.parametrize("score", ALL)
def test_a_column_that_is_constant_in_training_does_no_harm(score):
    split = deep_sad_split(small(), 0)
    train, test = (np.hstack([x, np.full((len(x), 1), 7.0)]) for x in (split.train_x, split.test_x))
    assert np.isfinite(score(replace(split, train_x=train, test_x=test), 0)).all()


def test_the_neighbours_score_is_the_mean_distance_to_the_five_nearest_in_standard_deviations():
    train = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 100.0]
    split = tiny(train, [-1, -1, -1, -1, -1, -1, 1], [0.0, 5.0, 8.0])
    spread = np.std(train[:6])
    assert baselines.neighbours(split, 0) == pytest.approx(np.array([2.0, 2.0, 5.0]) / spread)


def test_neighbours_are_all_rows_where_there_are_fewer_than_five():
    assert baselines.neighbours(tiny([0.0, 2.0], [-1, -1], [0.0]), 0) == pytest.approx([1.0])


def test_ranks_of_trees_and_neighbours_are_averaged_and_without_labels_the_neighbours_decide():
    split = deep_sad_split(small(), 0)
    near, trees = baselines.neighbours(split, 0), baselines.extra_trees(split, 0)
    both = baselines.trees_and_neighbours(split, 0)
    ranks = [[(one < own).sum() + ((one == own).sum() + 1) / 2 for own in one] for one in (near, trees)]
    assert both == pytest.approx(np.mean(ranks, axis=0))
    unlabeled = replace(split, train_y=np.full_like(split.train_y, -1))
    alone = baselines.trees_and_neighbours(unlabeled, 0)
    assert np.array_equal(np.argsort(alone), np.argsort(baselines.neighbours(unlabeled, 0)))


def test_a_hybrid_sees_the_codes_and_not_the_features():
    splits = [deep_sad_split(small(), seed) for seed in range(2)]
    codes = lambda splits, _: [(s.train_x[:, :1], s.test_x[:, :1]) for s in splits]  # noqa: E731  # a stand-in
    found = on_codes(codes, for_each(baselines.neighbours))(splits, range(2))
    expected = [
        baselines.neighbours(replace(s, train_x=s.train_x[:, :1], test_x=s.test_x[:, :1]), 0) for s in splits
    ]
    assert all(map(np.array_equal, found, expected))


def test_estimators_trained_on_all_splits_at_once_are_those_trained_alone():
    splits = [deep_sad_split(small(), 0), deep_sad_split(small(anomalies=30), 1), deep_sad_split(small(), 2)]
    splits[1] = replace(splits[1], train_x=splits[1].train_x[5:], train_y=splits[1].train_y[5:])
    make = lambda seed: AE(hidden=(4, 2), epochs=2, seed=seed, device="cpu")  # noqa: E731  # as methods.py has it
    together = scoring(make)(splits, range(3))
    alone = [
        make(seed).fit(s.train_x, s.train_y).decision_function(s.test_x) for seed, s in enumerate(splits)
    ]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    shapes = [(train.shape, test.shape) for train, test in coding(make)(splits, range(3))]
    assert shapes == [((len(s.train_y), 2), (len(s.test_y), 2)) for s in splits]
    assert [one.seed for one in fitted_together(make, splits, range(3))] == [0, 1, 2]


def test_active_trees_learn_from_the_answers_what_no_outlier_score_tells():
    rng = np.random.default_rng(0)
    normal = rng.normal(0, (1, 20), (500, 2))
    anomalies = rng.normal((4, 0), (0.2, 10), (110, 2))
    data = replace(small(normals=500, anomalies=110), x=np.concatenate([normal, anomalies]))
    assert queries_a_round(data) == 10
    forest = -IsolationForest(random_state=0).fit(data.x).score_samples(data.x)
    unaided = data.y[np.argsort(-forest)[:110]].mean()
    (found,) = active_trees(data, [0], 10)
    assert unaided < 0.5
    assert found > 0.7


def test_active_trees_score_new_rows_better_with_more_answers():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, (1, 20), (400, 2)), rng.normal((4, 0), (0.2, 10), (80, 2))])
    data = replace(small(normals=400, anomalies=80), x=x)
    none, one, many = active_trees_on_new_rows(data, x, 0, 10, (0, 1, 60))
    assert np.array_equal(none, -IsolationForest(random_state=0).fit(x).score_samples(x))
    assert np.array_equal(one, none)
    assert roc_auc_score(data.y, many) > max(0.95, roc_auc_score(data.y, none))


def test_active_trees_ask_about_as_many_rows_as_there_are_anomalies_equal_rows_too():
    data = small(normals=60, anomalies=10)
    twice = replace(data, x=np.concatenate([data.x, data.x]), y=np.concatenate([data.y, data.y]))
    assert queries_a_round(twice) == 3
    assert all(
        0 <= f1 <= 1 and f1 * 20 == pytest.approx(round(f1 * 20)) for f1 in active_trees(twice, [0, 1], 3)
    )


def test_where_all_that_stands_out_is_anomalous_every_query_finds_one():
    data = small(normals=200, anomalies=15)
    assert active_trees(replace(data, x=data.x + 50 * data.y[:, None]), [0, 1], 3) == [1.0, 1.0]


def test_unknown_kinds_are_judged_by_their_share_among_as_many_scores_as_there_are_anomalies():
    split = replace(tiny([0.0], [-1], range(6)), test_y=np.array([0, 0, 0, 1, 1, 1], dtype=np.int8))
    split = replace(split, unknown=np.array([False, False, False, False, True, True]))
    cell = Cell("pollution", "kddcup-rev", "knn", 1)
    assert judge(cell, split, np.array([5.0, 0, 0, 4, 3, 0])) == 50.0
    assert judge(cell, replace(split, unknown=None), np.array([0.0, 0, 0, 1, 1, 1])) == 100.0
    assert judge(replace(cell, table="ae-sad-table-2"), replace(split, unknown=None), np.arange(6.0)) == 1.0


def test_a_score_that_is_no_number_fails_the_cell():
    split = replace(tiny([0.0], [-1], [1.0, 2.0]), test_y=np.array([0, 1], dtype=np.int8))
    with pytest.raises(TrainingError, match="it gave a score that is no finite number"):
        judge(Cell("clustered", "cardio", "knn", 1), split, np.array([1.0, np.nan]))
