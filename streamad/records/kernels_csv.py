"""The compiled CSV decoder: plain rows straight from bytes into the matrices."""

# ruff: noqa: FBT001 - a kernel's arguments are told apart by place, as in the machine code

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamad.records.compiled import njit
from streamad.records.dictionary import Tables
from streamad.records.kernels import NAN, ONE, Place, decimal, is_blank, trimmed
from streamad.records.kernels_codes import code_of, index_new
from streamad.records.kernels_fields import NUMBER, SKIP, Meaning, Out, plain_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CsvPlan(NamedTuple):
    """What to do with each column."""

    kinds: NDArray[np.int64]
    targets: NDArray[np.int64]
    """The column of the matrix that `kinds` means."""
    delimiter: int
    spans: NDArray[Place]
    """[C, 2] scratch: where this row's category values are; an empty span is a missing value."""


@njit
def read_csv(
    data: NDArray[np.uint8],
    starts: NDArray[Place],
    ends: NDArray[Place],
    row: int,
    first: int,
    learn: bool,
    plan: CsvPlan,
    out: Out,
    meaning: Meaning,
    tables: Tables,
) -> int:
    """Read rows from `row` on; returns the first one that is not plain (or was rejected before), or n."""
    index_new(tables)
    for i in range(row, len(starts)):
        if out.status[i] != 0 or not csv_row(data, starts[i], ends[i], i, plan, out, meaning):
            return i
        for field in range(len(plan.spans)):
            start, stop = plan.spans[field, 0], plan.spans[field, 1]
            out.codes[i, field] = code_of(data, start, stop, tables, field, first + i, learn)
    return len(starts)


@njit
def csv_row(
    data: NDArray[np.uint8], start: Place, end: Place, row: int, plan: CsvPlan, out: Out, meaning: Meaning
) -> bool:
    """Read one row but its categories; whether it was understood."""
    delimiter, p = plan.delimiter, start
    for column in range(len(plan.kinds)):
        if column > 0:
            if p >= end or data[p] != delimiter:
                return False
            p += ONE
        p = after_blanks(data, p, end, delimiter)
        kind, target = plan.kinds[column], plan.targets[column]
        if kind == NUMBER:
            value, good = NAN, True
            if p < end and data[p] != delimiter:
                value, p, good = decimal(data, p, end)
            out.numbers[row, target] = value
            p = after_blanks(data, p, end, delimiter)
        else:
            begin = p
            p, good = text_end(data, p, end, delimiter)
            if kind != SKIP and good:
                stop = trimmed(data, begin, p)[1]
                good = plain_value(data, begin, stop, row, kind, target, out, meaning, plan.spans)
        if not good:
            return False
    return p == end and (len(plan.kinds) > 1 or after_blanks(data, start, end, delimiter) != end)


@njit
def after_blanks(data: NDArray[np.uint8], p: Place, end: Place, delimiter: int) -> Place:
    """The next byte that is the delimiter or no blank."""
    while p < end and data[p] <= 32 and is_blank(data[p]) and data[p] != delimiter:
        p += ONE
    return p


@njit
def text_end(data: NDArray[np.uint8], p: Place, end: Place, delimiter: int) -> tuple[Place, bool]:
    """(place of the next delimiter, understood): no quotes, only ASCII."""
    while p < end:
        byte = data[p]
        if byte == delimiter:
            break
        if byte == 34 or byte >= 128:
            return p, False
        p += ONE
    return p, True
