"""What payloads mean: values, times, quotes, nesting, and every reason to reject."""

from __future__ import annotations

import math

import pytest
from records_help import CSV, JSON, block, decoder

from streamad.errors import UserError
from streamad.records.batch import MISSING_TIME
from streamad.records.schema import PayloadFormat, Schema, TimeSpec
from streamad.records.spelling import split_csv
from streamad.records.values import exact_number, shown

NUMBER = Schema(fields={"n": "numeric", "x": "ignore"})
WORD = Schema(fields={"c": "categorical", "x": "ignore"})


def read_csv(schema: Schema, row: bytes, *, compiled: bool):
    return decoder(CSV, schema, compiled=compiled).decode(block([row]), 0)


def reason(payload: PayloadFormat, schema: Schema, row: bytes) -> tuple[str, str | None]:
    batch = decoder(payload, schema).decode(block([row]), 0)
    assert batch.status.tolist() == [1]
    assert math.isnan(batch.numbers[0, 0])
    return batch.rejections[0].reason, batch.rejections[0].field


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-0",
        "+1.5",
        ".5",
        "5.",
        "1e5",
        "1E-400",
        "0.1",
        "123456789012345678",
        "9007199254740993",
        "179769313486231570000" + "0" * 288,
        "0.30000000000000004",
        "2.2250738585072011e-308",
        "00012.50",
    ],
)
def test_a_number_is_the_double_nearest_to_its_text(text, compiled):
    batch = read_csv(NUMBER, f" {text}\t,".encode(), compiled=compiled)
    assert batch.numbers[0, 0].tobytes() == __import__("struct").pack("d", float(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", "not_a_number"),
        ("1_0", "not_a_number"),
        ("0x10", "not_a_number"),
        ("1e", "not_a_number"),
        ("nan", "not_finite"),
        ("-Inf", "not_finite"),
        ("INFINITY", "not_finite"),
        ("1e400", "not_finite"),
        (chr(0x661), "not_a_number"),  # a digit, but of another script
        (".", "not_a_number"),
        ("--1", "not_a_number"),
        ("1 2", "not_a_number"),
    ],
)
def test_what_is_no_finite_number_is_rejected(text, expected):
    assert reason(CSV, NUMBER, f"{text},".encode()) == (expected, "n")


@pytest.mark.parametrize("compiled", [True, False])
def test_booleans_have_four_spellings_each(compiled):
    schema = Schema(fields={"b": "boolean", "x": "ignore"})
    words = ["1", "TRUE", "t", "Yes", "0", "false", "F", "no", ""]
    batch = decoder(CSV, schema, compiled=compiled).decode(block([f"{word},".encode() for word in words]), 0)
    assert batch.numbers[:8, 0].tolist() == [1.0] * 4 + [0.0] * 4
    assert math.isnan(batch.numbers[8, 0])
    assert reason(CSV, schema, b"y,") == ("not_a_boolean", "b")


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("form", "zone", "text", "microseconds"),
    [
        ("iso", None, "1970-01-01T00:00:01Z", 1_000_000),
        ("iso", None, "1970-01-01t01:00:01.5+01:00", 1_500_000),
        ("iso", "UTC", "1970-01-02 00:00:00.1234567", 86_400_123_456),
        ("iso", "UTC", "1970-01-02", 86_400_000_000),
        ("iso", None, "1969-12-31T23:59:60Z", 0),
        ("iso", "Europe/Berlin", "1970-01-01 01:00", 0),
        ("epoch_s", None, "1.0000019", 1_000_001),
        ("epoch_s", None, "-0.0000001", -1),
        ("epoch_s", None, "1e3", 1_000_000_000),
        ("epoch_ms", None, "1500.5", 1_500_500),
        ("epoch_us", None, "-7", -7),
        ("%d/%m/%Y %H:%M", "UTC", "02/01/1970 00:01", 86_460_000_000),
    ],
)
def test_event_times_become_microseconds_since_1970(form, zone, text, microseconds, compiled):
    schema = Schema(fields={"n": "numeric", "t": "time"}, time=TimeSpec(field="t", format=form, zone=zone))
    batch = read_csv(schema, f"1,{text}".encode(), compiled=compiled)
    assert batch.times.tolist() == [microseconds]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("iso", "2024-01-01 00:00:00"),
        ("iso", "2023-02-29T00:00:00Z"),
        ("iso", "yesterday"),
        ("iso", "2024-01-01T24:00:00Z"),
        ("iso", "0001-01-01T00:00:00+00:01"),
        ("iso", "2024-01-01T00:00:00+24:00"),
        ("epoch_s", "1e400"),
        ("epoch_s", "253402300800"),
        ("epoch_ms", "now"),
        ("%Y-%m-%d", "2024-05-06"),
        ("%Y-%m-%d", "x"),
    ],
)
def test_an_unreadable_time_or_one_without_a_zone_is_rejected(form, text):
    schema = Schema(fields={"n": "numeric", "t": "time"}, time=TimeSpec(field="t", format=form))
    assert reason(CSV, schema, f"1,{text}".encode()) == ("bad_time", "t")


def test_a_zone_that_only_another_system_knows_is_the_users_mistake():
    spec = TimeSpec.model_construct(field="t", format="iso", zone="Mars/Base")
    schema = Schema(fields={"n": "numeric", "t": "time"}, time=spec)
    with pytest.raises(UserError, match=r"schema\.time\.zone: 'Mars/Base' is not a time zone"):
        decoder(CSV, schema)


