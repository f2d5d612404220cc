"""Sampled lines as columns: which format, which delimiter, a header or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from streamad.errors import InputError
from streamad.records.batch import Rejection
from streamad.records.kdd import KDD_FIELDS
from streamad.records.sample import Sample
from streamad.records.schema import PayloadFormat
from streamad.records.spelling import MAX_NAME, spelled_csv, spelled_json, split_csv, text_of
from streamad.records.values import UnreadableError, number, shown

MAJORITY = 0.98
"""So much of a sample must agree on what it is; a few bad rows change nothing."""

Column: TypeAlias = list[str | None]
"""[rows] trimmed text, None where it is missing."""

_DELIMITERS = (",", ";", "\t", "|")
_PROBE = 200
_HEADER_ROWS = 1000
"""A header is told from so many rows below it."""
_REGULAR = 0.8
"""The share of lines that must have the same number of fields."""
_QUOTED_LINES = 50
"""A quoted field that runs over more lines than this is taken for a stray quote."""
_MAX_COLUMNS = 1000
_RARE_SHARE = 0.01
"""A JSON key in fewer of the records is left out: whoever can send a few records must not shape the schema."""
_RARE_FROM = 100
"""In fewer records, a share says nothing."""
_NAMED = 3
"""So many names are given as examples."""


@dataclass(frozen=True, slots=True)
class Table:
    """The records that could be read from a sample."""

    payload: PayloadFormat
    columns: dict[str, Column]
    rows: int
    unreadable: int
    """Sampled rows that are no records of this format."""
    rare: frozenset[str] = frozenset()
    """Columns that hardly any record has."""
    omissions: tuple[str, ...] = ()
    """What of the sample is not in the columns, each a sentence without control characters."""


def read_table(sample: Sample) -> Table:
    """Recognise the format and split the lines. Raises `InputError` where nothing is recognisable."""
    if sample.parquet:
        return _json_table(sample, PayloadFormat(format="parquet"))
    first = _first(sample)
    if first.startswith(b"{"):
        return _json_table(sample, PayloadFormat(format="ndjson"))
    if first.startswith(b"["):
        raise InputError(f"{sample.name} is a JSON array; one JSON object a line is expected")
    if first.startswith(b"#separator"):
        raise InputError(f"{sample.name} is a Zeek log with comment lines; its JSON output is expected")
    if _is_kdd(sample.lines):
        return _csv_table(sample, sample.lines, PayloadFormat(format="kdd"), KDD_FIELDS)
    return _sniffed_table(sample)


def _first(sample: Sample) -> bytes:
    """The line that shows the format: of messages one that begins as most do, since the first may be junk."""
    if not sample.messages:
        return sample.lines[0].lstrip()
    lines = [line.lstrip() for line in sample.lines]
    ((usual, _),) = Counter(line[:1] for line in lines).most_common(1)
    return next(line for line in lines if line.startswith(usual))


def is_number(text: str) -> bool:
    """Whether the decoders read it as a finite number."""
    try:
        number("", text)
    except UnreadableError:
        return False
    return True


def _is_kdd(lines: Sequence[bytes]) -> bool:
    """Whether nearly all lines have 42 columns, a protocol second and a dot at the end, and none is a header."""
    fitting = sum(map(_fits_kdd, lines))
    first = lines[0].split(b",")
    headed = len(first) == len(KDD_FIELDS) and not is_number(first[0].strip().decode("utf-8", "replace"))
    return fitting >= MAJORITY * len(lines) and not headed


def _fits_kdd(line: bytes) -> bool:
    cells = line.split(b",")
    return (
        len(cells) == len(KDD_FIELDS)
        and cells[1].strip() in {b"tcp", b"udp", b"icmp"}
        and line.rstrip().endswith(b".")
    )


def _json_table(sample: Sample, payload: PayloadFormat) -> Table:
    records, faults = _readable(sample.lines, spelled_json)
    if len(records) < max(1, len(sample.lines) / 2):
        raise InputError(f"{sample.name} looks like NDJSON, but {_why_unreadable(faults, len(sample.lines))}")
    present = Counter(name for record in records for name in record)
    kept = {name for name, _ in present.most_common(_MAX_COLUMNS)}
    names = [name for name in present if name in kept]
    columns = {name: [record.get(name) for record in records] for name in names}
    least = _RARE_SHARE * len(records) if len(records) >= _RARE_FROM else 0
    rare = frozenset(name for name in names if present[name] < least)
    cut = len(present) - len(kept)
    omissions = (f"{cut:,} fields are left out: {_MAX_COLUMNS:,} others are more frequent",) if cut else ()
    return Table(payload, columns, len(records), len(faults), rare, omissions)


def _why_unreadable(faults: Sequence[Rejection], lines: int) -> str:
    """What is wrong with most of the lines that are no records."""
    reason = Counter(fault.reason for fault in faults).most_common(1)[0][0]
    alike = [fault for fault in faults if fault.reason == reason]
    if reason == "duplicate_key":
        return (
            f"in {len(alike)} of its first {lines} lines a key occurs twice once nested keys are joined by dots "
            f"({alike[0].detail})"
        )
    if reason in {"too_deep", "too_long"}:
        return f"{len(alike)} of its first {lines} lines cannot be read ({alike[0].detail})"
    return f"only {lines - len(faults)} of its first {lines} lines are JSON objects"


def rare_fields(names: Sequence[str]) -> str:
    """A sentence about the JSON keys that are left out of the schema."""
    return f"left out as fewer than 1 in 100 sampled records have them: {_some(names)}"


def _some(names: Sequence[str]) -> str:
    """How many names there are, and the first of them."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{len(names):,} field{'s'[: len(names) > 1]} ({', '.join(map(shown, names[:_NAMED]))}{more})"


