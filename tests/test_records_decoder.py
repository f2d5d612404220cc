"""The decoder's facade: headers, unknown fields, faults, records and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from records_help import CSV, JSON, SCHEMA, block, decoder

from streamad.records import compiled as compiling
from streamad.records.batch import MISSING_TIME, Rejection
from streamad.records.decoder import OTHER_UNKNOWN
from streamad.records.schema import PayloadFormat, Schema, TimeSpec

SMALL = Schema(fields={"n": "numeric", "c": "categorical", "l": "label"})
HEADED = PayloadFormat()


@pytest.mark.parametrize("compiled", [True, False])
def test_a_header_maps_by_name_and_counts_unknown_fields(compiled):
    read = decoder(HEADED, SMALL, compiled=compiled)
    batch = read.decode(block([b"x,tcp,1", b"y,udp,2", b"z"], ("new", "c", "n")), 0)
    assert batch.numbers[:2].tolist() == [[1.0], [2.0]]
    assert batch.codes.tolist() == [[1], [2], [-1]]
    assert batch.truth.tolist() == [-1, -1, -1]
    assert batch.unknown_fields == {"new": 2}
    other = read.decode(block([b"normal,5"], ("l", "n")), 3)
    assert (other.numbers.tolist(), other.codes.tolist(), other.truth.tolist()) == ([[5.0]], [[-1]], [0])


@pytest.mark.parametrize("compiled", [True, False])
def test_unknown_json_fields_are_counted_also_once_they_are_known(compiled):
    read = decoder(JSON, SMALL, compiled=compiled)
    rows = [b'{"n":1,"u":1}', b'{"n":1,"u":null,"v":{"w":"x"}}', b'{"n":"bad","u":1}']
    assert read.decode(block(rows), 0).unknown_fields == {"u": 2, "v.w": 1}
    again = read.decode(block(rows), 3)
    assert again.unknown_fields == {"u": 2, "v.w": 1}
    assert again.fast_rows == (2 if compiled and compiling.AVAILABLE else 0)


def test_more_unknown_fields_than_can_be_told_apart_are_counted_together():
    read = decoder(JSON, SMALL)
    row = b'{"n":1,' + b",".join(b'"k%d":0' % i for i in range(300)) + b"}"
    found = read.decode(block([row, row]), 0).unknown_fields
    assert (len(found), found["k0"], found["k255"], found[OTHER_UNKNOWN]) == (257, 2, 2, 2)


@pytest.mark.parametrize("compiled", [True, False])
def test_rows_that_the_source_could_not_read_are_rejected_with_its_reason(compiled):
    fault = Rejection("too_long", None, "longer than 1 MiB")
    batch = decoder(CSV, SMALL, compiled=compiled).decode(
        block([b"1,a,", b"2,b,", b"3,c,"], faults={1: fault}), 0
    )
    assert batch.rejections == {1: fault}
    assert batch.status.tolist() == [0, 1, 0]
    assert batch.codes.tolist() == [[1], [-1], [2]]
    assert math.isnan(batch.numbers[1, 0])


@pytest.mark.skipif(not compiling.AVAILABLE, reason="numba is not installed")
@pytest.mark.parametrize(
    ("payload", "row"),
    [
        (CSV, b"-1.25, tcp ,1,2024-01-01T00:00:00Z,x,0.5,12,k,smurf."),
        (
            JSON,
            (
                b'{"n": -1.25, "c": " tcp ", "b": true, "t": "2024-01-01T00:00:00Z", "x": null, '
                b'"a": {"d": 0.5, "e": 12}, "k": 9, "l": "smurf."}'
            ),
        ),
    ],
)
def test_plain_rows_take_the_fast_way(payload, row):
    read = decoder(payload)
    batch = read.decode(block([row, row]), 0)
    assert batch.fast_rows == 2
    assert batch.numbers.tolist() == [[-1.25, 0.5, 1.0]] * 2
    assert [read.dictionary.values(field)[1] for field in (0, 1)] == ["tcp", "12"]
    assert batch.times.tolist() == [1_704_067_200_000_000] * 2
    assert batch.truth.tolist() == [1, 1]


def test_a_record_carries_every_field_and_reads_back():
    read = decoder(JSON)
    row = (
        b'{"n":12345678901234567890123,"c":1.50,"b":true,"t":"2024-01-01T00:00:00Z","x":[1.0,{}],'
        b'"a":{"d":3},"k":"id-1","l":"normal","u":7,"v":null}'
    )
    batch = read.decode(block([row]), 0)
    record = read.record(row, None)
    assert record == {
        "n": "12345678901234567890123",
        "c": "1.50",
        "b": True,
        "t": "2024-01-01T00:00:00Z",
        "x": "[1.0,{}]",
        "a.d": 3,
        "k": "id-1",
        "l": "normal",
        "u": 7,
        "v": None,
    }
    numbers, codes, times = read.decode_records([record])
    assert numbers.tobytes() == batch.numbers.tobytes()
    assert codes.tolist() == batch.codes.tolist() == [[1, -1]]
    assert times.tolist() == batch.times.tolist()


def test_a_csv_record_has_numbers_and_words_by_kind():
    record = decoder(CSV).record(b"1.50,tcp,yes,2024-01-01T00:00:00Z,7,,0,9,normal.", None)
    assert record == {
        "n": 1.5,
        "c": "tcp",
        "b": True,
        "t": "2024-01-01T00:00:00Z",
        "x": "7",
        "a.d": None,
        "a.e": "0",
        "k": "9",
        "l": "normal.",
    }


def test_records_from_people_never_raise():
    deep: object = 1
    for _ in range(2_000):
        deep = {"a": deep}
    strange = [
        {},
        {"n": "text", "c": "never seen", "t": "when?"},
        {"n": float("nan"), "b": 3, "c": "\ud800"},
        {"n": 10**5000, "c": ["x"]},
        {"a": {"d": 2, "e": None}},
        {"n": deep},
        {"n": {1, 2}},
    ]
    numbers, codes, times = decoder(CSV).decode_records(strange)
    assert np.isnan(numbers).sum() == numbers.size - 1
    assert numbers[4].tolist()[1] == 2.0
    assert codes.tolist() == [[-1, -1], [0, -1], [-1, -1], [0, -1], [-1, -1], [-1, -1], [-1, -1]]
    assert set(times.tolist()) == {MISSING_TIME}


def test_without_numba_the_general_decoder_reads_everything(monkeypatch):
    monkeypatch.setattr(compiling, "AVAILABLE", False)
    batch = decoder(CSV, SMALL).decode(block([b"1,a,normal."]), 7)
    assert (batch.fast_rows, batch.numbers.tolist(), batch.truth.tolist(), batch.first) == (
        0,
        [[1.0]],
        [0],
        7,
    )


def test_an_empty_block_is_an_empty_batch():
    batch = decoder(JSON, SCHEMA).decode(block([]), 0)
    assert (batch.numbers.shape, batch.codes.shape, batch.rejections) == ((0, 3), (0, 2), {})


@pytest.mark.skipif(not compiling.AVAILABLE, reason="numba is not installed")
@pytest.mark.parametrize("form", ["iso", "%Y-%m-%d %H:%M:%S"])
def test_local_times_take_the_fast_way_but_on_days_when_the_clock_changes(form):
    spec = TimeSpec(field="t", format=form, zone="Europe/Berlin")
    read = decoder(CSV, Schema(fields={"n": "numeric", "t": "time"}, time=spec))
    quiet, changing = (
        [f"1,{day} {hour:02}:30:00".encode() for hour in range(24)] for day in ("2024-03-30", "2024-03-31")
    )
    batches = [read.decode(block(quiet + changing), 0), read.decode(block(quiet), 48)]
    assert [batch.fast_rows for batch in batches] == [23, 23]
    hours = batches[0].times // 3_600_000_000 - 1_711_753_200 // 3600
    assert hours.tolist() == [*range(24), *range(24, 26), 26, *range(26, 47)]


@pytest.mark.skipif(not compiling.AVAILABLE, reason="numba is not installed")
def test_numbers_in_full_precision_and_with_exponents_take_the_fast_way():
    numbers = [
        "0.30000000000000004",
        "-123.45678901234567",
        "1e-05",
        "2.5E+3",
        "0.00012345678901234567",
        "1e22",
    ]
    rows = [f'{{"n":{number}}}'.encode() for number in numbers]
    batch = decoder(JSON, SMALL).decode(block(rows), 0)
    assert batch.fast_rows == len(rows)
    assert batch.numbers[:, 0].tolist() == [float(number) for number in numbers]
