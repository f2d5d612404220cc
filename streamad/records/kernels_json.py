"""The compiled JSON decoder: plain objects with known keys, straight from bytes into the matrices."""

# ruff: noqa: FBT001 - a kernel's arguments are told apart by place, as in the machine code

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamad.records.compiled import njit
from streamad.records.dictionary import Tables
from streamad.records.kernels import NAN, ONE, Place, figures, power_at, scaled, trimmed
from streamad.records.kernels_codes import code_of, index_new
from streamad.records.kernels_fields import NUMBER, SKIP, Meaning, Out, plain_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


NOWHERE = Place(2**64 - 1)
"""Instead of a place: it was not understood."""


class JsonPlan(NamedTuple):
    """The keys that may stand in an object, as a tree: entries (a key within a node) and nodes (objects).

    Node 0 is the record. ``a.b`` may be written ``{"a": {"b": 1}}`` or ``{"a.b": 1}``: two entries, one field.
    """

    keys: NDArray[np.uint8]
    """The entries' keys, each with its closing quote, one behind the other."""
    bounds: NDArray[Place]
    """[entries + 1]"""
    nodes: NDArray[np.int64]
    """[entries] the node that the key belongs to."""
    children: NDArray[np.int64]
    """[entries] the node that its object is, -1 for none."""
    fields: NDArray[np.int64]
    """[entries] the field that its value is, -1 for none."""
    kinds: NDArray[np.int64]
    """[fields]"""
    targets: NDArray[np.int64]
    """[fields] the column of the matrix that `kinds` means."""
    counted: int
    """Fields from this one on are unknown to the schema, and counted."""
    counts: NDArray[np.int64]
    """[fields] rows that had the field; only kept for the unknown ones."""
    following: NDArray[np.int64]
    """[entries + 1] the entry that came last time after this one (the last: at the start): tried first."""
    seen_entries: NDArray[np.int64]
    """[entries] the stamp of the last row that had it."""
    seen_fields: NDArray[np.int64]
    """[fields] likewise."""
    stamp: NDArray[np.int64]
    """[1] grows with every row."""
    stack: NDArray[np.int64]
    """[depth] scratch: the nodes around the present one."""
    spans: NDArray[Place]
    """[C, 2] scratch: where this row's category values are; an empty span is a missing value."""


@njit
def read_json(
    data: NDArray[np.uint8],
    starts: NDArray[Place],
    ends: NDArray[Place],
    row: int,
    first: int,
    learn: bool,
    plan: JsonPlan,
    out: Out,
    meaning: Meaning,
    tables: Tables,
) -> int:
    """Read rows from `row` on; returns the first one that is not plain (or was rejected before), or n."""
    index_new(tables)
    for i in range(row, len(starts)):
        plan.spans[:] = 0
        plan.stamp[0] += 1
        if out.status[i] != 0 or not json_row(data, starts[i], ends[i], i, plan, out, meaning):
            return i
        for field in range(len(plan.spans)):
            start, stop = plan.spans[field, 0], plan.spans[field, 1]
            out.codes[i, field] = code_of(data, start, stop, tables, field, first + i, learn)
        for field in range(plan.counted, len(plan.kinds)):
            plan.counts[field] += plan.seen_fields[field] == plan.stamp[0]
    return len(starts)


@njit
def json_row(  # noqa: C901, PLR0911 - a parser's states, and a return for each thing that is not plain
    data: NDArray[np.uint8], start: Place, end: Place, row: int, plan: JsonPlan, out: Out, meaning: Meaning
) -> bool:
    """Read one row but its categories; whether it was understood."""
    p = after_space(data, start, end)
    if p == end or data[p] != 123:
        return False
    p = after_space(data, p + ONE, end)
    depth, node, entry = 0, 0, len(plan.nodes)
    opened = True  # directly behind an opening brace: the object may close at once
    while p < end:
        if not (opened and data[p] == 125):
            entry, p = key_at(data, p, end, node, entry, plan)
            if entry < 0 or p == end:
                return False
            if data[p] == 123:
                if plan.children[entry] < 0:
                    return False
                plan.stack[depth] = node
                depth, node, opened = depth + 1, plan.children[entry], True
                p = after_space(data, p + ONE, end)
                continue
            p = value_at(data, p, end, row, plan.fields[entry], plan, out, meaning)
            if p == NOWHERE:
                return False
            p = after_space(data, p, end)
        while p < end and data[p] == 125:
            p = after_space(data, p + ONE, end)
            if depth == 0:
                return bool(p == end)
            depth -= 1
            node = plan.stack[depth]
        if p == end or data[p] != 44:
            return False
        p, opened = after_space(data, p + ONE, end), False
    return False


@njit
def after_space(data: NDArray[np.uint8], p: Place, end: Place) -> Place:
    """The next byte that is no JSON white space."""
    while p < end and (data[p] == 32 or data[p] == 9 or data[p] == 10 or data[p] == 13):
        p += ONE
    return p