def test_a_missing_time_is_no_time():
    schema = Schema(fields={"n": "numeric", "t": "time"}, time=TimeSpec(field="t"))
    assert read_csv(schema, b"1, ", compiled=True).times.tolist() == [MISSING_TIME]


@pytest.mark.parametrize("compiled", [True, False])
def test_truth_is_read_without_case_and_trailing_dot(compiled):
    schema = Schema(fields={"n": "numeric", "l": "label"})
    rows = [b"1,normal.", b"1,Normal", b"1,0", b"1,smurf.", b"1,normal..", b"1,", b"1,."]
    assert decoder(CSV, schema, compiled=compiled).decode(block(rows), 0).truth.tolist() == [
        0,
        0,
        0,
        1,
        1,
        -1,
        1,
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"1", "too_few_fields"),
        (b"1,2,3", "too_many_fields"),
        (b"", "empty"),
        (b" \t ", "empty"),
        (b"1,\xff", "invalid_utf8"),
        (b'1,"x', "unterminated_quote"),
    ],
)
def test_a_broken_csv_row_is_rejected(row, expected):
    assert reason(CSV, NUMBER, row) == (expected, None)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('a,"b,c",d', ["a", "b,c", "d"]),
        ('"a""b",', ['a"b', ""]),
        (' "a" ,b"c"', ["a ", 'b"c"']),
        ('""', [""]),
        ('"a"b,c', ["ab", "c"]),
    ],
)
def test_quotes_hold_delimiters_and_quotes(text, fields):
    assert split_csv(text, ",") == fields


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b'{"n":', ("invalid_json", None)),
        (b'{"n":01}', ("invalid_json", None)),
        (b'{"n":1} x', ("invalid_json", None)),
        (b'{"c":"\\ud800"}', ("invalid_json", None)),
        (b"[1]", ("not_an_object", None)),
        (b"  ", ("empty", None)),
        (b'{"n":1,"n":1}', ("duplicate_key", "n")),
        (b'{"x":[{"y":1,"y":2}]}', ("duplicate_key", "y")),
        (b'{"a":{"b":1},"a.b":1}', ("duplicate_key", "a.b")),
        (b'{"n":NaN}', ("not_finite", "n")),
        (b'{"n":' + b"9" * 10_000 + b"}", ("not_finite", "n")),
        (b'{"n":[1]}', ("not_a_number", "n")),
        (b'{"n":true}', ("not_a_number", "n")),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, ("too_deep", None)),
        (b"[" * 100_000, ("too_deep", None)),
        (b'{"x":' + b"[" * 32 + b"]" * 32 + b"}", ("too_deep", None)),
        (b'{"' + b"k" * 257 + b'":1}', ("too_long", None)),
        (b'{"x":"\xff"}', ("invalid_utf8", None)),
    ],
)
def test_a_broken_json_record_is_rejected(row, expected):
    assert reason(JSON, NUMBER, row) == expected


def test_nesting_of_32_is_read():
    row = b'{"n":1,"x":' + b"[" * 31 + b"]" * 31 + b"}"
    assert decoder(JSON, NUMBER).decode(block([row]), 0).numbers.tolist() == [[1.0]]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("payload", "row"), [(JSON, b'{"n":1,"c":"a"}'), (CSV, b'"1",a'), (CSV, b" 1,a"), (CSV, b"1,a")]
)
def test_a_byte_order_mark_before_a_record_is_no_part_of_it(payload, row, compiled):
    one = decoder(payload, Schema(fields={"n": "numeric", "c": "categorical"}), compiled=compiled)
    batch = one.decode(block([b"\xef\xbb\xbf" + row, row, b"\xef\xbb\xbf"]), 0)
    assert batch.numbers[:2].tolist() == [[1.0], [1.0]]
    assert batch.codes[:2].tolist() == [[1], [1]]
    assert {place: why.reason for place, why in batch.rejections.items()} == {2: "empty"}


@pytest.mark.parametrize("compiled", [True, False])
def test_a_byte_order_mark_before_text_is_no_part_of_a_value(compiled):
    one = decoder(CSV, Schema(fields={"c": "categorical", "n": "numeric"}), compiled=compiled)
    assert one.decode(block([b"\xef\xbb\xbfa,1", b"a,2"]), 0).codes.tolist() == [[1], [1]]


@pytest.mark.parametrize("compiled", [True, False])
def test_json_values_of_a_category_are_their_source_text(compiled):
    rows = [
        b'{"c":1.50}',
        b'{"c":true}',
        b'{"c":" t\\u0063p "}',
        b'{"c":[1, 2.0, {"k": "\xc3\xa9"}]}',
        b'{"c":null}',
    ]
    read = decoder(JSON, WORD, compiled=compiled)
    codes = read.decode(block(rows), 0).codes[:, 0].tolist()
    assert read.dictionary.values(0) == ["", "1.50", "true", "tcp", '[1,2.0,{"k":"é"}]']
    assert codes == [1, 2, 3, 4, -1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("007", 7),
        ("1.50", 1.5),
        ("0.1", 0.1),
        ("1e3", 1000.0),
        ("12345678901234567891", "12345678901234567891"),
        ("0.12345678901234567891", "0.12345678901234567891"),
        ("1e-400", "1e-400"),
        ("NaN", "NaN"),
        ("-1e999", "-1e999"),
    ],
)
def test_a_number_keeps_its_spelling_where_a_double_cannot_hold_it(text, expected):
    assert (exact_number(text), type(exact_number(text))) == (expected, type(expected))


def test_shown_text_is_escaped_and_cut():
    assert shown("a\x1b[31m\n") == "'a\\x1b[31m\\n'"
    assert shown("x" * 100) == "'" + "x" * 77 + "...'"
