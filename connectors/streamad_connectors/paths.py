"""Which files a feed means, what they are called in positions, and whether they can be read at all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from streamad.errors import InputError
from streamad_connectors.compression import Codec, DamagedError, FileStream, find_codec

PROBE_BYTES = 8192
_SUFFIXES: dict[str, Codec] = {".gz": "gz", ".zst": "zst"}
_PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True)
class FeedFile:
    """One file of a feed; `partition` is its name in positions."""

    path: Path
    partition: str


def find_files(patterns: Sequence[str], folder: Path, *, must_exist: bool = True) -> list[FeedFile]:
    """The files that the patterns name, in that order, globs sorted, each file once.

    Raises `InputError` for a pattern without a match, and with `must_exist` for a missing file.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        full = str(folder / pattern)
        found = sorted(glob(full, recursive=True)) if has_magic(pattern) else [full]  # noqa: PTH207  # Path.glob refuses absolute patterns
        files = [
            Path(os.path.normpath(name)) for name in found if not has_magic(pattern) or Path(name).is_file()
        ]
        if not files:
            raise InputError(f"no file matches {full}")
        paths.update(dict.fromkeys(files))
    if must_exist:
        for path in paths:
            _check_exists(path)
    return name_files(list(paths))


def name_files(paths: Sequence[Path]) -> list[FeedFile]:
    """Name each file by its base name, or by the shortest end of its path that tells it apart."""
    tails = [path.name for path in paths]
    for depth in range(2, max((len(path.parts) for path in paths), default=0) + 1):
        count = Counter(tails)
        if len(count) == len(tails):
            break
        tails = [
            "/".join(path.parts[-depth:]) if count[tail] > 1 else tail
            for path, tail in zip(paths, tails, strict=True)
        ]
    return [FeedFile(path, tail.lstrip("/")) for path, tail in zip(paths, tails, strict=True)]


def open_text(path: Path) -> FileStream:
    """Open a text file, plain or compressed. Raises `InputError` where it is neither."""
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        head = file.read(PROBE_BYTES) or b""
    except OSError as error:
        file.close()
        raise unreadable(path, error) from None
    codec = find_codec(head)
    expected = _SUFFIXES.get(path.suffix)
    if head and expected not in {None, codec}:
        file.close()
        raise InputError(f"{path} is named {path.suffix} but does not hold that format")
    return FileStream(file, codec)


def check_text(path: Path) -> bool:
    """Whether a text file holds anything. Raises `InputError` for one that is binary."""
    stream = open_text(path)
    try:
        head = stream.read(PROBE_BYTES) or b""
    except DamagedError as error:
        raise InputError(f"{path} is damaged from its first byte on ({error})") from None
    finally:
        stream.close()
    if head.startswith(_PARQUET):
        raise InputError(f"{path} is a Parquet file; say source.format: parquet")
    if b"\0" in head:
        raise InputError(f"{path} holds NUL bytes, so it is binary or UTF-16; text in UTF-8 is expected")
    return head not in {b"", b"\xef\xbb\xbf"}


def check_plain(path: Path) -> None:
    """Raises `InputError` for a compressed file."""
    stream = open_text(path)
    stream.close()
    if stream.compressed:
        raise InputError(f"{path} is compressed, so it cannot be followed as it grows")


def check_parquet(path: Path) -> None:
    """Raises `InputError` for a file that is not Parquet."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_PARQUET))
            file.seek(max(0, path.stat().st_size - len(_PARQUET)))
            foot = file.read()
    except OSError as error:
        raise unreadable(path, error) from None
    if (head, foot) != (_PARQUET, _PARQUET):
        raise InputError(f"{path} is not a (complete) Parquet file, although source.format says so")


def unreadable(path: Path, error: OSError) -> InputError:
    """The sentence for a file that cannot be opened."""
    return InputError(f"{path} cannot be read: {error.strerror}")


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a directory; name its files, for example {path}/*.csv")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; a pipe is read with source.type: stdin")
