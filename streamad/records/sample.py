"""The head of a file or of standard input, decompressed, or recent messages: what `streamad init` looks at."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl
import zstandard
from isal import igzip, isal_zlib

from streamad.errors import InputError
from streamad.records.parquet import json_columns

SAMPLE_BYTES = 8 << 20
SAMPLE_LINES = 20_000

_PARQUET, _GZIP, _ZSTD = b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SUFFIXES = {".gz": _GZIP, ".zst": _ZSTD}
_BOM = b"\xef\xbb\xbf"
_STRANGE_SHARE = 0.01
"""More undecodable characters than this, and it is no text."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Whole lines of one feed, those of a file from its beginning."""

    name: str
    """What to call the feed's origin in messages."""
    lines: list[bytes]
    """Without their line ends and without a byte-order mark; Parquet rows as JSON objects."""
    parquet: bool = False
    messages: bool = False
    """Each line came as a message of its own: none is a header, none goes on in the next, and it may hold line ends."""


def read_sample(path: Path) -> Sample:
    """The head of a plain, .gz, .zst or Parquet file.

    Raises `InputError` for a file that is missing, a directory, unreadable, empty, damaged or binary.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is not a regular file; a pipe is read with -")
    try:
        with path.open("rb") as file:
            head = file.read(len(_PARQUET))
            if head and not head.startswith(_SUFFIXES.get(path.suffix, b"")):
                raise InputError(f"{path} is named {path.suffix} but does not hold that format")
            if head == _PARQUET:
                return Sample(path.name, _parquet_lines(path), parquet=True)
            file.seek(0)
            return sample_of(_inflated(file, head, path.name), path.name)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory; name one of its files") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def sample_stream(stream: IO[bytes], name: str = "stdin") -> Sample:
    """The head of a pipe, until it ends or the sample is full. Raises `InputError` like `read_sample`."""
    pieces, size, lines, ended = [], 0, 0, False
    while size < SAMPLE_BYTES and lines < SAMPLE_LINES and not ended:
        pieces.append(stream.read(1 << 16))
        size += len(pieces[-1])
        lines += pieces[-1].count(b"\n")
        ended = not pieces[-1]
    data = b"".join(pieces)
    if data.startswith(_PARQUET):
        raise InputError(f"{name} is a Parquet file; Parquet needs a file, not a pipe")
    return sample_of(_inflated(io.BytesIO(data), data[:4], name, cut=not ended), name)


def sample_of(data: bytes, name: str) -> Sample:
    """The lines of a decompressed head. Raises `InputError` where they are no text or there is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise InputError(f"{name} holds NUL bytes, so it is binary or UTF-16; text in UTF-8 is expected")
    if data.decode("utf-8", "replace").count("\ufffd") > _STRANGE_SHARE * len(data):
        raise InputError(f"{name} is binary; text in UTF-8, plain or as .gz or .zst, or Parquet is expected")
    if len(data) >= SAMPLE_BYTES:
        data = data[: data.rfind(b"\n") + 1]
        if not data:
            raise InputError(f"{name} has no line end in its first {SAMPLE_BYTES >> 20} MiB")
    lines = data.removeprefix(_BOM).split(b"\n")[:SAMPLE_LINES]
    kept = [line.removesuffix(b"\r") for line in lines if line.strip()]
    if not kept:
        raise InputError(f"{name} is empty")
    return Sample(name, kept)


def sample_messages(payloads: Iterable[bytes], name: str) -> Sample:
    """Recent messages, in about the order in which they came. Raises `InputError` where hardly any is text."""
    filled = [payload.rstrip(b"\r\n") for payload in payloads if payload.strip()]
    if not filled:
        raise InputError(f"{name} holds no records yet, and init needs some to look at")
    text = [payload for payload in filled if b"\0" not in payload]
    if len(text) < len(filled) / 2:
        raise InputError(f"{name} holds binary messages; JSON or CSV in UTF-8, uncompressed, is expected")
    return Sample(name, text, messages=True)


_DAMAGES: tuple[type[Exception], ...] = (
    isal_zlib.error,  # type: ignore[assignment]  # isal's stub calls this class an instance
    zstandard.ZstdError,
    EOFError,
    igzip.BadGzipFile,
)


def _inflated(file: IO[bytes], head: bytes, name: str, *, cut: bool = False) -> bytes:
    """At most `SAMPLE_BYTES` decompressed bytes; with `cut`, the compressed bytes may end anywhere."""
    reader: IO[bytes] = file
    if head.startswith(_GZIP):
        reader = igzip.open(file, "rb")  # type: ignore[no-untyped-call]  # isal annotates half of it
    elif head.startswith(_ZSTD):
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    pieces, size = [], 0
    try:
        while size < SAMPLE_BYTES and (piece := reader.read(min(1 << 18, SAMPLE_BYTES - size))):
            pieces.append(piece)
            size += len(piece)
    except _DAMAGES as error:
        if not (cut and pieces):
            raise InputError(f"{name} is damaged: {error}") from None
    return b"".join(pieces)


def _parquet_lines(path: Path) -> list[bytes]:
    """The first rows as JSON objects, as the files source hands them out."""
    try:
        rows = pl.scan_parquet(path, glob=False).head(SAMPLE_LINES).collect()
        rows = rows.select(json_columns(rows.schema))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path.name} is a damaged Parquet file ({str(error).splitlines()[0]})") from None
    if not rows.height:
        raise InputError(f"{path.name} has no rows")
    out = io.BytesIO()
    rows.write_ndjson(out)
    return out.getvalue().splitlines()
