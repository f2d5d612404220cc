"""The general decoder: any payload, one row at a time. The compiled one reads the plain rows the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from streamad.records.batch import MISSING_TIME
from streamad.records.schema import PayloadFormat, Schema
from streamad.records.spelling import Literal, Spelled, flattened, leaf_text, spelled_csv, spelled_json
from streamad.records.values import (
    UnreadableError,
    boolean,
    exact_number,
    normal_words,
    number,
    time_reader,
    truth,
)

NAN = float("nan")

Reader = Callable[[str, str], float]
"""(field, text) -> number; raises `UnreadableError`."""


class Row(NamedTuple):
    """One accepted record."""

    numbers: list[float]
    categories: list[str | None]
    time: int
    truth: int
    unknown: tuple[str, ...]
    """Fields of this payload that the schema does not name (JSON; a CSV header says it for all rows)."""


class GeneralDecoder:
    """Reads payloads of one format under one schema. Raises `UserError` for a zone that does not exist."""

    def __init__(self, schema: Schema, payload: PayloadFormat) -> None:
        self.schema = schema
        self.json = payload.format in ("ndjson", "parquet")
        self.delimiter = "," if payload.format == "kdd" else payload.delimiter
        self.headed = payload.format == "csv" and payload.header
        self._columns = tuple(schema.fields)
        self._known = frozenset(schema.fields)
        self._readers: list[tuple[str, Reader]] = [
            *((name, number) for name in schema.names("numeric")),
            *((name, boolean) for name in schema.names("boolean")),
        ]
        self._time = None if schema.time is None else (schema.time.field, time_reader(schema.time))
        self._normal = normal_words(schema.truth)
        native: dict[str, Callable[[str], object]] = {"numeric": _number, "boolean": _boolean}
        native |= {"categorical": str, "id": str}
        self._natives = {name: native.get(word, _as_spelled) for name, word in schema.fields.items()}

    def columns(self, header: tuple[str, ...] | None) -> tuple[str, ...]:
        """The columns of a CSV block: its header where the feed has headers, else schema order."""
        return header if self.headed and header is not None else self._columns

    def spelled(self, payload: bytes, columns: Sequence[str]) -> Spelled:
        """The payload's values by field name. Raises `UnreadableError`."""
        if self.json:
            return spelled_json(payload)
        return spelled_csv(payload, self.delimiter, columns)

    def row(self, payload: bytes, columns: Sequence[str]) -> Row:
        """Read one payload. Raises `UnreadableError` saying why it is no record."""
        record = self.spelled(payload, columns)
        numbers = [_or_missing(reader, name, record.get(name)) for name, reader in self._readers]
        unknown = tuple(name for name in record if name not in self._known) if self.json else ()
        return Row(
            numbers,
            [record.get(name) for name in self.schema.categories],
            self._event_time(record),
            self._label(record),
            unknown,
        )

    def record(self, payload: bytes, columns: Sequence[str]) -> dict[str, Any]:
        """An accepted payload for people: see `Decoder.record`. Raises `UnreadableError`."""
        natives = self._natives
        return {
            name: None if text is None else natives.get(name, _as_spelled)(text)
            for name, text in self.spelled(payload, columns).items()
        }

    def features(self, record: Mapping[str, Any]) -> tuple[list[float], list[str | None], int]:
        """Numbers, categories and time of a record as `record` gives it; what cannot be read is missing."""
        texts = _texts(record)
        numbers = [_lenient(reader, name, texts.get(name)) for name, reader in self._readers]
        try:
            time = self._event_time(texts)
        except UnreadableError:
            time = MISSING_TIME
        return numbers, [texts.get(name) for name in self.schema.categories], time

    def time(self, text: str | None) -> int:
        """An event time as the schema has them written, trimmed. Raises `UnreadableError` (bad_time)."""
        return MISSING_TIME if self._time is None or not text else self._time[1](text)

    def _event_time(self, record: Spelled) -> int:
        return MISSING_TIME if self._time is None else self.time(record.get(self._time[0]))

    def _label(self, record: Spelled) -> int:
        text = None if self.schema.label is None else record.get(self.schema.label)
        return -1 if text is None else truth(text, self._normal)


def _number(text: str) -> object:
    """The value of a numeric field, for people; JSON's true and false stay what they are."""
    return _short_number(text) if len(text) <= _SHORT else _any_number(text)


def _any_number(text: str) -> object:
    return {"true": True, "false": False}[text] if text in ("true", "false") else exact_number(text)


_SHORT = 16
_short_number = lru_cache(1 << 14)(_any_number)  # most numbers of a feed are the same few


def _boolean(text: str) -> bool:
    return bool(boolean("", text))


def _as_spelled(text: str) -> object:
    """The value of a field that is no feature: a number or a truth value where JSON says so, else text."""
    return _number(text) if isinstance(text, Literal) else str(text)


def _or_missing(reader: Reader, name: str, text: str | None) -> float:
    return NAN if text is None else reader(name, text)


def _lenient(reader: Reader, name: str, text: str | None) -> float:
    try:
        return _or_missing(reader, name, text)
    except UnreadableError:
        return NAN


def _texts(record: Mapping[str, Any]) -> dict[str, str | None]:
    """The values of a JSON-able record as text; nothing at all where it is nested beyond reason."""
    try:
        return {name: _text(leaf) for name, leaf in flattened(record)}
    except UnreadableError:
        return {}


def _text(leaf: object) -> str | None:
    try:
        text = repr(leaf) if isinstance(leaf, float) else leaf_text(leaf)
        return text if text is None or text.encode() else None
    except (ValueError, TypeError, RecursionError):
        return None
