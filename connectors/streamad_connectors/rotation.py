"""Where a followed file went: finding rotated files again by inode and content."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from streamad.errors import InputError
from streamad.records.batch import Cursor
from streamad_connectors.compression import FileStream
from streamad_connectors.paths import FeedFile, open_text
from streamad_connectors.text import look_behind

_ROTATED = re.compile(r"[._~-]?\d[\dT:._-]*(\.gz|\.zst)?")
"""How the names that rotation gives go on behind the file's own: ``.1``, ``-20260101.gz``."""

_NUMBERED = re.compile(r"[._~-]?(\d{1,3})(\.gz|\.zst)?")
"""Rotations that are counted, not dated."""

_COMPRESSED = {".gz", ".zst"}

Stamp: TypeAlias = tuple[int, int, int, int]
"""Device, inode, size and last write (ns): another file, or one written to again, has another."""


def without_rotated(files: Sequence[FeedFile]) -> list[FeedFile]:
    """Leave out files that are rotations of another one: ``conn.log.1`` where ``conn.log`` is there too."""
    paths = {file.path for file in files}
    return [
        file
        for file in files
        if not any(_is_rotation(file.path, path) for path in paths if path.parent == file.path.parent)
    ]


def locate(
    path: Path, cursor: Cursor, open_file: Callable[[Path], FileStream | None]
) -> tuple[Path, FileStream] | None:
    """The file that a cursor belongs to, opened: the one under the path, a rotated one, or None.

    A file with the cursor's inode goes first. Behind that the content decides, rotated files before the
    one under the path: a copy that was truncated in place lives on under a new inode.
    """
    rotated = sorted(_siblings(path), key=last_write, reverse=True)
    inode = (cursor.get("inode"), cursor.get("device"))
    by_inode = [file for file in (path, *rotated) if _identity(file) == inode]
    for file in (*by_inode, *rotated, path):
        stream = _open_matching(file, cursor, open_file)
        if stream is not None:
            return file, stream
    return None


def successors(path: Path, age: int, read: Sequence[Cursor], barren: Collection[Stamp] = ()) -> list[Path]:
    """The files rotated away after one that was last written at `age` (ns), oldest first.

    Files that hold what was read before one of the cursors are not among them: they were compressed,
    copied or touched later. Nor are those that are known to hold no row.
    """
    rotated = rotations(path)
    fresh = [
        file
        for file in rotated
        if last_write(file) > age
        and _stamp_of(file) not in barren
        and not any(_holds(file, cursor) for cursor in read)
    ]
    return _in_order(path, fresh, [file for file in rotated if file not in fresh])


def overlooked(path: Path, found: Path, age: int, read: Sequence[Cursor]) -> list[Path]:
    """Rotated files that by their numbers follow one that was read, by their dates do not, and were not read."""
    number = _number(found, path)
    if number is None:
        return []
    return [
        file
        for file in rotations(path)
        if (other := _number(file, path)) is not None
        and other < number
        and last_write(file) <= age
        and not any(_holds(file, cursor) for cursor in read)
    ]


def rotations(path: Path) -> list[Path]:
    """The files rotated away from a path; of a file and its compressed copy only the file."""
    rotated = [file for file in _siblings(path) if _is_rotation(file, path)]
    names = {file.name for file in rotated}
    return [file for file in rotated if not (file.suffix in _COMPRESSED and file.stem in names)]


def _in_order(path: Path, fresh: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Oldest first: by number where all are counted, since copies are dated anew, else by the last write.

    The highest number is the oldest, unless what was read before shows that the numbers grow.
    """
    numbers = {file: number for file in fresh if (number := _number(file, path)) is not None}
    if len(numbers) < len(fresh):
        return sorted(fresh, key=last_write)
    past = [number for file in others if (number := _number(file, path)) is not None]
    growing = bool(past) and max(past) < min(numbers.values(), default=0)
    return sorted(fresh, key=numbers.__getitem__, reverse=not growing)


def _number(file: Path, path: Path) -> int | None:
    """The number that a rotation was given, or None where it is a date or there is none."""
    found = _NUMBERED.fullmatch(file.name[len(path.name) :])
    return int(found[1]) if found else None


def _is_rotation(file: Path, path: Path) -> bool:
    """Whether a file of the same folder is named as a rotation names it."""
    return file.name.startswith(path.name) and bool(_ROTATED.fullmatch(file.name[len(path.name) :]))


def _holds(path: Path, cursor: Cursor) -> bool:
    stream = _open_matching(path, cursor, open_text)
    if stream is not None:
        stream.close()
    return stream is not None


def _open_matching(
    path: Path, cursor: Cursor, open_file: Callable[[Path], FileStream | None]
) -> FileStream | None:
    """The file, opened, if its content up to the cursor is what was read."""
    try:
        stream = open_file(path)
    except InputError:
        return None
    if stream is not None and look_behind(stream, cursor) is None:
        stream.close()
        return None
    return stream


def _siblings(path: Path) -> list[Path]:
    """Files in the same folder whose names begin with this one's."""
    if not path.parent.is_dir():
        return []
    return [
        file
        for file in path.parent.iterdir()
        if file.name.startswith(path.name) and file.name != path.name and file.is_file()
    ]


def stamp(status: os.stat_result) -> Stamp:
    """What tells a file's present content from any other."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _stamp_of(path: Path) -> Stamp | None:
    """The stamp of the file under a path; None where it is gone."""
    try:
        return stamp(path.stat())
    except OSError:
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_dev


def last_write(path: Path) -> int:
    """Nanoseconds of the last write; a file that is gone by now is the oldest."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
