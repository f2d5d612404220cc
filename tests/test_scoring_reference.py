"""The reference: who is in it, who waits, and what of it is told to others."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.scoring.calibration import Calibration
from streamad.scoring.reference import Excerpt, Reference

ROWS = 900


def reference(scores, rows=ROWS):
    """One feature, which is the score."""
    scores = np.asarray(scores, float)
    return Reference(Excerpt(scores[:, None], scores, np.ones(len(scores))), rows)


def extend(reference, scores):
    scores = np.asarray(scores, float)
    reference.extend(scores[:, None], scores)


def plain(_features, base):
    return base


def p_value(reference, score):
    return float(reference.calibration(plain).p_values(np.array([score]))[0])


def test_a_burst_is_over_before_it_counts():
    quiet = reference(np.arange(ROWS))
    extend(quiet, np.arange(ROWS))
    extend(quiet, np.full(100, 5000.0))
    assert p_value(quiet, 5000.0) < 0.001
    extend(quiet, np.arange(100))
    assert p_value(quiet, 5000.0) > 0.05


def test_of_the_first_rows_after_the_version_s_own_half_count_at_once():
    young = reference(np.zeros(10))
    extend(young, np.ones(40))
    assert p_value(young, 2.0) == pytest.approx(p_value(reference([0.0] * 10 + [1.0] * 20), 2.0))


def test_the_oldest_rows_make_room():
    moved = reference(np.full(ROWS, 100.0))
    extend(moved, np.arange(ROWS // 2))
    extend(moved, np.arange(ROWS // 2))
    assert len(moved) == ROWS
    assert moved.rows().base.max() == ROWS // 2 - 1
    assert moved.rows().features[:, 0].tolist() == moved.rows().base.tolist()


def test_rows_are_judged_once_until_the_head_changes():
    judged = []

    def levels(features, base):
        judged.append(len(base))
        return features[:, 0] + base

    one = reference(np.arange(500))
    one.calibration(levels)
    for _ in range(3):
        extend(one, np.arange(10))
        one.calibration(levels)
    one.forget()
    last = one.calibration(levels)
    assert judged == [500, 10, 10, 10, 530]
    assert last.scores.tolist() == (2 * np.arange(500.0)).tolist()


@pytest.mark.parametrize("count", [200, 5000])
def test_an_excerpt_calibrates_as_all_rows_that_wait_no_more_do(count):
    random = np.random.default_rng(1)
    whole = reference(random.exponential(size=4000), rows=4000)
    extend(whole, random.exponential(size=4000))
    told = whole.excerpt(count, plain)
    assert len(told.base) == min(count, 4000 - 4000 // 9)
    scores = np.linspace(0, 12, 200)
    all_rows = whole.calibration(plain).p_values(scores)
    few = Calibration.fit(told.base, told.weights).p_values(scores)
    assert few == pytest.approx(all_rows, rel=0.05, abs=2 / count)
    deep = all_rows < 0.4 * count / 4000
    assert few[deep] == pytest.approx(all_rows[deep], rel=0.05)