@njit
def key_at(
    data: NDArray[np.uint8], p: Place, end: Place, node: int, before: int, plan: JsonPlan
) -> tuple[int, Place]:
    """(entry of the key at `p`, first byte of its value); entry -1 for a key unknown, repeated or odd."""
    if data[p] != 34:
        return -1, p
    entry, entries, bounds = plan.following[before], len(plan.nodes), plan.bounds
    if plan.nodes[entry] != node or not text_at(
        data, p + ONE, end, plan.keys, bounds[entry], bounds[entry + 1]
    ):
        entry = 0
        while entry < entries and not (
            plan.nodes[entry] == node
            and text_at(data, p + ONE, end, plan.keys, bounds[entry], bounds[entry + 1])
        ):
            entry += 1
        if entry == entries:
            return -1, p
        plan.following[before] = entry
    if plan.seen_entries[entry] == plan.stamp[0]:
        return -1, p
    plan.seen_entries[entry] = plan.stamp[0]
    p = after_space(data, p + ONE + bounds[entry + 1] - bounds[entry], end)
    if p == end or data[p] != 58:
        return -1, p
    return entry, after_space(data, p + ONE, end)


@njit
def text_at(
    data: NDArray[np.uint8], p: Place, end: Place, keys: NDArray[np.uint8], begin: Place, stop: Place
) -> bool:
    """Whether ``keys[begin:stop]`` stands at `p`."""
    if stop - begin > end - p:
        return False
    for i in range(begin, stop):  # noqa: SIM110 - kernels have no generators
        if data[p + i - begin] != keys[i]:
            return False
    return True


@njit
def value_at(
    data: NDArray[np.uint8],
    p: Place,
    end: Place,
    row: int,
    field: int,
    plan: JsonPlan,
    out: Out,
    meaning: Meaning,
) -> Place:
    """Read the string, number or word at `p`; returns the first byte behind it, or `NOWHERE`."""
    if field < 0 or plan.seen_fields[field] == plan.stamp[0]:
        return NOWHERE
    plan.seen_fields[field] = plan.stamp[0]
    kind, target, byte = plan.kinds[field], plan.targets[field], data[p]
    if kind == NUMBER:
        return number_at(data, p, end, row, target, out)
    if byte == 34:
        stop = string_end(data, p + ONE, end)
        if stop == NOWHERE:
            return NOWHERE
        start, last = trimmed(data, p + ONE, stop)
        after = stop + ONE
    else:
        after = literal_end(data, p, end)
        if after == NOWHERE:
            return NOWHERE
        start, last = p, p if byte == 110 else after  # null is missing
    if kind != SKIP and not plain_value(data, start, last, row, kind, target, out, meaning, plan.spans):
        return NOWHERE
    return after


@njit
def number_at(data: NDArray[np.uint8], p: Place, end: Place, row: int, target: int, out: Out) -> Place:
    """Read the JSON number (or null) at `p`; returns the first byte behind it, or `NOWHERE`."""
    if data[p] == 110:
        out.numbers[row, target] = NAN
        return literal_end(data, p, end)
    negative = data[p] == 45
    begin = p + ONE if negative else p
    if begin == end or not 48 <= data[begin] <= 57:
        return NOWHERE
    if data[begin] == 48 and begin + ONE < end and 48 <= data[begin + ONE] <= 57:
        return NOWHERE
    mantissa, exponent, p, good = figures(data, begin, end)
    if not good or data[p - ONE] == 46:
        return NOWHERE
    if p < end and data[p] | 32 == 101:
        power, p, good = power_at(data, p + ONE, end)
        exponent += power
    value, sure = scaled(mantissa, exponent)
    out.numbers[row, target] = -value if negative else value
    return p if good and sure else NOWHERE


@njit
def string_end(data: NDArray[np.uint8], p: Place, end: Place) -> Place:
    """The place of the closing quote, or `NOWHERE`: no escapes, no control characters, only ASCII."""
    while p < end:
        byte = data[p]
        if byte == 34:
            return p
        if byte < 32 or byte >= 128 or byte == 92:
            return NOWHERE
        p += ONE
    return NOWHERE


@njit
def literal_end(data: NDArray[np.uint8], p: Place, end: Place) -> Place:
    """The first byte behind null, true, false or a number, or `NOWHERE`."""
    byte = data[p]
    if byte == 116:
        return word_end(data, p, end, b"true")
    if byte == 102:
        return word_end(data, p, end, b"false")
    if byte == 110:
        return word_end(data, p, end, b"null")
    return number_end(data, p + ONE if byte == 45 else p, end)


@njit
def number_end(data: NDArray[np.uint8], p: Place, end: Place) -> Place:
    """The first byte behind a JSON number without its sign, or `NOWHERE`."""
    begin = p
    p = digits_end(data, p, end)
    if p == begin or (data[begin] == 48 and p > begin + ONE):
        return NOWHERE
    if p < end and data[p] == 46:
        begin = p + ONE
        p = digits_end(data, begin, end)
        if p == begin:
            return NOWHERE
    if p < end and data[p] | 32 == 101:
        power = power_at(data, p + ONE, end)
        return power[1] if power[2] else NOWHERE
    return p


@njit
def digits_end(data: NDArray[np.uint8], p: Place, end: Place) -> Place:
    """The first byte that is no digit."""
    while p < end and 48 <= data[p] <= 57:
        p += ONE
    return p


@njit
def word_end(data: NDArray[np.uint8], p: Place, end: Place, word: bytes) -> Place:
    """The first byte behind this very word, or `NOWHERE`."""
    if Place(len(word)) > end - p:
        return NOWHERE
    for i in range(len(word)):
        if data[p + Place(i)] != word[i]:
            return NOWHERE
    return p + Place(len(word))
