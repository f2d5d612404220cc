"""The buffer: a ring that behaves like a list that forgets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamad.records.batch import MISSING_TIME
from streamad.state.buffer import Buffer

HOUR = 3_600_000_000


def rows(first, count, times=None):
    records = np.arange(first, first + count)
    numbers = np.stack([records * 1.5, records + 0.25], axis=1) if count else np.zeros((0, 2))
    codes = (records % 5 - 1).astype(np.int32)[:, None]
    return numbers, codes, records, np.array(times if times is not None else records * 10, np.int64)


def window(buffer):
    snapshot = buffer.snapshot()
    return list(
        zip(
            snapshot.records.tolist(),
            snapshot.numbers[:, 0].tolist(),
            snapshot.codes[:, 0].tolist(),
            snapshot.times.tolist(),
            strict=True,
        )
    )


TIMES = st.one_of(st.integers(0, 5 * HOUR), st.just(MISSING_TIME))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 12),
    st.lists(st.lists(TIMES, max_size=30), max_size=8),
    st.sampled_from([None, 0.5, 2.0]),
)
def test_the_window_equals_a_list_cut_by_count_and_age(capacity, batches, hours):
    buffer = Buffer(capacity, 2, 1, hours=hours)
    naive, first = [], 0
    for times in batches:
        numbers, codes, records, stamps = rows(first, len(times), times)
        buffer.append(numbers, codes, records, stamps)
        naive = [*naive, *zip(records, numbers[:, 0], codes[:, 0], times, strict=True)][-capacity:]
        first += len(times)
        newest = max((row[3] for row in naive), default=0)
        kept = [
            tuple(row)
            for row in naive
            if hours is None or row[3] == MISSING_TIME or row[3] >= newest - hours * HOUR
        ]
        assert window(buffer) == kept
        assert buffer.codes()[:, 0].tolist() == [row[2] for row in kept]
        assert len(buffer) == len(naive)


def test_a_snapshot_does_not_change_while_the_stream_goes_on():
    buffer = Buffer(4, 2, 1)
    buffer.append(*rows(0, 4))
    before, held = window(buffer), buffer.snapshot()
    buffer.append(*rows(4, 3))
    buffer.remap([np.array([-1, 0, 9, 9, 9], np.int32)])
    assert held.records.tolist() == [row[0] for row in before]
    assert held.codes[:, 0].tolist() == [row[2] for row in before]
    assert all(part.flags.c_contiguous for part in (held.numbers, held.codes, held.records, held.times))


@pytest.mark.parametrize("count", [3, 4, 6])
def test_a_new_dictionary_generation_carries_every_row_over(count):
    buffer = Buffer(4, 2, 1)
    buffer.append(*rows(0, count))
    old = [row[2] for row in window(buffer)]
    table = np.array([-1, 0, 7, 8, 0], np.int32)
    buffer.remap([table])
    assert [row[2] for row in window(buffer)] == [int(table[code + 1]) for code in old]


def test_memory_is_fixed_from_the_start():
    buffer = Buffer(100, 2, 1)
    arrays = [id(value) for value in vars(buffer).values() if isinstance(value, np.ndarray)]
    for first in range(0, 1000, 37):
        buffer.append(*rows(first, 37))
        assert [id(value) for value in vars(buffer).values() if isinstance(value, np.ndarray)] == arrays
    assert len(buffer) == 100


def test_the_rate_survives_a_few_wrong_clocks_and_is_none_without_times():
    buffer = Buffer(5000, 2, 1)
    assert buffer.records_per_hour() is None
    times = np.arange(4000) * (HOUR // 1000)
    times[[7, 900, 3999]] = [10_000 * HOUR, 0, 10_000 * HOUR]
    buffer.append(*rows(0, 4000, times))
    assert buffer.records_per_hour() == pytest.approx(1000, rel=0.02)
    without = Buffer(10, 2, 1)
    without.append(*rows(0, 5, [MISSING_TIME] * 5))
    assert without.records_per_hour() is None
