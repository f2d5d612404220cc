"""Files as streams of decompressed bytes: plain, gzip and Zstandard, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, Literal, Protocol, cast

import zstandard
from isal import igzip_lib

Codec = Literal["plain", "gz", "zst"]

CHUNK_BYTES = 1 << 20
"""How much is read at a time, decompressed."""

_RAW_BYTES = 1 << 18
_ZST_STEP = 1024
# 1 KiB of hostile Zstandard inflates to 32 MiB at most (a block of four bytes stands for 128 KiB).
_MAGIC: dict[bytes, Codec] = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"}
_IsalError = cast("type[Exception]", igzip_lib.IsalError)  # isal's stub declares an instance
_DAMAGE = (_IsalError, zstandard.ZstdError, EOFError)


class DamagedError(Exception):
    """A compressed stream that is corrupt or cut off; what was decompressed before has been handed out."""


class Stream(Protocol):
    """The bytes of a feed, decompressed."""

    def read(self, size: int) -> bytes | None:
        """At most `size` bytes, b"" at the end, None when more may come later."""

    def share(self) -> float:
        """How much was read, 0 to 1, where the size is known."""

    def close(self) -> None:
        """Give back the file."""


class _Member(Protocol):
    """One gzip member or Zstandard frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Frame:
    """zstandard's frame with the interface of isal's member; its output is bounded by small steps."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._input = b""
        self._output = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._frame.eof and not self._output

    @property
    def needs_input(self) -> bool:
        return not self._input and not self._output

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data + self._input

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if not self._output:
            self._output = memoryview(self._step(self._input + data, max_length))
        piece, self._output = self._output[:max_length], self._output[max_length:]
        return bytes(piece)

    def _step(self, source: bytes, enough: int) -> bytes:
        """Decompress until there is enough; the rest of the input is kept."""
        pieces, size, at = [], 0, 0
        while size < enough and at < len(source) and not self._frame.eof:
            pieces.append(self._frame.decompress(source[at : at + _ZST_STEP]))
            at += _ZST_STEP
            size += len(pieces[-1])
        self._input = source[at:]
        return b"".join(pieces)


def _gzip_member() -> _Member:
    member: _Member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return member


_MEMBERS: dict[Codec, Callable[[], _Member]] = {"gz": _gzip_member, "zst": _Frame}


class Inflated:
    """The decompressed bytes of a raw stream, which may hold any number of members."""

    def __init__(self, raw: Callable[[int], bytes | None], codec: Codec) -> None:
        self._raw, self._new = raw, _MEMBERS[codec]
        self._member: _Member | None = None
        self._rest = b""  # raw bytes that no member has taken yet
        self._first = True

    def read(self, size: int) -> bytes | None:
        """At most `size` bytes; see `Stream.read`. Raises `DamagedError`."""
        try:
            return self._read(size)
        except _DAMAGE as error:
            raise DamagedError(str(error)) from None

    def _read(self, size: int) -> bytes | None:
        while True:
            if not self._rest and (self._member is None or self._member.needs_input):
                more = self._raw(_RAW_BYTES)
                if not more:
                    return self._nothing(more)
                self._rest = more
            member = self._current()
            if member is None:
                continue
            raw, self._rest = self._rest, b""
            piece = member.decompress(raw, size)
            if member.eof:
                self._rest, self._member = member.unused_data, None
            if piece:
                return piece

    def _current(self) -> _Member | None:
        """The open member, or the one that begins here."""
        if self._member is None:
            if not self._first:
                self._rest = self._rest.lstrip(b"\0")  # zeros behind the last member are padding
            if self._rest:
                self._member, self._first = self._new(), False
        return self._member

    def _nothing(self, more: bytes | None) -> bytes | None:
        if more is not None and self._member is not None:
            raise EOFError("it ends in the middle")
        return more


class FileStream:
    """A regular file, decompressed where its first bytes say so."""

    def __init__(self, file: IO[bytes], codec: Codec) -> None:
        self._file, self._codec = file, codec
        self._inflated = self._start()

    @property
    def compressed(self) -> bool:
        """Whether the file is anything but plain."""
        return self._codec != "plain"

    def _start(self) -> Inflated | None:
        self._file.seek(0)
        return None if self._codec == "plain" else Inflated(self._file.read, self._codec)

    def read(self, size: int) -> bytes | None:
        """See `Stream.read`."""
        return self._file.read(size) if self._inflated is None else self._inflated.read(size)

    def seek(self, offset: int) -> None:
        """Go to a place in the decompressed bytes; a compressed file is inflated up to it."""
        self._inflated = self._start()
        if self._inflated is None:
            self._file.seek(offset)
            return
        while offset and (piece := self._inflated.read(min(offset, CHUNK_BYTES))):
            offset -= len(piece)

    def share(self) -> float:
        """See `Stream.share`."""
        size = self.status().st_size
        return min(1.0, self._file.tell() / size) if size else 1.0

    def status(self) -> os.stat_result:
        """Inode, size and last write of the open file, wherever it lies now."""
        return os.fstat(self._file.fileno())

    def close(self) -> None:
        """See `Stream.close`."""
        self._file.close()


def find_codec(head: bytes) -> Codec:
    """What a file's first bytes say about its compression."""
    return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), "plain")


def begins_magic(head: bytes) -> bool:
    """Whether these bytes are too few to tell the compression."""
    return any(len(head) < len(magic) and magic.startswith(head) for magic in _MAGIC)