def _sniffed_table(sample: Sample) -> Table:
    rows = sample.lines if sample.messages else _logical_lines(sample.lines)
    delimiter = _delimiter(rows[:_PROBE])
    if delimiter is None:
        raise InputError(
            f"{sample.name} is no table that streamad knows: neither CSV with , ; | or tabs, nor NDJSON, "
            "the KDDCUP99 format or Parquet"
        )
    cells = [_cells(row, delimiter) for row in rows[: _HEADER_ROWS + 1]]
    width = _modal_width(cells)
    first = cells[0]
    headed = not sample.messages and _is_header(first, [row for row in cells[1:] if len(row) == width])
    names = tuple(_name(cell) for cell in first) if headed else _numbered(width)
    if headed:
        _check_header(sample.name, names, rows)
    payload = PayloadFormat(format="csv", header=headed, delimiter=delimiter)
    return _csv_table(sample, rows[headed:], payload, names)


def _csv_table(sample: Sample, rows: Sequence[bytes], payload: PayloadFormat, names: Sequence[str]) -> Table:
    records, faults = _readable(rows, lambda row: spelled_csv(row, payload.delimiter, names))
    if not records:
        raise InputError(f"{sample.name} has {len(names)} column names, but no record with as many fields")
    columns = {name: [record[name] for record in records] for name in dict.fromkeys(names)}
    twice = [name for name, count in Counter(names).items() if count > 1]
    omissions = (f"more than one column is named so, and the first counts: {_some(twice)}",) if twice else ()
    return Table(payload, columns, len(records), len(faults), omissions=omissions)


def _readable(
    rows: Sequence[bytes], spelled: Callable[[bytes], Mapping[str, str | None]]
) -> tuple[list[Mapping[str, str | None]], list[Rejection]]:
    """The records, and why the other rows are none."""
    records, faults = [], []
    for row in rows:
        try:
            records.append(spelled(row))
        except UnreadableError as error:
            faults.append(error.rejection)
    return records, faults


def _logical_lines(lines: Sequence[bytes]) -> list[bytes]:
    """Lines joined where a quoted field runs over several; a stray quote joins nothing."""
    joined: list[bytes] = []
    at = 0
    while at < len(lines):
        end = at + 1
        if lines[at].count(b'"') % 2:
            closing = (
                k for k in range(at + 1, min(len(lines), at + _QUOTED_LINES)) if lines[k].count(b'"') % 2
            )
            end = next(closing, at) + 1
        joined.append(b"\n".join(lines[at:end]))
        at = end
    return joined


def _delimiter(rows: Sequence[bytes]) -> str | None:
    """The delimiter that splits most rows, the first one too, into the same number of fields, the more the better."""
    best: tuple[tuple[bool, float, int], str] | None = None
    for delimiter in _DELIMITERS:
        split = [_cells(row, delimiter) for row in rows]
        width = _modal_width(split)
        regular = sum(len(cells) == width for cells in split) / len(split)
        rank = (len(split[0]) == width, round(regular, 1), width)
        if width > 1 and regular >= _REGULAR and (best is None or rank > best[0]):
            best = rank, delimiter
    if best is not None:
        return best[1]
    single = sum(is_number(row.decode("utf-8", "replace").strip()) for row in rows)
    return "," if single >= _REGULAR * len(rows) else None


def _cells(row: bytes, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in split_csv(text_of(row, delimiter), delimiter)]
    except UnreadableError:
        return []


def _modal_width(cells: Sequence[Sequence[str]]) -> int:
    return Counter(map(len, cells)).most_common(1)[0][0]


def _is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Words above numbers, or words that never come again in their columns."""
    if any(is_number(cell) for cell in first) or not any(first):
        return False
    if not rest or len(first) != len(rest[0]):
        return len(set(first)) == len(first)
    columns = list(zip(*rest, strict=True))
    numeric = [sum(map(is_number, column)) > len(column) / 2 for column in columns]
    recurring = any(cell in column for cell, column in zip(first, columns, strict=True))
    return any(numeric) or (len(set(first)) == len(first) and not recurring)


def _name(cell: str) -> str:
    """A header's cell as the sources read it."""
    return cell.strip(" \t\"'\ufeff")


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(f"column_{k}" for k in range(1, width + 1))


def _check_header(source: str, names: Sequence[str], rows: Sequence[bytes]) -> None:
    if len(rows) == 1:
        raise InputError(f"{source} holds a header and no record")
    for name in names:
        if len(name) > MAX_NAME:
            raise InputError(f"{source}: the column name {shown(name)} is longer than {MAX_NAME} characters")
