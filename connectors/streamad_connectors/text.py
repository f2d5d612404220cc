"""One text feed as blocks with cursors: a stream, the splitter over it, and the CSV header."""

from __future__ import annotations

import csv
from typing import Any

from streamad.errors import InputError
from streamad.records.batch import Block, Cursor
from streamad.records.schema import PayloadFormat
from streamad_connectors.compression import CHUNK_BYTES, DamagedError, FileStream, Stream
from streamad_connectors.lines import MARK_BYTES, Rows, Splitter, fingerprint


class TextReader:
    """Blocks of one partition.

    `path` is for messages; `limit` is the longest record in bytes; `extra` goes into every cursor.
    """

    def __init__(
        self,
        stream: Stream,
        path: str,
        partition: str,
        form: PayloadFormat,
        limit: int,
        *,
        extra: Cursor | None = None,
    ) -> None:
        self._stream, self._path, self._partition = stream, path, partition
        self._delimiter = form.delimiter if form.format == "csv" else None
        self._limit, self._extra = limit, extra or {}
        self._splitter = Splitter(limit, self._delimiter)
        self._head = b""  # of the file, at most MARK_BYTES
        self._needs_header = form.format == "csv" and form.header
        self._columns: tuple[str, ...] | None = None
        self._ended = False
        self._damage: DamagedError | None = None
        self._drop_to = 0
        self._offset = 0  # handed out
        self.line = 0
        """Lines handed out (or dropped)."""

    @property
    def finished(self) -> bool:
        """Whether every row has been handed out."""
        return self._ended and self._splitter.rows == 0 and self._damage is None

    def read(self, max_rows: int, *, partial: bool = False) -> Block | None:
        """The next block, full unless the stream ends; None when there is nothing (yet).

        With `partial`, what is there is a block when the stream has no more for now. Raises `InputError`
        for a damaged stream, after its good rows have been handed out.
        """
        self._fill(max_rows)
        if self._needs_header or self._splitter.rows == 0:
            if self._damage is not None:
                raise self._damaged(self._damage)
            return None
        if not (partial or self._ended or self._splitter.ready(max_rows)):
            return None
        return self._block(self._splitter.take(max_rows))

    def resume(self, stream: FileStream, cursor: Cursor) -> None:
        """Go on behind a cursor of this file. Raises `InputError` where what lies behind it has changed."""
        if self._needs_header:
            stream.seek(0)
            self._read_header()
        behind = look_behind(stream, cursor)
        if behind is None or self._needs_header:
            raise InputError(f"{self._path} changed behind line {cursor['line']}, where reading was to go on")
        self._head, tail = behind
        end = self._last_line_end(stream, cursor, tail)
        self.line, self._offset = cursor["line"], cursor["offset"] + len(end)
        self._head = (self._head + end)[:MARK_BYTES]
        tail = (tail + end)[-MARK_BYTES:]
        self._ended, self._damage = False, None
        self._splitter = Splitter(
            self._limit, self._delimiter, offset=self._offset, line=self.line, tail=tail
        )

    def skip_to(self, line: int) -> None:
        """Drop the rows up to a line when they come again."""
        self._drop_to = line

    def share(self) -> float:
        """How much of the file has been read, 0 to 1."""
        return self._stream.share()

    def close(self) -> None:
        """Give back the file."""
        self._stream.close()

    def _fill(self, max_rows: int) -> None:
        """Read until a block is ready, or there is no more (for now)."""
        while not self._ended and (self._needs_header or not self._splitter.ready(max_rows)):
            try:
                chunk = self._stream.read(CHUNK_BYTES)
            except DamagedError as damage:
                self._damage, self._ended = damage, True
                return
            if chunk is None:
                return
            self._take_chunk(chunk)

    def _take_chunk(self, chunk: bytes) -> None:
        if chunk:
            if len(self._head) < MARK_BYTES:
                self._head = (self._head + chunk[:MARK_BYTES])[:MARK_BYTES]
            self._splitter.feed(chunk)
        else:
            self._splitter.finish()
            self._ended = True
        if self._needs_header and self._splitter.rows:
            self._take_header(self._splitter.take(1))
        while not self._needs_header and (rows := self._splitter.rows_up_to(self._drop_to)):
            self.line = self._splitter.take(rows).line

    def _read_header(self) -> None:
        """Read on until the header is known; the stream is then somewhere behind it."""
        while self._needs_header and not self._ended:
            self._fill(1)

    def _take_header(self, rows: Rows) -> None:
        if rows.lengths:
            raise InputError(f"{self._path} begins with a header of {rows.lengths[0]} bytes: that is no CSV")
        text = rows.data[rows.starts[0] : rows.ends[0]].tobytes().decode("utf-8", "replace")
        fields = next(csv.reader([text], delimiter=self._delimiter or ",", skipinitialspace=True), [])
        self._columns = tuple(field.strip(" \t\"'\ufeff") for field in fields)
        self._needs_header = False
        self.line, self._offset = rows.line, rows.offset

    def _last_line_end(self, stream: FileStream, cursor: Cursor, tail: bytes) -> bytes:
        """The line end of the last line read, where it came only later."""
        offset = cursor["offset"]
        if not tail or tail.endswith(b"\n"):
            return b""
        more = stream.read(2) or b""
        end = b"\r\n" if more == b"\r\n" else more[:1]
        if end not in {b"", b"\n", b"\r\n"}:
            raise InputError(f"{self._path} changed behind line {cursor['line']}: that line went on later")
        stream.seek(offset + len(end))
        return end

    def _block(self, rows: Rows) -> Block:
        self.line, self._offset = rows.line, rows.offset
        cursor: dict[str, Any] = {
            **self._extra,
            "line": rows.line,
            "offset": rows.offset,
            "head": fingerprint(self._head[: rows.offset]),
            "tail": fingerprint(rows.tail),
            "end": self.finished,
        }
        return Block(
            data=rows.data,
            starts=rows.starts,
            ends=rows.ends,
            offsets=rows.lines,
            cursors={self._partition: cursor},
            columns=self._columns,
            faults=rows.faults(),
            lengths=rows.lengths,
        )

    def _damaged(self, damage: DamagedError) -> InputError:
        return InputError(
            f"{self._path} is damaged or cut off behind line {self.line}, "
            f"byte {self._offset} of its decompressed content ({damage})"
        )


def look_behind(stream: FileStream, cursor: Cursor) -> tuple[bytes, bytes] | None:
    """The file's head and what lies right before a cursor, or None where they are not the cursor's.

    Leaves the stream at the cursor's offset.
    """
    offset = cursor["offset"]
    try:
        stream.seek(0)
        head = _read_exactly(stream, min(MARK_BYTES, offset))
        if fingerprint(head) != cursor["head"]:
            return None
        rest_from = max(len(head), offset - MARK_BYTES)
        if rest_from > len(head):
            stream.seek(rest_from)
        tail = (head + _read_exactly(stream, offset - rest_from))[-MARK_BYTES:]
    except DamagedError:
        return None
    return (head, tail) if fingerprint(tail) == cursor["tail"] else None


def _read_exactly(stream: FileStream, size: int) -> bytes:
    pieces = []
    while size and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
