"""Growing files, followed as ``tail -F`` does: through renames, truncation and compression."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import structlog

from streamad.ports import End, Idle, Positions, Revoked
from streamad.records.batch import Block, Cursor
from streamad.records.schema import PayloadFormat
from streamad_connectors.compression import FileStream
from streamad_connectors.paths import FeedFile, open_text, unreadable
from streamad_connectors.rotation import Stamp, last_write, locate, overlooked, rotations, stamp, successors
from streamad_connectors.text import TextReader

_STEP = 0.05
"""Seconds between two looks at files that do not grow."""

_WITNESS_BYTES = 64

_REMEMBERED = 100
"""Generations by whose content a rotated file is known to have been read, whatever its date says."""

_NEEDED = 5
"""So many of them at least, where there is no room for more."""

_log = structlog.get_logger(__name__)


class GrowingStream(FileStream):
    """A file that somebody still writes to: nothing more is not the end, unless it was rotated away."""

    def __init__(self, file: IO[bytes]) -> None:
        self._position, self._witness = 0, b""
        self.rotated = False
        """Set by the follower: the end of the file is now the end of the stream."""
        self.truncated = False
        """What was read is no longer in the file."""
        super().__init__(file, "plain")

    def read(self, size: int) -> bytes | None:
        """See `Stream.read`."""
        if not self.rotated and self._lost_ground():
            self.truncated = True
            return None
        piece = self._file.read(size)
        self._position += len(piece)
        self._witness = (self._witness + piece[-_WITNESS_BYTES:])[-_WITNESS_BYTES:]
        return piece if piece or self.rotated else None

    def seek(self, offset: int) -> None:
        """See `FileStream.seek`."""
        super().seek(offset)
        self._position, self._witness = offset, b""

    @property
    def untouched(self) -> bool:
        """Whether nothing was read from it."""
        return self._position == 0

    def _lost_ground(self) -> bool:
        """Whether the bytes read last have changed: cut off, or cut off and written anew."""
        behind = self._position - len(self._witness)
        return os.pread(self._file.fileno(), len(self._witness), behind) != self._witness


class Tail:
    """One followed path. Each file that appears under it is a generation: ``conn.log``, ``conn.log~1``, ….

    A file is read to its end before the next one begins. It ends when another file, already written to,
    lies under the path: until then its writer may not have noticed the rotation.
    """

    def __init__(self, file: FeedFile, form: PayloadFormat, limit: int) -> None:
        self._path, self._name, self._form, self._limit = file.path, file.partition, form, limit
        self._partitions = re.compile(re.escape(file.partition) + r"(~\d+)?")
        self._cursors: dict[int, Cursor] = {}  # generation -> behind its last row handed out
        self._age: int | None = None  # files last written to after this (ns) may follow the one finished
        self._later: int | None = None  # just before the oldest of the files that follow the open one
        self._barren: set[Stamp] = set()  # files that ended without a row, so that no cursor tells of them
        self._mark: Cursor = {}  # what goes into the cursors of the open file
        self._stream: FileStream | None = None
        self._reader: TextReader | None = None
        self._generation = 0  # of the open file

    def owns(self, partition: str) -> bool:
        """Whether a partition is a generation of this path."""
        return self._partitions.fullmatch(partition) is not None

    def surplus(self, positions: Positions) -> list[str]:
        """The partitions that are old generations of this path, beside those that `seek` needs."""
        owned = {name: cursor.get("generation", 0) for name, cursor in positions.items() if self.owns(name)}
        return sorted(owned, key=owned.__getitem__)[:-_NEEDED]

    def seek(self, positions: Positions) -> None:
        """Go on behind the youngest generation that has a cursor."""
        self.close()
        owned = [cursor for partition, cursor in positions.items() if self.owns(partition)]
        self._cursors = {int(cursor.get("generation", 0)): cursor for cursor in owned}
        self._age = None
        if self._cursors:
            self._find(self._cursors[max(self._cursors)])

    def read(self, max_rows: int) -> Block | None:
        """The next rows that are complete; None where there are none yet."""
        while self._reader is not None or self._open():
            assert self._reader is not None
            if isinstance(self._stream, GrowingStream):
                self._mark["mtime"] = self._stream.status().st_mtime_ns
            block = self._reader.read(max_rows, partial=True)
            if block is not None:
                (self._cursors[self._generation],) = block.cursors.values()
                return block
            if not self._move_on():
                return None
        return None

    def close(self) -> None:
        """Give back the open file."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._stream = None

    def _find(self, cursor: Cursor) -> None:
        """Open the file of the youngest cursor; one that was finished only dates those after it."""
        found = locate(self._path, cursor, self._open_file)
        if found is None:
            self._age = cursor.get("mtime")
            self._warn_of_loss(cursor)
            return
        path, stream = found
        date = min(cursor.get("mtime", stream.status().st_mtime_ns), stream.status().st_mtime_ns)
        self._warn_of_skipped(overlooked(self._path, path, date, self._recent()))
        if cursor["end"] and path != self._path:
            self._age = date
            stream.close()
            return
        self._begin(stream, int(cursor.get("generation", 0)), date).resume(stream, cursor)

    def _warn_of_loss(self, cursor: Cursor) -> None:
        """Say what cannot be read any more; a cursor without a date leaves open which rotated files follow."""
        if not cursor["end"]:
            _log.warning(
                "the rest of a rotated or truncated file was not found",
                path=str(self._path),
                line=cursor["line"],
                generation=cursor.get("generation", 0),
            )
        if self._age is None:
            self._warn_of_skipped(rotations(self._path))

    def _warn_of_skipped(self, files: Sequence[Path]) -> None:
        if files:
            _log.warning(
                "rotated files are left out: whether they were read before cannot be told",
                path=str(self._path),
                files=[file.name for file in files],
            )

    def _open(self) -> bool:
        """Open the next file; False while there is none."""
        stream = self._open_file(self._next_path())
        if stream is not None:
            self._begin(stream, max(self._cursors, default=-1) + 1, self._later)
        return stream is not None

    def _open_file(self, path: Path) -> FileStream | None:
        return _open_growing(path) if path == self._path else open_text(path)

    def _begin(self, stream: FileStream, generation: int, date: int | None) -> TextReader:
        """Make this the open file; `date` (ns) is known to lie before the last write to those that follow."""
        name = f"{self._name}~{generation}" if generation else self._name
        status = stream.status()
        written = status.st_mtime_ns
        self._mark = {
            "generation": generation,
            "inode": status.st_ino,
            "device": status.st_dev,
            "mtime": written if date is None else min(date, written),
        }
        self._generation, self._stream = generation, stream
        # The reader copies the mark into each cursor, so a date that is set here later shows there.
        self._reader = TextReader(stream, str(self._path), name, self._form, self._limit, extra=self._mark)
        return self._reader

    def _next_path(self) -> Path:
        """The oldest file that was rotated away since the last one was finished, else the path itself."""
        self._later = None
        if self._age is None:
            return self._path
        found = successors(self._path, self._age, self._recent(), self._barren)
        if len(found) > 1:
            # A copy may be dated after the files that follow it, which must not make those look old.
            self._later = max(self._age, min(map(last_write, found[1:])) - 1)
        return found[0] if found else self._path

    def _recent(self) -> list[Cursor]:
        """The cursors by whose content a file is known to have been read."""
        return [self._cursors[generation] for generation in sorted(self._cursors)[-_REMEMBERED:]]

    def _move_on(self) -> bool:
        """Nothing more was in the open file: whether there is a reason to look again at once."""
        assert self._reader is not None
        stream = self._stream
        assert stream is not None
        if self._reader.finished:
            self._age = self._mark["mtime"]
            if self._generation not in self._cursors:
                self._barren.add(stamp(stream.status()))
            self.close()
            return True
        if not isinstance(stream, GrowingStream):
            return False
        if stream.truncated:
            self._restart()
            return True
        if stream.untouched:
            self.close()  # so that a rotation is noticed although no content has shown it yet
            return False
        stream.rotated = _is_replaced(self._path, stream)
        return stream.rotated

    def _restart(self) -> None:
        """The open file was truncated: a copy of what it held may lie beside it."""
        self.close()
        if self._generation in self._cursors:
            self._age = None
            self._find(self._cursors[self._generation])


