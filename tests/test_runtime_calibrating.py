"""Which records a version's reference is given: those that came after its training began, also across swaps and restarts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from streamad.records.batch import ACCEPTED
from streamad.runtime.calibrating import Calibrating
from streamad.runtime.retraining import Plan
from streamad.state.holdout import compared

SEED, SIZE, RECORDS = 3, 100, 450
NO_CODES = [np.array([-1, 0], np.int32)]
"""Every code stays what it is."""


class Seen:
    """A scorer that notes the record numbers that its reference is given."""

    def __init__(self, version):
        self.version, self.rows = version, []

    def extend(self, features, base):
        assert features.tolist() == base.tolist()
        self.rows += base.tolist()

    def meet(self, numbers, codes):
        assert (codes == 0).all()
        self.rows += numbers[:, 0].tolist()

    def recalibrate(self):
        pass


class Batch(SimpleNamespace):
    """Records ``[first, first + SIZE)``, each of which holds its own number."""

    def __len__(self):
        return SIZE

    def identities(self, rows):
        return self.first + rows


def scored(number, version, p_value=0.5):
    at = np.arange(number * SIZE, (number + 1) * SIZE).astype(float)
    batch = Batch(
        first=number * SIZE,
        status=np.full(SIZE, ACCEPTED),
        rejections={},
        numbers=at[:, None],
        codes=np.zeros((SIZE, 1), np.int32),
    )
    scores = SimpleNamespace(features=at, base=at, p_value=np.full(SIZE, p_value))
    return SimpleNamespace(batch=batch, scores=scores, version=version, threshold=0.01)


def half(first, end):
    at = np.arange(first, end)
    return at[compared(at, SEED)].astype(float).tolist()


def test_a_new_version_is_given_what_came_since_its_training_began():
    calibrating, old, new = Calibrating(10_000, SEED), Seen(1), Seen(2)
    calibrating.meet(old, [scored(0, 1), scored(1, 1)])
    calibrating.begin(2, 200)
    calibrating.meet(old, [scored(2, 1)])
    calibrating.swapped(new, 300, NO_CODES)
    calibrating.meet(new, [scored(3, 2)])
    assert (old.rows, new.rows) == (half(0, 300), half(200, 400))


def test_of_a_long_training_it_is_given_the_youngest_records_so_that_a_swap_is_quick():
    calibrating, new = Calibrating(RECORDS, SEED), Seen(2)
    calibrating.begin(2, 0)
    for number in range(20):
        calibrating.meet(Seen(1), [scored(number, 1)])
    calibrating.swapped(new, 2000, NO_CODES)
    assert new.rows == half(2000 - RECORDS, 2000)


def test_what_the_version_before_had_scored_without_a_commit_is_scored_anew():
    calibrating, new = Calibrating(RECORDS, SEED), Seen(2)
    calibrating.begin(2, 0)
    calibrating.swapped(new, 200, NO_CODES)
    calibrating.meet(new, [scored(1, 1), scored(2, 2)])
    assert new.rows == half(100, 300)


def test_a_version_that_people_ask_for_is_given_what_comes_from_then_on():
    calibrating, asked = Calibrating(RECORDS, SEED), Seen(1)
    calibrating.begin(3, 0)
    calibrating.meet(Seen(2), [scored(0, 2)])
    calibrating.swapped(asked, 100, NO_CODES)
    calibrating.meet(asked, [scored(1, 1)])
    assert asked.rows == half(100, 200)


@pytest.mark.parametrize("stop", range(1, 12))
def test_after_a_restart_it_is_as_if_there_had_been_none(stop):
    whole = play(Calibrating(RECORDS, SEED), Seen(1), range(12))
    calibrating, scorer = play(Calibrating(RECORDS, SEED), Seen(1), range(stop))
    again, twin = Calibrating(RECORDS, SEED), Seen(scorer.version)
    under_way = [begun for begun, end in TRAININGS if begun <= stop <= end]
    plan = Plan(scorer.version + 1, (under_way or [0])[0] * SIZE, under_way=bool(under_way))
    again.restore({"calibration": calibrating.state([])}, 0, plan)
    for number in range(stop):
        again.again(twin, scored(number, 0).batch)
    assert twin.rows == scorer.rows
    resumed = play(again, twin, range(stop, 12))
    assert (resumed[1].rows, resumed[0].state([])) == (whole[1].rows, whole[0].state([]))


TRAININGS = (3, 7), (8, 10)
"""Each begins after so many batches, and takes effect before this one."""


def play(calibrating, scorer, numbers):
    begins, ends = zip(*TRAININGS, strict=True)
    calibrating.threshold(0.01)
    for number in numbers:
        if number in ends:
            scorer = Seen(scorer.version + 1)
            calibrating.swapped(scorer, number * SIZE, NO_CODES)
        calibrating.meet(scorer, [scored(number, scorer.version, 0.001 * number)])
        if number + 1 in begins:
            calibrating.begin(scorer.version + 1, (number + 1) * SIZE)
    return calibrating, scorer
