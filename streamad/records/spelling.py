"""Payload bytes to the spelled values of its fields: CSV and JSON, one record at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamad.records.values import BLANKS, UnreadableError, shown

MAX_DEPTH = 32
"""Deeper nesting is rejected, before anything recursive looks at it."""

MAX_NAME = 256
"""A longer (flattened) field name is rejected: names are repeated for every value below them."""

Spelled = Mapping[str, str | None]
"""field -> its trimmed text, None where it is missing."""


class Literal(str):
    """The source text of a JSON number, true or false, as against a JSON string."""

    __slots__ = ()


def text_of(payload: bytes, delimiter: str = "") -> str:
    """The payload as text, without a byte order mark, which some producers write before each record.

    Raises `UnreadableError` (invalid_utf8, empty).
    """
    try:
        text = payload.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UnreadableError("invalid_utf8", None, f"byte {error.start + 1} is not UTF-8") from None
    if not text.strip(BLANKS.replace(delimiter, "") if delimiter else BLANKS):
        raise UnreadableError("empty", None, "the record is blank")
    return text


def spelled_csv(payload: bytes, delimiter: str, columns: Sequence[str]) -> dict[str, str | None]:
    """One CSV row by column name; of columns with the same name the first counts.

    Raises `UnreadableError` (invalid_utf8, empty, unterminated_quote, too_few_fields, too_many_fields).
    """
    values = split_csv(text_of(payload, delimiter), delimiter)
    if len(values) != len(columns):
        reason = "too_few_fields" if len(values) < len(columns) else "too_many_fields"
        raise UnreadableError(reason, None, f"found {len(values)} fields, expected {len(columns)}")
    trimmed = [value.strip(BLANKS) or None for value in values]
    record = dict(zip(columns, trimmed, strict=True))
    if len(record) < len(columns):  # of equal names the first counts, so it is written last
        record.update(zip(reversed(columns), reversed(trimmed), strict=True))
    return record


def split_csv(text: str, delimiter: str) -> list[str]:
    """The fields of one row. A field is quoted when its first character that is no blank is a quote.

    Within quotes, two quotes stand for one; what follows the closing quote is taken as it is.
    Raises `UnreadableError` (unterminated_quote).
    """
    if '"' not in text or delimiter == '"':
        return text.split(delimiter)
    blank = re.compile(f"[{re.escape(BLANKS.replace(delimiter, ''))}]*")
    values, position = [], 0
    while position <= len(text):
        opening = blank.match(text, position).end()  # type: ignore[union-attr]  # it matches anywhere
        quoted = ""
        if text.startswith('"', opening):
            quoted, position = _quoted(text, opening + 1)
        end = text.find(delimiter, position)
        end = len(text) if end < 0 else end
        values.append(quoted + text[position:end])
        position = end + len(delimiter)
    return values


def _quoted(text: str, position: int) -> tuple[str, int]:
    """The content of quotes and the place behind them; `position` is behind the opening one."""
    pieces = []
    while True:
        end = text.find('"', position)
        if end < 0:
            raise UnreadableError("unterminated_quote", None, "a quote is opened and never closed")
        pieces.append(text[position:end])
        if not text.startswith('"', end + 1):
            return '"'.join(pieces), end + 1
        position = end + 2


def spelled_json(payload: bytes) -> dict[str, str | None]:
    """One JSON object by flattened field name.

    Raises `UnreadableError` (invalid_utf8, empty, too_deep, invalid_json, not_an_object, duplicate_key,
    too_long for a field name).
    """
    text = text_of(payload)
    _check_depth(text)
    try:
        value = _decoder.decode(text)
    except ValueError as error:
        detail = (
            f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise UnreadableError("invalid_json", None, detail) from None
    if not isinstance(value, dict):
        raise UnreadableError("not_an_object", None, "the record is JSON, but not an object")
    record: dict[str, str | None] = {}
    for name, leaf in flattened(value):
        if name in record:
            raise UnreadableError("duplicate_key", name[:80], f"{shown(name)} occurs twice")
        record[name] = leaf_text(leaf)
    if "\\u" in text:
        _refuse_surrogates(record)
    return record


def flattened(value: Mapping[Any, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """(``a.b``, leaf) for ``{"a": {"b": leaf}}``. Raises `UnreadableError` (too_long, too_deep)."""
    if depth > MAX_DEPTH:
        raise UnreadableError("too_deep", None, f"nested deeper than {MAX_DEPTH}")
    for key, leaf in value.items():
        name = f"{prefix}{key}"
        if len(name) > MAX_NAME:
            raise UnreadableError("too_long", None, f"a field name is longer than {MAX_NAME} characters")
        if isinstance(leaf, Mapping):
            yield from flattened(leaf, f"{name}.", depth + 1)
        else:
            yield name, leaf


def leaf_text(leaf: object) -> str | None:
    """The trimmed text of a JSON value that is no object; arrays as compact JSON."""
    if leaf is None:
        return None
    if isinstance(leaf, bool):
        return Literal(_compact(leaf))
    if isinstance(leaf, Literal):
        return leaf
    if isinstance(leaf, str):
        return leaf.strip(BLANKS) or None
    return _compact(leaf)


def _compact(value: object) -> str:
    """Compact JSON, numbers in their source spelling."""
    if isinstance(value, Literal):
        return value
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_compact(str(key))}:{_compact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_compact, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add returns None
        raise UnreadableError("duplicate_key", name[:80], f"{shown(name)} occurs twice")
    return made


# Numbers stay text: their spelling counts, and int() refuses more than 4,300 digits.
_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=Literal, parse_int=Literal, parse_constant=Literal
)
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)


def _check_depth(text: str) -> None:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise UnreadableError("too_deep", None, f"nested deeper than {MAX_DEPTH}")
        elif token[0] in "}]":
            depth -= 1


def _refuse_surrogates(record: Mapping[str, str | None]) -> None:
    """Half of a surrogate pair is no text: nothing could write it down again."""
    try:
        for name, value in record.items():
            name.encode()
            (value or "").encode()
    except UnicodeEncodeError:
        raise UnreadableError("invalid_json", None, "a \\u escape is half of a surrogate pair") from None
