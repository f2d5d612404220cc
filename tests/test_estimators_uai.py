"""UAI: a base whose codes labels shape, and a head that learns each label at once."""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest
import torch
from estimators_help import altered, complaint, fitted, rows, small

from streamad import UAI


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def path(tmp_path):
    """A saved UAI."""
    fitted(UAI).save(tmp_path / "model")
    return tmp_path / "model"


def head(detector):
    """Everything that the head knows."""
    return {name: array.tolist() for name, array in detector.head_.tensors().items()}


def calls(action):
    """How many functions of Python and C an action calls."""
    count = 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def test_labels_of_a_fit_and_of_partial_fits_are_learned_alike_where_only_the_head_learns():
    x, y = rows()
    at_once = small(UAI, joint=False).fit(x, y)
    later = small(UAI, joint=False).fit(x[y != 1])
    before = later.base_.transform(x)
    later.partial_fit(x, y)
    one_by_one = small(UAI, joint=False).fit(x[y != 1])
    for row, label in zip(x, y, strict=True):
        one_by_one.partial_fit(row[np.newaxis], [label])
    assert head(at_once) == head(later) == head(one_by_one)
    assert head(at_once)["counts"] == [3, 3]
    np.testing.assert_array_equal(later.base_.transform(x), before)
    np.testing.assert_array_equal(at_once.decision_function(x), later.decision_function(x))


def test_a_label_costs_the_same_however_many_came_before():
    x, _ = rows()
    detector = small(UAI).fit(x)
    detector.partial_fit(x[:1], [1])
    costs = []
    for _ in range(3):
        costs.append(calls(lambda: detector.partial_fit(x[:1], [1])))
        size = {name: np.shape(array) for name, array in head(detector).items()}
        detector.partial_fit(x, np.arange(60) % 2)
    assert len(set(costs)) == 1
    assert {name: np.shape(array) for name, array in head(detector).items()} == size
    assert head(detector)["counts"] == [4 + 90, 90]


def test_before_the_first_label_the_mean_log_odds_rank_as_the_base_and_doubt_only_brings_them_nearer_to_0():
    x, _ = rows(300)
    detector = small(UAI).fit(x)
    weights = detector.head_.mean
    mean = detector.features(x) @ weights[:-1] + weights[-1]
    assert (np.diff(mean[detector.base_.decision_function(x).argsort()]) >= 0).all()
    odds = detector.decision_function(x)
    assert (np.sign(odds) == np.sign(mean)).all()
    assert (np.abs(odds) < np.abs(mean)).all()


def test_rows_without_labels_change_nothing():
    x, y = rows()
    none = np.full(60, -1)
    assert head(small(UAI).fit(x, none)) == head(small(UAI).fit(x))
    detector = fitted(UAI)
    learned = head(detector)
    for unlabeled in (None, none):
        assert head(detector.partial_fit(x, unlabeled)) == learned
    np.testing.assert_array_equal(
        small(UAI).fit(x, none).decision_function(x), small(UAI).fit(x).decision_function(x)
    )
    assert head(detector.partial_fit(x, y)) != learned


@pytest.mark.parametrize("label", [0, 1])
def test_labels_shape_the_codes_jointly_and_leave_the_base_alone_otherwise(label):
    x, y = rows()
    y = np.where(y == label, y, -1)
    plain = small(UAI).base.fit(x, y).transform(x)
    alone, jointly = (small(UAI, joint=joint).fit(x, y) for joint in (False, True))
    np.testing.assert_array_equal(alone.base_.transform(x), plain)
    assert (jointly.base_.transform(x) != plain).any()
    assert not hasattr(jointly.base, "losses_")


def test_a_label_moves_its_row_to_its_side():
    x, _ = rows()
    detector = small(UAI).fit(x)
    for label, side in ((1, 1), (0, -1)):
        before = detector.anomaly_probability(x[20:21])
        after = detector.partial_fit(x[20:21], [label]).anomaly_probability(x[20:21])
        assert side * (after - before) > 0
    odds = detector.decision_function(x)
    np.testing.assert_allclose(detector.anomaly_probability(x), 1 / (1 + np.exp(-odds)))


