"""Kernels for category codes: the compiled side of `streamad.records.dictionary`."""

# ruff: noqa: FBT001 - a kernel's arguments are told apart by place, as in the machine code

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamad.records.batch import MISSING_CODE, OTHER_CODE
from streamad.records.compiled import njit
from streamad.records.dictionary import MAX_VALUE_BYTES, Tables
from streamad.records.kernels import ONE, Place, signed

if TYPE_CHECKING:
    from numpy.typing import NDArray


@njit
def slot_of(data: NDArray[np.uint8], start: Place, stop: Place, seed: Place, slots: int) -> Place:
    """The first hash slot (of a power of two) to look at: FNV-1a from a secret start, its bits mixed."""
    state = seed
    for i in range(start, stop):
        state = (state ^ Place(data[i])) * Place(0x100000001B3)
    state = (state ^ (state >> Place(32))) * Place(0x9E3779B97F4A7C15)
    return (state >> Place(32)) & Place(slots - 1)


@njit
def find(data: NDArray[np.uint8], start: Place, stop: Place, tables: Tables, field: int) -> tuple[int, Place]:
    """(code or 0, the slot it was found in or belongs in): the bytes are compared, never only the hash."""
    slots = tables.slots.shape[1]
    slot = slot_of(data, start, stop, tables.seed[0], slots)
    while True:
        code = tables.slots[field, slot]
        if code == OTHER_CODE:
            return OTHER_CODE, slot
        begin = Place(tables.bounds[field, code])
        same = Place(tables.bounds[field, code + 1]) - begin == stop - start
        i = start
        while same and i < stop:
            same = tables.arena[field, begin + i - start] == data[i]
            i += ONE
        if same:
            return code, slot
        slot = (slot + ONE) & Place(slots - 1)


@njit
def code_of(
    data: NDArray[np.uint8],
    start: Place,
    stop: Place,
    tables: Tables,
    field: int,
    record: int,
    learn: bool,
) -> int:
    """The code of a trimmed category value: `Dictionary.code`, compiled."""
    length = signed(stop - start)
    if length == 0:
        return MISSING_CODE
    if length > MAX_VALUE_BYTES:
        return OTHER_CODE
    code, slot = find(data, start, stop, tables, field)
    if code != OTHER_CODE:
        return code if learn or tables.first_seen[field, code] <= record else OTHER_CODE
    code = int(tables.counts[field])
    begin = tables.bounds[field, code] if code < tables.first_seen.shape[1] else tables.arena.shape[1]
    if not learn or begin + length > tables.arena.shape[1] - MAX_VALUE_BYTES:
        return OTHER_CODE
    for i in range(length):
        tables.arena[field, begin + i] = data[start + Place(i)]
    tables.bounds[field, code + 1] = begin + length
    tables.first_seen[field, code] = record
    tables.slots[field, slot] = code
    tables.counts[field] = tables.indexed[field] = code + 1
    return code


@njit
def index_new(tables: Tables) -> None:
    """Take the values that the general decoder admitted into the hash slots."""
    for field in range(len(tables.counts)):
        for code in range(tables.indexed[field], tables.counts[field]):
            start, stop = Place(tables.bounds[field, code]), Place(tables.bounds[field, code + 1])
            slot = find(tables.arena[field], start, stop, tables, field)[1]
            tables.slots[field, slot] = code
        tables.indexed[field] = tables.counts[field]
