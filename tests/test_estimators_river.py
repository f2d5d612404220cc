from __future__ import annotations

import doctest
import random
import re

import numpy as np
import polars as pl
import pytest
import torch
from estimators_help import rows, small
from river import checks, compose, preprocessing
from river.evaluate import progressive_val_score
from river.metrics import RollingROCAUC

from streamad import AE, DeepSAD
from streamad.estimators import river
from streamad.estimators.river import RiverDetector


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def stream(n, seed=0):
    """Rows of five features with one anomaly in fifty."""
    numbers = random.Random(seed)
    for i in range(n):
        anomaly = i % 50 == 7
        yield {f"f{j}": numbers.gauss(0, 5 if anomaly else 1) for j in range(5)}, anomaly


def detector(kind=AE, **parameters):
    return RiverDetector(small(kind), **{"window": 50, "refit_every": 30, "grace": 20, **parameters})


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(river) == (0, 9)


def test_all_of_rivers_checks_pass(monkeypatch):
    few = {1: tuple(stream(300)), 10: tuple(stream(900))}
    monkeypatch.setattr(checks, "_yield_datasets", lambda _, scale=1: iter([few[scale]]))
    model = RiverDetector(**next(RiverDetector._unit_test_params()))
    passed = []
    for check in checks.yield_checks(model):
        check(model.clone())
        passed.append(check.__name__)
    assert {"check_clone_is_idempotent", "check_emerging_features", "check_roc_auc"} < set(passed)


def test_scores_are_0_until_the_first_fit_and_then_those_of_the_window():
    x, _ = rows(100)
    model = detector()
    table = [dict(enumerate(row)) for row in x.tolist()]
    for row in table[:19]:
        model.learn_one(row)
        assert model.score_one(table[0]) == 0.0
    model.learn_one(table[19])
    first = small(AE).fit(x[:20]).decision_function(x)
    np.testing.assert_allclose(model.score_many(table), first)
    assert model.score_one(table[3]) == pytest.approx(first[3])
    model.learn_many(table[20:49])
    np.testing.assert_allclose(model.score_many(table), first)
    model.learn_many(table[49:70])
    np.testing.assert_allclose(model.score_many(table), small(AE).fit(x[20:70]).decision_function(x))


def test_rows_one_by_one_or_in_frames_are_the_same():
    x, _ = rows(20)
    frame = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    one, many = detector(), detector()
    for row in frame.iter_rows(named=True):
        one.learn_one(row)
    many.learn_many(frame)
    np.testing.assert_array_equal(one.score_many(frame.to_dicts()), many.score_many(frame))
    assert many.score_many(frame)[0] > 0

    class Pandas:
        def to_dict(self, kind):
            assert kind == "records"
            return frame.to_dicts()

    np.testing.assert_array_equal(many.score_many(Pandas()), many.score_many(frame))


def test_a_feature_that_a_row_lacks_is_its_mean_and_a_new_one_waits_for_the_next_fit():
    model = detector()
    model.learn_many({"a": float(i), "b": 2.0 * i} for i in range(20))
    whole = model.score_one({"b": 4.0, "a": 9.5})
    for row in (
        {"b": 4.0},
        {"b": 4.0, "a": None},
        {"b": 4.0, "a": float("nan")},
        {"b": 4.0, "a": 9.5, "c": 7},
    ):
        assert model.score_one(row) == whole
    model.learn_many({"a": float(i), "c": float(i)} for i in range(30))
    assert model.score_one({"a": 9.5, "c": 7}) != model.score_one({"a": 9.5, "c": 1000})


@pytest.mark.parametrize("value", ["tcp", float("inf"), -np.inf, 1e155, 10**400, [1.0], 1j, np.zeros(2)])
def test_a_value_that_is_no_finite_number_is_named_and_none_of_its_rows_taken(value):
    model = detector(grace=1)
    said = rf"^feature 'a' is {re.escape(repr(value))}: River's transformers can make finite numbers of it$"
    with pytest.raises(ValueError, match=said):
        model.learn_many([{"a": 1.0}, {"a": value}])
    assert model.score_one({"a": 1.0}) == 0.0
    assert not model._rows


def test_labels_reach_the_estimator():
    x, y = rows(30)
    model = detector(DeepSAD, grace=30)
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        model.learn_one(dict(enumerate(row)), {1: True, 0: False, -1: None}[label])
    scores = model.score_many(dict(enumerate(row)) for row in x.tolist())
    np.testing.assert_allclose(scores, small(DeepSAD).fit(x, y).decision_function(x))
    for bad in ("bad", np.ones(2)):
        said = f"a label is True, False or None (also 1, 0 and -1), but not {bad!r}"
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            model.learn_one({0: 1.0}, bad)
    with pytest.raises(ValueError, match=r"^there are 2 rows but 1 labels$"):
        model.learn_many([{0: 1.0}] * 2, [1])


def test_what_is_no_row_is_refused():
    with pytest.raises(ValueError, match=r"^a row is a mapping from features to numbers, but not array"):
        detector().learn_many(np.zeros((2, 2)))


def test_the_missing_value_of_pandas_counts_as_missing():
    class NA:
        """As `pandas.NA`, which no extra of the tests brings along."""

        def __ne__(self, other):
            return self

        def __bool__(self):
            raise TypeError("boolean value of NA is ambiguous")

        __hash__ = None

    model = detector(grace=1)
    model.learn_many([{"a": 1.0}, {"a": NA()}])
    assert [row for row, _ in model._rows] == [{"a": 1.0}, {}]


def test_a_window_of_labeled_anomalies_alone_waits_for_other_rows():
    model = detector(DeepSAD)
    for row, _ in stream(25):
        model.learn_one(row, 1)
    assert model._fitted is None
    model.learn_one({"f0": 0.5})
    assert model._fitted is not None


def test_in_a_pipeline_labels_are_passed_on_only_when_asked_for():
    for supervised in (False, True):
        model = preprocessing.StandardScaler() | detector(DeepSAD, supervised=supervised)
        for row, anomaly in stream(60):
            model.learn_one(row, anomaly)
        assert {label for _, label in model["RiverDetector"]._rows} == ({0, 1} if supervised else {-1})


def test_pipelines_and_evaluations_of_river_take_it():
    learner = detector(AE, window=200, refit_every=200)
    model = compose.Pipeline(preprocessing.StandardScaler(), learner)
    assert progressive_val_score(stream(600), model, RollingROCAUC(window_size=500)).get() > 0.9
    frame = pl.DataFrame([row for row, _ in stream(120, seed=1)])
    batches = preprocessing.StandardScaler() | detector()
    batches.learn_many(frame)
    assert batches.score_one(next(stream(1))[0]) > 0


@pytest.mark.parametrize(
    "counts",
    [{"window": 0}, {"refit_every": 0}, {"grace": 0}, {"grace": 51}, {"window": 50.0}, {"grace": True}],
)
def test_counts_that_make_no_sense_are_refused(counts):
    with pytest.raises(
        ValueError,
        match=r"^window, refit_every and grace are integers of at least 1, and grace at most window$",
    ):
        detector(**counts)


def test_what_is_no_estimator_is_refused_when_it_is_given():
    with pytest.raises(
        ValueError, match=r"^estimator is one of streamad's, such as DeepSVDD\(\), but not None$"
    ):
        RiverDetector(None)
