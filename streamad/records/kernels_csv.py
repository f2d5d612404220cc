"""The compiled CSV decoder: plain rows straight from bytes into the matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamad.records.compiled import njit
from streamad.records.dictionary import Tables
from streamad.records.kernels import (
    NAN,
    NUMBER,
    SKIP,
    Meaning,
    Out,
    code_of,
    decimal,
    index_new,
    is_blank,
    plain_value,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CsvPlan(NamedTuple):
    """What to do with each column."""

    kinds: NDArray[np.int64]
    targets: NDArray[np.int64]
    """The column of the matrix that `kinds` means."""
    delimiter: int
    spans: NDArray[np.int64]
    """[C, 2] scratch: where this row's category values are; an empty span is a missing value."""


@njit
def read_csv(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    row: int,
    first: int,
    learn: bool,  # noqa: FBT001 - kernels take no keywords
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
    data: NDArray[np.uint8], start: int, end: int, row: int, plan: CsvPlan, out: Out, meaning: Meaning
) -> bool:
    """Read one row but its categories; whether it was understood."""
    p = start
    for column in range(len(plan.kinds)):
        if column > 0:
            if p >= end or data[p] != plan.delimiter:
                return False
            p += 1
        while p < end and is_blank(data[p]) and data[p] != plan.delimiter:
            p += 1
        kind = plan.kinds[column]
        if kind == NUMBER:
            p, good = csv_number(data, p, end, row, plan.targets[column], plan.delimiter, out)
        else:
            begin = p
            p, stop, good = csv_text(data, p, end, plan.delimiter)
            if kind != SKIP:
                good = good and plain_value(
                    data, begin, stop, row, kind, plan.targets[column], out, meaning, plan.spans
                )
        if not good:
            return False
    return p == end and (len(plan.kinds) > 1 or not blank(data, start, end))


@njit
def csv_number(
    data: NDArray[np.uint8], p: int, end: int, row: int, target: int, delimiter: int, out: Out
) -> tuple[int, bool]:
    """Read the number at `p`, or none; returns the place of the delimiter behind it, and understood."""
    if p == end or data[p] == delimiter:
        out.numbers[row, target] = NAN
        return p, True
    value, p, good = decimal(data, p, end)
    out.numbers[row, target] = value
    while p < end and is_blank(data[p]) and data[p] != delimiter:
        p += 1
    return p, good


@njit
def csv_text(data: NDArray[np.uint8], p: int, end: int, delimiter: int) -> tuple[int, int, bool]:
    """(place of the next delimiter, end of the text, understood): no quotes, only ASCII."""
    stop = p
    while p < end:
        byte = data[p]
        if byte == delimiter:
            break
        if byte == 34 or byte >= 128:
            return p, stop, False
        p += 1
        if not is_blank(byte):
            stop = p
    return p, stop, True


@njit
def blank(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether there is nothing but blanks."""
    for i in range(start, end):
        if not is_blank(data[i]):
            return False
    return True