class FollowSource:
    """Any number of followed paths, read in turns; it never ends. A path that is not there yet is waited for."""

    def __init__(self, files: Sequence[FeedFile], form: PayloadFormat, limit: int) -> None:
        self._tails = deque(Tail(file, form, limit) for file in files)

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | End | Revoked:
        """See `streamad.ports.Source.poll`."""
        if not max_rows:
            return Idle()
        waited = 0.0
        while (block := self._read(max_rows)) is None:
            if waited >= timeout:
                return Idle()
            pause = min(_STEP, timeout - waited)
            time.sleep(pause)
            waited += pause
        return block

    def seek(self, positions: Positions) -> None:
        """See `streamad.ports.Source.seek`; rotated files are found again by their content."""
        for partition in positions:
            if not any(tail.owns(partition) for tail in self._tails):
                _log.warning("a file that was read before is not followed any more", partition=partition)
        for tail in self._tails:
            tail.seek(positions)

    def needed(self, positions: Positions) -> Positions:
        """See `streamad.ports.SparingSource.needed`."""
        surplus = {name for tail in self._tails for name in tail.surplus(positions)}
        return {name: cursor for name, cursor in positions.items() if name not in surplus}

    def progress(self) -> float | None:
        """See `streamad.ports.Source.progress`."""
        return None

    def close(self) -> None:
        """See `streamad.ports.Source.close`."""
        for tail in self._tails:
            tail.close()

    def _read(self, max_rows: int) -> Block | None:
        """Ask each path once, beginning behind the one that answered last."""
        for _ in range(len(self._tails)):
            tail = self._tails[0]
            self._tails.rotate(-1)
            block = tail.read(max_rows)
            if block is not None:
                return block
        return None


def _open_growing(path: Path) -> GrowingStream | None:
    """Open a followed file; None while it is not there. Raises `InputError` where it cannot be read."""
    try:
        return GrowingStream(path.open("rb", buffering=0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None


def _is_replaced(path: Path, stream: GrowingStream) -> bool:
    """Whether another file lies under the path, and somebody has written to it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return status.st_size > 0 and not os.path.samestat(status, stream.status())
