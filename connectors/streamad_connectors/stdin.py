"""Source ``stdin``: whatever is piped in, plain or compressed, until its end."""

from __future__ import annotations

import os
import select
from typing import Literal

from streamad.errors import InputError
from streamad.ports import End, Idle, Positions, Revoked, Source, SourceContext, SourceOptions, SourcePlugin
from streamad.records.batch import Block
from streamad_connectors.compression import Inflated, begins_magic, find_codec
from streamad_connectors.text import TextReader

_STDIN = 0
_PARTITION = "-"


class StdinOptions(SourceOptions):
    """Options of ``source`` with ``type: stdin``."""

    type: Literal["stdin"]


class PipeStream:
    """A pipe, read without waiting longer than it may."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = b""  # read before the compression was known
        self._known = False
        self._inflated: Inflated | None = None
        self.patience = 0.0
        """Seconds that the next reads may wait for the first bytes."""

    def read(self, size: int) -> bytes | None:
        """See `Stream.read`."""
        if not self._known and not self._find_codec(size):
            return None
        return self._raw(size) if self._inflated is None else self._inflated.read(size)

    def share(self) -> float:
        """See `Stream.share`: nobody knows how much is to come."""
        return 0.0

    def close(self) -> None:
        """Standard input is the process's, not ours to close."""

    def _find_codec(self, size: int) -> bool:
        """Read the first bytes; False while they are too few to tell the compression."""
        piece = self._read_available(size)
        if piece is None:
            return False
        self._head += piece
        if piece and begins_magic(self._head):
            return False
        self._known = True
        codec = find_codec(self._head)
        self._inflated = None if codec == "plain" else Inflated(self._raw, codec)
        return True

    def _raw(self, size: int) -> bytes | None:
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._read_available(size)

    def _read_available(self, size: int) -> bytes | None:
        """What is there, at most `size` bytes; b"" at the end, None where nothing is there yet."""
        pieces: list[bytes] = []
        while size and self._is_ready(0.0 if pieces else self.patience):
            piece = os.read(self._descriptor, size)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces) if pieces else None

    def _is_ready(self, wait: float) -> bool:
        self.patience = 0.0
        return bool(select.select([self._descriptor], [], [], wait)[0])


class StdinSource:
    """A pipe can not be read again: after a restart the same bytes must be piped in once more.

    Lines up to the committed one are then passed by, unverified. Positions are ``-:LINE``.
    """

    def __init__(self, options: StdinOptions, context: SourceContext, descriptor: int = _STDIN) -> None:
        self._stream = PipeStream(descriptor)
        self._reader = TextReader(self._stream, "standard input", _PARTITION, options, context.record_bytes)
        self._bounded = context.bounded

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | End | Revoked:
        """See `streamad.ports.Source.poll`. In a replay, blocks are full and may take several polls."""
        if not max_rows:
            return Idle()
        self._stream.patience = timeout
        block = self._reader.read(max_rows, partial=not self._bounded)
        if block is not None:
            return block
        return End() if self._reader.finished else Idle()

    def seek(self, positions: Positions) -> None:
        """Go on from a line not read yet. Raises `InputError` for one that went by already."""
        line = positions[_PARTITION]["line"] if _PARTITION in positions else 0
        if line < self._reader.line:
            raise InputError(
                f"standard input cannot be read again from line {line + 1}: line {self._reader.line} went by"
            )
        self._reader.skip_to(line)

    def progress(self) -> float | None:
        """See `streamad.ports.Source.progress`."""
        return None

    def close(self) -> None:
        """See `streamad.ports.Source.close`."""
        self._reader.close()


def _open(options: StdinOptions, context: SourceContext) -> Source:
    if options.format == "parquet":
        raise InputError("standard input cannot be Parquet, which must be read from its end: use type: files")
    return StdinSource(options, context)


plugin = SourcePlugin(options=StdinOptions, open=_open)
