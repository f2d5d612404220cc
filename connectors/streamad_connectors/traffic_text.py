"""Traffic columns as KDDCUP99 lines, without touching a record in Python.

Each token comes from a table of eight-byte words padded with NULs, so that a line is a row of words and
the text is all rows with the NULs deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from streamad.records.kdd import KDD_FIELDS
from streamad_connectors.traffic import LABELS, Columns
from streamad_connectors.traffic_profiles import FLAGS, PROTOCOLS, SERVICE_NAMES, Ints

_WORDS = {"protocol_type": PROTOCOLS, "service": SERVICE_NAMES, "flag": FLAGS, "label": LABELS}
_LARGE = ("duration", "src_bytes", "dst_bytes")


def lines(columns: Columns) -> bytes:
    """The records as lines, each with its newline."""
    words = [word for field in KDD_FIELDS for word in _tokens(field, columns[field])]
    return np.stack(words, axis=1).tobytes().translate(None, b"\0")


def _tokens(field: str, values: Ints) -> Iterator[NDArray[np.uint64]]:
    """One or more words a record: the value with the comma or newline after it."""
    if field in _LARGE:
        yield from _large(values)
        return
    for table in _TABLES[field]:
        yield table[values]


def _large(values: Ints) -> Iterator[NDArray[np.uint64]]:
    """Integers up to 12 digits, four digits a word."""
    yield _LEADING[values // 10**8]
    middle = values // 10**4 % 10**4
    yield np.where(values >= 10**8, _PADDED[middle], _LEADING[middle])
    last = values % 10**4
    yield np.where(values >= 10**4, _PADDED_END[last], _SMALL[last])


def _table(tokens: Iterable[str]) -> tuple[NDArray[np.uint64], ...]:
    """Columns of eight-byte words that spell the tokens."""
    encoded = np.array([token.encode() for token in tokens])
    width = -(-encoded.dtype.itemsize // 8)
    words = encoded.astype(f"S{8 * width}").view(np.uint64).reshape(len(encoded), width)
    return tuple(np.ascontiguousarray(words[:, k]) for k in range(width))


_LEADING = _table(f"{i}" if i else "" for i in range(10**4))[0]
_PADDED = _table(f"{i:04}" for i in range(10**4))[0]
_PADDED_END = _table(f"{i:04}," for i in range(10**4))[0]
_SMALL = _table(f"{i}," for i in range(10**4))[0]
_RATES = _table(f"{i / 100:.2f}," for i in range(101))


def _table_of(field: str) -> tuple[NDArray[np.uint64], ...]:
    if field in _WORDS:
        end = "\n" if field == KDD_FIELDS[-1] else ","
        return _table(word + end for word in _WORDS[field])
    return _RATES if field.endswith("_rate") else (_SMALL,)


_TABLES = {field: _table_of(field) for field in KDD_FIELDS if field not in _LARGE}
