"""The property that both decoders read the same, also run as a program: ``records_same.py EXAMPLES``."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records_help import CSV, JSON, SCHEMA, block, both

from streamad.records.batch import Batch
from streamad.records.decoder import Decoder
from streamad.records.schema import PayloadFormat, Schema, TimeSpec

EPOCH_SCHEMA = Schema(
    fields={**dict.fromkeys(SCHEMA.fields, "numeric"), "c": "categorical", "t": "time", "l": "label"},
    time=TimeSpec(field="t", format="epoch_s"),
)
TEXTS = st.sampled_from(
    [
        "",
        " ",
        "tcp",
        " udp ",
        "a.b",
        "normal.",
        "Normal",
        "smurf.",
        ".",
        "-",
        "true",
        "F",
        "yes",
        "NO",
        "2",
        "x" * 257,
        "0",
        "1",
        "-0",
        "+1.50",
        ".5",
        "5.",
        "007",
        "9007199254740993",
        "0.1234567890123456",
        "1e5",
        "1E400",
        "nan",
        "-Infinity",
        "1_0",
        "0x1f",
        "123456789012345678901234567890",
        "00000000000000000000001.5",
        "1-2",
        "1 2",
        "2024-02-29T12:34:56Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01 00:00:00.1234567+05:30",
        "2024-01-01",
        "2024-01-01t23:59:60z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999-00:01",
        "1700000000.25",
        "-62135596800",
        "253402300800",
        "1e9",
        "1700000000.1234567",
        '"',
        '""',
        "é",
        "\u2003",
        "\x00",
        "\ud7ff",
        "a,b",
    ]
)
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**19), 10**19).map(str),
    st.decimals(-1000, 1000, places=2, allow_nan=False).map(str),
)
SNIPPETS = st.sampled_from(
    [
        b'"',
        b'""',
        b",",
        b"\\",
        b"\\u0041",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b" ",
        b"\t",
        b"\r",
        b"\x00",
        b"\xff",
        b"\xc3\xa9",
        b"\xe2\x80\x83",
        b"e5",
        b"E",
        b"-",
        b"+",
        b".",
        b"null",
        b"NaN",
        b"0",
        b"9" * 400,
        b'"n":1,',
        b'"a":{},',
        b'"a":{"d":1},',
        b'"a.d":2,',
        b'"u":1,',
        b'"":0,',
        b"[" * 40,
    ]
)


WORDS = st.sampled_from(["tcp", "udp", "Http", "a b", "x.y", "", "x" * 256, "0", "t", "."])
HEADER = ("l", "new", "c", "n", "n", "t", "b", "x", "a.d")

GOOD = {
    "numeric": st.one_of(NUMBERS, st.sampled_from(["", "0", "-0", "+1.50", ".5", "5.", "1e5", "007"])),
    "boolean": st.sampled_from(["0", "1", "t", "T", "f", "F", "true", "False", "YES", "no", ""]),
    "categorical": WORDS,
    "id": WORDS,
    "ignore": WORDS,
    "time": st.sampled_from(["", "2024-02-29T12:34:56Z", "1999-12-31 23:59:59.25-01:30", "2024-01-01"]),
    "label": st.sampled_from(["normal.", "Normal", "smurf.", "0", "", "normal..", "FALSE"]),
}
"""Values that a field of each kind takes."""


@st.composite
def value(draw: st.DrawFn, name: str) -> str:
    """A value that mostly suits the field, now and then padded."""
    odd = draw(st.integers(0, 31)) == 0
    text = draw(TEXTS if odd else GOOD[SCHEMA.fields.get(name, "ignore")])
    return (
        draw(st.sampled_from(["", "", "", " ", "\t", "\x0b "])) + text + draw(st.sampled_from(["", "", " "]))
    )


@st.composite
def csv_row(draw: st.DrawFn, columns: tuple[str, ...] = tuple(SCHEMA.fields)) -> bytes:
    return ",".join(draw(value(name)) for name in columns).encode()


@st.composite
def json_value(draw: st.DrawFn, name: str) -> str:
    """A string, number or word that mostly suits the field, as JSON."""
    kind = draw(st.integers(0, 31))
    if kind == 0:
        return draw(
            st.sampled_from(["[1, 2.50]", "{}", "01", "1.", "-", "Infinity", "tru", ".5", "1e", "1.e5"])
        )
    if kind < 3:
        return draw(st.sampled_from(["null", "null", "true", "false", "0", "1", "-1.5E+2"]))
    word = SCHEMA.fields.get(name, "ignore")
    if word == "numeric" or (kind < 8 and word not in ("boolean", "time")):
        return draw(NUMBERS)
    if kind < 24:
        return json.dumps(draw(GOOD[word]))
    return json.dumps(draw(value(name)), ensure_ascii=False)


@st.composite
def json_row(draw: st.DrawFn) -> bytes:
    names = [name for name in SCHEMA.fields if not name.startswith("a.")]
    keys = draw(st.lists(st.sampled_from([*names, "u", "v.w"]), unique=True))
    parts = [f'"{key}": {draw(json_value(key))}' for key in keys]
    nested = f'"e":{draw(json_value("a.e"))},"d" : {draw(json_value("a.d"))}'
    flat = nested.replace('"e"', '"a.e"', 1).replace('"d" :', '"a.d":')
    parts += draw(st.sampled_from([[], [flat], [f'"a": {{{nested}}}']]))
    return ("{" + draw(st.sampled_from([",", ", ", " ,\t"])).join(parts) + "}").encode()


PATTERNS = (
    "iso",
    "%Y-%m-%d %H:%M:%S",
    "%d/%m/%Y %H.%M",
    "%Y%m%d%H%M%S.%f",
    "%m-%d-%YT%H:%M:%S%z",
    "%d %b %Y",
)
ZONES = ("UTC", None, "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo")
TIME_SPECS = range(len(PATTERNS) * len(ZONES))


@st.composite
def times_and_patterns(draw: st.DrawFn) -> tuple[str, ...]:
    """One moment in each of `PATTERNS`, now and then with a character changed; many around clock changes."""
    moment = draw(
        st.one_of(
            st.datetimes(),
            st.datetimes(datetime(2024, 3, 30, 12), datetime(2024, 4, 8)),  # noqa: DTZ001 - local times
            st.datetimes(datetime(2024, 10, 26), datetime(2024, 10, 28)),  # noqa: DTZ001
        )
    )
    zone = draw(st.sampled_from(["Z", "+0530", "-08:00", "z", "+25:00", "", "+05:30:10"]))
    texts = [moment.isoformat() + zone]
    texts += [
        moment.strftime(pattern.replace("%z", "")) + zone * ("%z" in pattern) for pattern in PATTERNS[1:]
    ]
    if draw(st.integers(0, 3)) == 0:
        place, changed = draw(st.integers(0, 15)), draw(st.sampled_from(["", "0", "9", " ", ":", "a", "-"]))
        texts = [text[:place] + changed + text[place + 1 :] for text in texts]
    return tuple(texts)


@st.composite
def mutated(draw: st.DrawFn, rows: st.SearchStrategy[bytes]) -> bytes:
    row = bytearray(draw(rows))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        place = draw(st.integers(0, len(row)))
        action = draw(st.sampled_from(["insert", "insert", "flip", "cut", "drop", "mark"]))
        if action == "insert":
            row[place:place] = draw(SNIPPETS)
        elif action == "cut":
            del row[place:]
        elif action == "mark":
            row[:0] = b"\xef\xbb\xbf"
        elif action == "drop":
            del row[place : place + draw(st.integers(1, 4))]
        elif place < len(row):
            row[place] = draw(st.integers(0, 255))
    return bytes(row)


def meaning(decoder: Decoder, batch: Batch) -> list[object]:
    """Everything that a batch says, codes as their values."""
    held = [decoder.dictionary.values(field) for field in range(batch.codes.shape[1])]
    words = [
        [None if code < 0 else held[field][code] for field, code in enumerate(row)]
        for row in batch.codes.tolist()
    ]
    arrays = (batch.numbers, batch.times, batch.truth, batch.status)
    return [*(a.tobytes() for a in arrays), words, batch.rejections, batch.unknown_fields]


def check(
    payload: PayloadFormat, schema: Schema, rows: list[bytes], columns: tuple[str, ...] | None = None
) -> None:
    fast, slow = both(payload, schema)
    for first in (0, len(rows)):  # the second time, values and unknown fields are known
        read = fast.decode(block(rows, columns), first), slow.decode(block(rows, columns), first)
        assert meaning(fast, read[0]) == meaning(slow, read[1])
        assert set(read[0].rejections) == {row for row, bad in enumerate(read[0].status.tolist()) if bad}
        assert read[1].fast_rows == 0
    assert fast.dictionary.state(2 * len(rows)) == slow.dictionary.state(2 * len(rows))
    for row, bad in enumerate(read[0].status.tolist()):
        if not bad:
            back = slow.decode_records([slow.record(rows[row], columns)])
            assert back[0].tobytes() == read[1].numbers[row].tobytes()
            assert back[1].tobytes() == read[1].codes[row].tobytes()


def properties(examples: int) -> list[object]:
    """The property for each format, as functions to call."""
    stable = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    @stable
    @given(st.lists(mutated(csv_row()), min_size=1, max_size=8), st.sampled_from([False, False, False, True]))
    def csv_rows_read_the_same(rows: list[bytes], epoch: bool) -> None:
        check(CSV, EPOCH_SCHEMA if epoch else SCHEMA, rows)

    @stable
    @given(st.lists(mutated(csv_row(HEADER)), min_size=1, max_size=4), st.sampled_from(",;\t |:"))
    def csv_rows_with_a_header_read_the_same(rows: list[bytes], delimiter: str) -> None:
        changed = [row.replace(b",", delimiter.encode()) for row in rows]
        check(PayloadFormat(delimiter=delimiter), SCHEMA, changed, HEADER)

    @stable
    @given(
        st.lists(mutated(json_row()), min_size=1, max_size=8), st.sampled_from([False, False, False, True])
    )
    def json_rows_read_the_same(rows: list[bytes], epoch: bool) -> None:
        check(JSON, EPOCH_SCHEMA if epoch else SCHEMA, rows)

    @stable
    @given(st.lists(times_and_patterns(), min_size=1, max_size=30), st.sampled_from(TIME_SPECS))
    def times_read_the_same(texts: list[tuple[str, ...]], place: int) -> None:
        spec = TimeSpec(field="t", format=PATTERNS[place % len(PATTERNS)], zone=ZONES[place // len(PATTERNS)])
        schema = Schema(fields={"n": "numeric", "t": "time"}, time=spec)
        check(CSV, schema, [f"1,{text[place % len(PATTERNS)]}".encode() for text in texts])

    return [
        times_read_the_same,
        csv_rows_read_the_same,
        csv_rows_with_a_header_read_the_same,
        json_rows_read_the_same,
    ]


if __name__ == "__main__":
    for prop in properties(int(sys.argv[1])):
        prop()
