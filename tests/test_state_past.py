"""The sample of the past: which rows it holds, whenever they were committed, saved or read again."""

from __future__ import annotations

import numpy as np
import pytest
from records_help import block

from streamad.errors import StateError
from streamad.records.batch import ACCEPTED, REJECTED, Batch, Rejection
from streamad.records.schema import Schema
from streamad.state.holdout import held_out
from streamad.state.past import Past

SCHEMA = Schema(fields={"a": "numeric", "b": "numeric", "proto": "categorical"})
VALUES = (("", "tcp", "udp", "icmp"),)
SAME = np.array([-1, 0, 1, 2, 3], np.int32)
RECORDS, WINDOW, CAPACITY, SEED = 12_000, 1000, 300, 7


def batch(first, rows):
    """Records `first` to `first` + `rows`, of which every fiftieth is rejected."""
    numbers = np.arange(first, first + rows)
    bad = numbers % 50 == 49
    return Batch(
        block=block([b""] * rows),
        numbers=np.column_stack([numbers, numbers % 3]).astype(float),
        codes=(numbers % 5 - 1).astype(np.int32)[:, None],
        times=np.zeros(rows, np.int64),
        truth=np.zeros(rows, np.int8),
        status=np.where(bad, REJECTED, ACCEPTED).astype(np.uint8),
        rejections={int(row): Rejection("empty") for row in np.flatnonzero(bad)},
        fast_rows=rows,
        generation=0,
        first=first,
    )


def past(capacity=CAPACITY, schema=SCHEMA):
    return Past(capacity, WINDOW, schema, SEED)


def feed(into, first, last, *, rows=100, batches=1, aborts=1):
    """Commit these records, each commit tried `aborts` times; the last thing that was to be saved."""
    saved = None
    for at in range(first, last, rows * batches):
        pieces = [
            batch(start, min(rows, last - start)) for start in range(at, min(at + rows * batches, last), rows)
        ]
        for _ in range(aborts):
            told = into.prepare(pieces, pieces[-1].first + len(pieces[-1]), lambda: VALUES)
        into.commit()
        saved = told.get("past", saved)
    return saved


def held(one, window=()):
    rows = one.before(np.asarray(window, np.int64) if len(window) else np.full(4 * CAPACITY, -1))
    return [array.tolist() for array in (rows.records, rows.numbers, rows.codes, rows.keys)]


def test_which_rows_are_kept_does_not_depend_on_batches_commits_or_aborts():
    whole = past()
    feed(whole, 0, RECORDS, rows=RECORDS)
    for cut in ({"rows": 7}, {"rows": 100, "batches": 13}, {"rows": 1000, "aborts": 3}):
        other = past()
        feed(other, 0, RECORDS, **cut)
        assert held(other) == held(whole)


def test_as_many_rows_as_allowed_are_kept_whole_none_of_them_held_out_or_rejected():
    one = past()
    feed(one, 0, RECORDS)
    records, numbers, codes, _ = (np.array(column) for column in held(one))
    assert len(records) == CAPACITY
    assert numbers.tolist() == np.column_stack([records, records % 3]).tolist()
    assert codes[:, 0].tolist() == (records % 5 - 1).tolist()
    assert not held_out(records, SEED).any()
    assert not (records % 50 == 49).any()


def test_of_a_record_twice_as_old_half_as_many_are_left():
    shares = []
    for seed in range(0, 40_000_000, 1_000_000):  # seeds next to each other draw nearly the same
        one = Past(CAPACITY, WINDOW, SCHEMA, seed)
        feed(one, 0, RECORDS, rows=3000)
        records = np.array(held(one)[0])
        shares.append([(records < RECORDS // 2).mean(), (records < RECORDS // 10).mean()])
    assert np.mean(shares, axis=0) == pytest.approx([0.25, 0.01], abs=0.012)


def test_what_was_saved_and_the_window_together_give_all_rows_back_wherever_it_stopped():
    for stopped in range(500, RECORDS, 1700):
        one, again = past(), past()
        saved = feed(one, 0, stopped)
        again.restore(saved, VALUES)
        for first in range(max(0, stopped - 1200), stopped, 100):
            again.again(batch(first, 100))
        assert held(again) == held(one)
        assert feed(again, stopped, RECORDS) == feed(one, stopped, RECORDS)
        assert held(again) == held(one)


def test_it_is_saved_before_more_rows_came_than_the_window_holds():
    one, since, longest = past(), 0, 0
    for first in range(0, RECORDS, 130):
        since += 130
        if one.prepare([batch(first, 130)], first + 130, lambda: VALUES):
            since = 0
        longest = max(longest, since)
        one.commit()
    assert 900 < longest <= WINDOW / 0.98  # a fiftieth of them is rejected


def test_rows_keep_their_values_when_the_dictionary_has_other_codes():
    one, other, unknown = past(), past(), past()
    feed(one, 0, RECORDS)
    one.remap([SAME])
    saved = feed(one, RECORDS, RECORDS + 1)
    other.restore(saved, (("", "gre", "icmp", "udp", "tcp"),))
    unknown.restore(saved, (("", "udp"),))
    one_codes, other_codes, few = (np.array(held(each)[2])[:, 0] for each in (one, other, unknown))
    assert other_codes.tolist() == np.array([0, 4, 3, 2, -1])[one_codes].tolist()
    assert few.tolist() == np.array([0, 0, 1, 0, -1])[one_codes].tolist()
    one.remap([np.array([-1, 0, 4, 3, 2], np.int32)])
    assert held(one) == held(other)


def test_a_new_dictionary_is_saved_with_the_next_commit():
    one = past()
    feed(one, 0, 400)
    assert not one.prepare([batch(400, 1)], 401, lambda: VALUES)
    one.remap([SAME])
    assert set(one.prepare([batch(400, 1)], 401, lambda: VALUES)) == {"past"}


def test_training_is_given_none_of_the_window_and_one_row_to_four_of_it_at_most():
    one = past()
    feed(one, 0, RECORDS)
    window = np.arange(RECORDS - WINDOW, RECORDS)
    records, *_ = held(one, window)
    everything, _, _, keys = held(one)
    older = sorted((key, record) for key, record in zip(keys, everything, strict=True) if record < window[0])
    assert len(older) > WINDOW // 4
    assert records == sorted(record for _, record in older[: WINDOW // 4])


def test_without_rows_nothing_is_kept_or_saved():
    one = past(capacity=0)
    assert feed(one, 0, RECORDS) is None
    assert held(one) == [[], [], [], []]
    assert one.codes().shape == (0, 1)


def test_rows_of_another_schema_are_dropped_and_damage_is_named():
    one, other = past(), past(schema=Schema(fields={"a": "numeric", "proto": "categorical"}))
    other.restore(feed(one, 0, RECORDS), VALUES)
    assert held(other) == [[], [], [], []]
    with pytest.raises(StateError, match="arrays are no safetensors"):
        past().restore(b"\x00", VALUES)
