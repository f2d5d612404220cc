"""Outlet ``ndjson``: alert lines appended to a file, each exactly once, also across crashes."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from streamad.errors import UserError
from streamad.ports import Outlet, SinkOptions, SinkPlugin

_MODE = 0o640
_AHEAD_BYTES = 64 << 20


class NdjsonOptions(SinkOptions):
    """Options of a sink with ``type: ndjson``."""

    type: Literal["ndjson"]
    path: Path
    """Relative to the config's folder. Never rewritten; a new file is begun when it was rotated away."""


class NdjsonOutlet:
    """Appends to a file. The mark is the file's inode and size after the last delivery that was noted.

    Lines beyond the mark were written just before a crash: as the same lines are delivered again, they are
    recognised and passed by, and a torn one is completed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._mark: Mapping[str, Any] | None = None
        self._ahead = b""  # in the file beyond the mark, but not yet delivered again
        self._aligned = True  # whether `_ahead` begins with what is delivered next

    def resume(self, mark: Mapping[str, Any] | None) -> None:
        """See `streamad.ports.Outlet.resume`."""
        self._mark = mark
        self._ahead, self._aligned = self._beyond(mark), False

    def deliver(self, lines: Sequence[bytes]) -> Mapping[str, Any]:
        """See `streamad.ports.Outlet.deliver`. Raises `OSError`; the same lines may then be tried again."""
        descriptor = self._open()
        try:
            self._write(descriptor, self._missing(lines))
        except OSError:
            self.close()
            self.resume(self._mark)
            raise
        self._mark = self._new_mark(descriptor)
        return self._mark

    def close(self) -> None:
        """See `streamad.ports.Outlet.close`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> int:
        """The descriptor of the file that is now under the path."""
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self.close()
            self._ahead = b""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _MODE)
            _sync_folder(self._path.parent)
        return self._descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _beyond(self, mark: Mapping[str, Any] | None) -> bytes:
        """What the file holds beyond the mark."""
        if not self._path.is_file():
            return b""
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            if mark is not None and (status.st_ino != mark["inode"] or status.st_size < mark["size"]):
                return b""
            file.seek(max(mark["size"] if mark else 0, status.st_size - _AHEAD_BYTES))
            return file.read()

    def _missing(self, lines: Sequence[bytes]) -> bytes:
        """What has to be appended so that the file holds these lines."""
        if lines and not self._aligned:
            self._align(lines[0])
        done = 0
        while done < len(lines) and self._ahead.startswith(lines[done]):
            self._ahead = self._ahead[len(lines[done]) :]
            done += 1
        rest = b"".join(lines[done:])
        if not rest or not self._ahead:
            return rest
        ahead, self._ahead = self._ahead, b""
        if lines[done].startswith(ahead):
            return rest[len(ahead) :]
        return rest if ahead.endswith(b"\n") else b"\n" + rest

    def _align(self, line: bytes) -> None:
        """Pass by what is in the file before `line`: it was there before us."""
        at = (b"\n" + self._ahead).find(b"\n" + line)
        self._ahead = self._ahead[at if at >= 0 else self._ahead.rfind(b"\n") + 1 :]
        self._aligned = True

    def _write(self, descriptor: int, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)

    def _new_mark(self, descriptor: int) -> Mapping[str, Any]:
        status = os.fstat(descriptor)
        return {"inode": status.st_ino, "size": status.st_size - len(self._ahead)}


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content will be."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(options: NdjsonOptions, folder: Path) -> Outlet:
    """Raises `UserError` where the file could never be written."""
    path = folder / options.path
    if path.is_dir():
        raise UserError(f"{path} is a directory; a sink's path names a file")
    if not path.parent.is_dir():
        raise UserError(f"the folder {path.parent} of sink {path.name} does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"{path} cannot be written: permission denied")
    return NdjsonOutlet(path)


plugin = SinkPlugin(options=NdjsonOptions, open=_open)