def test_the_first_partial_fit_is_a_fit():
    x, y = rows()
    assert head(small(UAI).partial_fit(x, y)) == head(small(UAI).fit(x, y))


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (rows()[0], [2] * 60, r"^y may hold 1 \(anomaly\), 0 \(normal\) and -1 \(unlabeled\), but not 2$"),
        (rows(width=3)[0], rows()[1], r"^X has 3 features, but UAI is expecting 4 features as input.$"),
        (np.full((1, 4), np.nan), [1], r"^X holds NaN, a missing value, in row 0, column 0: "),
    ],
)
def test_what_cannot_be_learned_leaves_the_head_as_it_was(x, y, said):
    detector = fitted(UAI)
    learned = head(detector)
    with pytest.raises(ValueError, match=said):
        detector.partial_fit(x, y)
    assert head(detector) == learned


def test_columns_of_a_frame_are_the_same_for_every_label():
    x, y = rows()
    frame = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    detector = small(UAI).fit(frame, y).partial_fit(frame, y)
    assert head(detector) == head(fitted(UAI).partial_fit(x, y))
    with pytest.raises(ValueError, match=r"^The feature names should match"):
        detector.partial_fit(frame.rename({"b": "e"}), y)


def test_a_loaded_one_goes_on_learning(path):
    x, y = rows()
    again = UAI.load(path).partial_fit(x, 1 - abs(y))
    assert head(again) == head(fitted(UAI).partial_fit(x, 1 - abs(y)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _, a: a.update({"head.mean": a["head.mean"][1:]}), "head.mean does not fit"),
        (lambda _, a: a["head.mean"].__setitem__(0, np.nan), "head.mean does not fit"),
        (lambda _, a: a["head.mean"].__setitem__(0, np.inf), "head.mean does not fit"),
        (lambda _, a: a.update({"head.mean": a["head.mean"].astype("f4")}), "head.mean does not fit"),
        (
            lambda _, a: a.update({"head.covariance": a["head.covariance"][:2]}),
            "head.covariance does not fit",
        ),
        (lambda _, a: a["head.covariance"].__setitem__((0, 1), 1), "the head does not fit"),
        (lambda _, a: a["head.covariance"].__setitem__((0, 0), -1), "Matrix is not positive definite"),
        (lambda _, a: a["head.covariance"].fill(0), "Matrix is not positive definite"),
        (lambda _, a: a["head.counts"].__setitem__(0, -1), "the head does not fit"),
        (lambda _, a: a.update({"head.counts": np.zeros(3, "i8")}), "head.counts does not fit"),
        (lambda _, a: a.pop("head.counts"), "'head.counts'"),
        (lambda _, a: a["stats.mean"].__setitem__(0, np.nan), "stats.mean does not fit"),
        (lambda _, a: a.update({"stats.factor": a["stats.factor"][1:]}), "stats.factor does not fit"),
        (lambda d, _: d["values"].update(base=3), "'int' object is not subscriptable"),
        (lambda d, _: d["values"]["base"].update(columns=5), "scaling.centre does not fit"),
        (lambda d, _: d["estimator"]["parameters"].update(base=None), "it is smaller than its networks"),
        (lambda d, _: base(d).update({"class": "Auto"}), "Auto.__init__() got an unexpected"),
        (
            lambda d, _: base(d).update({"class": "Auto", "parameters": {}}),
            "UAI: base is Auto(...), but should be an instance of Estimator",
        ),
        (
            lambda d, _: base(d).update({"class": "Estimator"}),
            "it names an estimator that streamad does not have",
        ),
        (lambda d, _: base(d)["parameters"].update(members="many"), "DAE: members is 'many', but"),
        (lambda d, _: base(d).update(nested()), "UAI: base is UAI(...), but should be an instance"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(path, change, said):
    assert complaint(altered(path, change), UAI).startswith(f"does not hold what it should: {said}")


def test_the_columns_of_the_base_are_those_of_the_whole(path):
    altered(path, lambda d, _: d["values"].update(columns=5))
    assert complaint(path, UAI) == "does not hold what it should: the base has other columns"


def base(described):
    """The base among the parameters of a file's UAI."""
    return described["estimator"]["parameters"]["base"]


def nested(depth=50):
    """One UAI within the other."""
    inner = {"class": "UAI", "parameters": {"base": None}}
    for _ in range(depth):
        inner = {"class": "UAI", "parameters": {"base": inner}}
    return inner
