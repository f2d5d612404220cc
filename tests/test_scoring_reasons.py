"""Reasons: which field makes a record score as it does, and what would be usual instead."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.features.encoder import Encoder
from streamad.features.options import FeatureOptions
from streamad.features.usual import Usual
from streamad.records.schema import Schema
from streamad.scoring.reasons import Explainer, Reason

SCHEMA = Schema(
    fields={
        "bytes": "numeric",
        "packets": "numeric",
        "twin": "numeric",
        "idle": "numeric",
        "flag": "categorical",
    }
)
VALUES = (("", "SF", "S0"),)
BYTES, PACKETS, TWIN, IDLE, FLAG = range(5)


def window(n=600):
    """Bytes go with packets, of which twin is a copy; idle goes its own way; S0 comes with few packets."""
    random = np.random.default_rng(3)
    packets = random.uniform(1, 10, n)
    noise = random.normal(size=(2, n))
    numbers = np.column_stack([packets * 100 + 100 * noise[0], packets, packets * 2, noise[1]])
    return numbers, np.where(packets < 3, 2, 1).astype(np.int32)[:, np.newaxis]


NUMBERS, CODES = window()
ENCODER = Encoder.fit(SCHEMA, NUMBERS, CODES, VALUES, FeatureOptions())
USUAL = Usual.fit(ENCODER, NUMBERS, CODES, VALUES, seed=1)
EXPLAINER = Explainer(ENCODER, USUAL)
ALL = np.ones(len(USUAL.numbers), np.bool_)


def distance(x):
    """A score that knows the window by heart: how far the nearest of its rows is."""
    known = ENCODER.bind(VALUES).encode(NUMBERS, CODES)
    return np.array([np.square(known - row).sum(axis=1).min() for row in x])


def why(numbers, flag=1, surprise=distance, ordinary=ALL, count=3):
    """The reasons of one record."""
    codes = np.array([[flag]], np.int32)
    x = ENCODER.bind(VALUES).encode(np.array([numbers], np.float64), codes)
    (found,) = EXPLAINER.explain(x, surprise, ordinary, count)
    return found


def test_a_far_value_is_the_reason_and_told_beside_what_records_like_it_have():
    (reason, *_) = why([500, 5, 10, 50])
    assert reason.field == IDLE
    assert reason.share > 0.5
    low, high = reason.usual
    assert -2.5 < low < -0.5 < 0.5 < high < 2.5
    assert -3 < reason.expected < 3


def test_a_value_that_is_usual_but_not_beside_the_others_is_the_reason():
    (reason, *_) = why([900, 5, 10, 0])
    assert (reason.field, reason.alike) == (BYTES, ())
    assert reason.expected == pytest.approx(500, abs=250)
    assert 200 < reason.usual[0] < 500 < reason.usual[1] < 800


def test_an_unusual_category_for_such_a_record_is_the_reason():
    (reason, *_) = why([800, 8, 16, 0], flag=2)
    assert (reason.field, reason.expected, reason.usual) == (FLAG, "SF", ("SF",))


def test_near_duplicates_that_are_both_out_of_place_are_one_reason():
    (reason, *rest) = why([500, 40, 80, 0], surprise=lambda x: np.abs(x).sum(axis=1).astype(np.float64))
    assert {reason.field, *reason.alike} == {PACKETS, TWIN}
    assert {PACKETS, TWIN}.isdisjoint(other.field for other in rest)


def test_shares_sum_to_one_where_all_are_told_the_largest_first():
    shares = [reason.share for reason in why([900, 5, 10, 3], count=5)]
    assert sum(shares) == pytest.approx(1, abs=0.05)  # what adds less than a hundredth is left out
    assert shares == sorted(shares, reverse=True)


def test_the_reasons_explain_the_score_that_they_are_given():
    """As labels move the score, the reasons follow."""
    idle = why([900, 5, 10, 3], surprise=lambda x: x[:, IDLE].astype(np.float64))
    assert [(reason.field, reason.share) for reason in idle] == [(IDLE, 1.0)]
    nothing = why([900, 5, 10, 3], surprise=lambda x: np.zeros(len(x)))
    assert {reason.field for reason in nothing} >= {BYTES, IDLE}


def test_setting_the_first_field_to_its_expected_value_takes_its_part_of_the_score_away():
    (reason, *_) = why([500, 5, 10, 50])
    before, after = (
        distance(ENCODER.bind(VALUES).encode(np.array([[500.0, 5, 10, idle]]), np.array([[1]], np.int32)))[0]
        for idle in (50, reason.expected)
    )
    assert after < 0.1 * before


def test_examples_that_would_alert_themselves_are_not_compared_with():
    quiet = NUMBERS[:, 1] < 9
    numbers = np.vstack([NUMBERS[quiet], [[500, 5, 10, 50]] * 40])
    codes = np.ones((len(numbers), 1), np.int32)
    usual = Usual.fit(ENCODER, numbers, codes, VALUES, seed=1)
    explainer = Explainer(ENCODER, usual)
    x = ENCODER.bind(VALUES).encode(np.array([[500.0, 5, 10, 50]]), np.array([[1]], np.int32))
    score = lambda rows: rows[:, IDLE].astype(np.float64)  # noqa: E731
    ordinary = usual.numbers[:, IDLE] < 50
    assert explainer.explain(x, score, ordinary, 1)[0][0].field == IDLE
    assert abs(explainer.explain(x, score, ordinary, 1)[0][0].expected) < 4
    none = np.zeros(len(ordinary), np.bool_)
    every = explainer.explain(x, score, none, 1)
    assert every == explainer.explain(x, score, ~none, 1)


def test_a_records_reasons_do_not_depend_on_its_neighbours():
    random = np.random.default_rng(0)
    numbers = NUMBERS[:150] + random.normal(size=(150, 4)) * (50, 1, 1, 1)
    x = ENCODER.bind(VALUES).encode(numbers, CODES[:150])
    whole = EXPLAINER.explain(x, distance, ALL, 3)
    assert len(set(whole)) > 100
    for size in (1, 7, 32, 100):
        cuts = [EXPLAINER.explain(x[i : i + size], distance, ALL, 3) for i in range(0, len(x), size)]
        assert [reason for cut in cuts for reason in cut] == whole


def test_missing_values_and_rare_categories_are_expected_as_such():
    numbers = NUMBERS.copy()
    numbers[:, IDLE] = np.nan
    codes = np.zeros_like(CODES)
    encoder = Encoder.fit(SCHEMA, numbers, CODES, VALUES, FeatureOptions())
    explainer = Explainer(encoder, Usual.fit(encoder, numbers, codes, VALUES, seed=1))
    x = encoder.bind(VALUES).encode(np.array([[500.0, 5, 10, 50]]), np.array([[1]], np.int32))
    (found,) = explainer.explain(x, lambda rows: np.abs(rows).sum(axis=1).astype(np.float64), ALL, 5)
    told = {reason.field: reason for reason in found}
    assert told[IDLE][2:] == (None, (), ())
    if FLAG in told:
        assert told[FLAG][2:] == (None, (), ())


def test_one_example_is_enough():
    explainer = Explainer(ENCODER, Usual.centre(ENCODER))
    x = ENCODER.bind(VALUES).encode(np.array([[900.0, 5, 10, 0]]), np.array([[1]], np.int32))
    (found,) = explainer.explain(x, distance, np.array([True]), 2)
    assert 1 <= len(found) <= 2
    assert all(isinstance(reason, Reason) for reason in found)
    assert explainer.explain(x[:0], distance, np.array([True]), 2) == []
