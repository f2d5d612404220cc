"""Where a followed file went: finding rotated files again by inode and content."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from streamad.errors import InputError
from streamad.records.batch import Cursor
from streamad_connectors.compression import FileStream
from streamad_connectors.paths import FeedFile, open_text
from streamad_connectors.text import look_behind

_ROTATED = re.compile(r"[._~-]?\d[\dT:._-]*(\.gz|\.zst)?")
"""How the names that rotation gives go on behind the file's own: ``.1``, ``-20260101.gz``."""

_COMPRESSED = {".gz", ".zst"}


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


def successors(path: Path, age: int, read: Sequence[Cursor]) -> list[Path]:
    """The files rotated away after one that was last written at `age` (ns), oldest first.

    Files that hold what was read before one of the cursors are not among them: they were compressed or
    touched later.
    """
    rotated = [file for file in _siblings(path) if _is_rotation(file, path)]
    names = {file.name for file in rotated}
    fresh = [
        file
        for file in rotated
        if last_write(file) > age
        and not (file.suffix in _COMPRESSED and file.stem in names)
        and not any(_holds(file, cursor) for cursor in read)
    ]
    return sorted(fresh, key=last_write)


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
