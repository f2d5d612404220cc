"""From chunks of bytes to rows: the line splitter that every text source shares.

Everything is vectorised over a chunk; Python loops only over lines whose quotes are unbalanced.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from streamad.records.batch import Rejection

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUT_BYTES = 4096
"""How much of a too long record is kept."""

BLOCK_BYTES = 16 << 20
"""A block ends with the row that reaches this many bytes of the file, so that long rows stay in bounds."""

MARK_BYTES = 1024
"""How much of a file's head, and of what lies before a position, a fingerprint covers."""

JOIN_LINES = 1000
"""A quoted field that spans more lines than this is taken for a stray quote."""

_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
_BOM = b"\xef\xbb\xbf"
_END, _STOP, _AFTER, _LINE, _LENGTH = range(5)


def fingerprint(content: bytes) -> str:
    """A short hash by which a piece of a file is recognised."""
    return blake2b(content, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows taken from a `Splitter`; spans are in `data`, which is a view on the chunk read."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]
    """[n] the number of each row's first line, from 1."""
    lengths: dict[int, int]
    """True length in bytes of the rows that are too long, and therefore cut."""
    line: int
    """Lines of the file up to the end of these rows."""
    offset: int
    """Bytes of the file up to the end of these rows."""
    tail: bytes
    """The last bytes of the file, at most `MARK_BYTES`, before `offset`."""

    def faults(self) -> dict[int, Rejection]:
        """Why the cut rows are no records."""
        return {row: Rejection("too_long", None, f"{size} bytes") for row, size in self.lengths.items()}


class Splitter:
    """Cuts a stream of chunks into rows; the rows do not depend on where the chunks were cut.

    `limit` is the longest row in bytes; a longer one is passed by in bounded memory. `delimiter` is given
    for CSV only: a line whose last quoted field stays open is joined with the lines that follow. `offset`,
    `line` and `tail` say what lies behind the first chunk.
    """

    def __init__(
        self, limit: int, delimiter: str | None = None, *, offset: int = 0, line: int = 0, tail: bytes = b""
    ) -> None:
        self._limit = limit
        self._opening = _opening_quote(delimiter) if delimiter else None
        self._data = np.frombuffer(tail, np.uint8)
        self._table = np.empty((5, 0), np.int64)  # the rows not taken yet, see _END.._LENGTH
        self._first = len(tail)  # where the rows not taken yet begin in the data
        self._taken_offset, self._taken_line = offset, line
        self._open = len(tail)  # where the bytes not split yet begin in the data
        self._offset, self._line = offset, line  # of the file, at `_open`
        self._long: int | None = None  # bytes seen of a line too long to be kept
        self._long_tail = b""

    @property
    def rows(self) -> int:
        """How many rows can be taken."""
        return self._table.shape[1]

    def rows_up_to(self, line: int) -> int:
        """How many of them end at or before a line of the file."""
        return int(np.searchsorted(self._table[_LINE], line, side="right"))

    def ready(self, rows: int) -> bool:
        """Whether a full block can be taken."""
        return self.rows >= rows or (
            self.rows > 0 and int(self._table[_AFTER, -1]) - self._taken_offset >= BLOCK_BYTES
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        if self._long is not None:
            chunk = self._pass_by(chunk)
        if chunk:
            self._append(chunk)
            self._split(final=False)

    def finish(self) -> None:
        """The file ends here: a last line without its newline is a row."""
        if self._long is not None:
            self._end_long_line()
        self._split(final=True)

    def take(self, rows: int) -> Rows:
        """The next rows, at most `rows` and about `BLOCK_BYTES`; at least one must be there."""
        full = np.searchsorted(self._table[_AFTER], self._taken_offset + BLOCK_BYTES)
        table = self._table[:, : min(rows, int(full) + 1)]
        stop = int(table[_STOP, -1])
        starts = np.concatenate(([self._first], table[_STOP, :-1]))
        lines = np.concatenate(([self._taken_line], table[_LINE, :-1])) + 1
        lengths = table[_LENGTH]
        taken = Rows(
            data=self._data[self._first : stop],
            starts=starts - self._first,
            ends=table[_END] - self._first,
            lines=lines,
            lengths={int(row): int(lengths[row]) for row in np.flatnonzero(lengths > self._limit)},
            line=int(table[_LINE, -1]),
            offset=int(table[_AFTER, -1]),
            tail=self._data[max(0, stop - MARK_BYTES) : stop].tobytes(),
        )
        self._table = self._table[:, table.shape[1] :]
        self._first, self._taken_offset, self._taken_line = stop, taken.offset, taken.line
        return taken

    def _append(self, chunk: bytes) -> None:
        keep = max(0, self._first - MARK_BYTES)
        self._data = np.concatenate((self._data[keep:], np.frombuffer(chunk, np.uint8)))
        self._table[_END] -= keep
        self._table[_STOP] -= keep
        self._first -= keep
        self._open -= keep

    def _split(self, *, final: bool) -> None:
        if self._offset == 0 and not self._skip_mark(final=final):
            return
        breaks = np.flatnonzero(self._data[self._open :] == _NEWLINE) + self._open
        stops = breaks + 1
        last = int(stops[-1]) if len(stops) else self._open
        if final and last < len(self._data):
            breaks, stops = np.append(breaks, len(self._data)), np.append(stops, len(self._data))
        if len(stops):
            self._add_lines(breaks, stops, final=final)
        if not final and len(self._data) - self._open > max(self._limit, CUT_BYTES) + 1:
            self._begin_long_line()

    def _skip_mark(self, *, final: bool) -> bool:
        """Pass by the byte-order mark; False while the file is too short to know."""
        head = self._data[self._open : self._open + len(_BOM)].tobytes()
        if head == _BOM:
            self._open, self._first = self._open + len(_BOM), self._first + len(_BOM)
            self._offset = self._taken_offset = len(_BOM)
        return final or len(head) == len(_BOM) or not _BOM.startswith(head)

    def _add_lines(self, breaks: NDArray[np.int64], stops: NDArray[np.int64], *, final: bool) -> None:
        """Make rows of the lines that end at `breaks`, where the next ones begin at `stops`."""
        starts = np.concatenate(([self._open], stops[:-1]))
        ends = breaks - ((breaks > starts) & (self._data[breaks - 1] == _RETURN))
        numbers = np.arange(self._line + 1, self._line + 1 + len(stops))
        if self._opening is not None and (self._data[self._open :] == _QUOTE).any():
            last = self._join(starts, ends, stops, final=final)
            if not len(last):
                return
            ends, stops, numbers = ends[last], stops[last], numbers[last]
            starts = np.concatenate(([self._open], stops[:-1]))
        lengths = ends - starts
        cut = np.where(lengths > self._limit, np.minimum(ends, starts + CUT_BYTES), ends)
        self._add_rows(np.stack((cut, stops, stops + (self._offset - self._open), numbers, lengths)))

    def _add_rows(self, table: NDArray[np.int64]) -> None:
        self._table = np.concatenate((self._table, table), axis=1)
        self._open, self._offset, self._line = (int(table[row, -1]) for row in (_STOP, _AFTER, _LINE))

    def _join(
        self, starts: NDArray[np.int64], ends: NDArray[np.int64], stops: NDArray[np.int64], *, final: bool
    ) -> NDArray[np.int64]:
        """The indices of the lines at which rows end; lines behind the last one need more bytes."""
        quotes = np.flatnonzero(self._data[self._open :] == _QUOTE) + self._open
        counts = np.diff(np.searchsorted(quotes, stops), prepend=0)
        odd = np.flatnonzero((counts % 2 == 1) & (ends - starts <= self._limit)).tolist()
        is_last = np.ones(len(stops), np.bool_)
        decided, at = len(stops), 0
        while at < len(odd):
            line = odd[at]
            at += 1
            if not self._leaves_open(int(starts[line]), int(ends[line])):
                continue
            if at < len(odd):
                closing = odd[at]
                if closing - line < JOIN_LINES and ends[closing] - starts[line] <= self._limit:
                    is_last[line:closing] = False
                    at += 1
            elif not (final or self._hopeless(len(stops) - line, int(starts[line]))):
                decided = line
        return np.flatnonzero(is_last[:decided])

    def _leaves_open(self, start: int, end: int) -> bool:
        assert self._opening is not None
        return self._opening.search(self._data[start:end].tobytes()) is not None

    def _hopeless(self, lines: int, start: int) -> bool:
        """Whether no closing quote that may still come would count (one byte more: a carriage return)."""
        return lines >= JOIN_LINES or len(self._data) - start > self._limit + 1

    def _begin_long_line(self) -> None:
        line = self._data[self._open :]
        self._long, self._long_tail = len(line), line[-MARK_BYTES:].tobytes()
        self._data = self._data[: self._open + CUT_BYTES].copy()

    def _pass_by(self, chunk: bytes) -> bytes:
        """Go through a line that is too long; what follows it."""
        assert self._long is not None
        stop = chunk.find(b"\n") + 1
        piece = chunk[:stop] if stop else chunk
        self._long += len(piece)
        self._long_tail = (self._long_tail + piece[-MARK_BYTES:])[-MARK_BYTES:]
        if stop:
            self._end_long_line()
        return chunk[len(piece) :]

    def _end_long_line(self) -> None:
        """Make a row of the long line: its first bytes, then its last ones for the fingerprint."""
        assert self._long is not None
        line_end = len(self._long_tail) - len(_strip_line_end(self._long_tail))
        start, after = self._open, self._offset + self._long
        self._data = np.concatenate((self._data, np.frombuffer(self._long_tail, np.uint8)))
        row = (start + CUT_BYTES, len(self._data), after, self._line + 1, self._long - line_end)
        self._add_rows(np.array(row, np.int64)[:, None])
        self._long, self._long_tail = None, b""


def _strip_line_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _opening_quote(delimiter: str) -> re.Pattern[bytes]:
    """Matches a line whose last quoted field stays open.

    Only a quote where a field begins opens one: otherwise two stray quotes in free text would swallow all
    rows between them, which a hostile sender could use to hide records.
    """
    return re.compile(rb"(?:^|" + re.escape(delimiter.encode()) + rb")[ \t]*\"(?:[^\"]|\"\")*\Z")
