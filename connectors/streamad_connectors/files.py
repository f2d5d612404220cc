"""Source ``files``: bounded files in order, or growing ones followed through rotation."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from streamad.errors import InputError
from streamad.ports import End, Idle, Positions, Revoked, Source, SourceContext, SourceOptions, SourcePlugin
from streamad.records.batch import Block, Cursor
from streamad_connectors.follow import FollowSource
from streamad_connectors.parquet import ParquetReader
from streamad_connectors.paths import FeedFile, check_parquet, check_plain, check_text, find_files, open_text
from streamad_connectors.rotation import without_rotated
from streamad_connectors.text import TextReader


class FilesOptions(SourceOptions):
    """Options of ``source`` with ``type: files``."""

    type: Literal["files"]
    paths: tuple[str, ...] = Field(min_length=1)
    """Files or globs, relative to the config's folder; read in this order, the matches of a glob sorted."""
    follow: bool = False
    """Go on reading as the files grow and are rotated; a replay reads only what is there.

    A glob is looked up once, at the start.
    """


class _Reader(Protocol):
    def read(self, max_rows: int) -> Block | None: ...
    def share(self) -> float: ...
    def close(self) -> None: ...


class FilesSource:
    """Bounded files, one after the other, each its own partition."""

    def __init__(self, files: list[FeedFile], options: FilesOptions, context: SourceContext) -> None:
        self._files, self._options, self._context = files, options, context
        self._sizes = [file.path.stat().st_size for file in files]
        self._positions: Positions = {}
        self._current = 0
        self._reader: _Reader | None = None
        self._done = 0.0

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | End | Revoked:
        """See `streamad.ports.Source.poll`; never waits."""
        del timeout
        while max_rows and self._current < len(self._files):
            if self._reader is None:
                self._reader = self._open(self._files[self._current])
            block = self._reader.read(max_rows) if self._reader is not None else None
            self._done = self._share()
            if block is not None:
                return block
            self._close_reader()
            self._current += 1
            self._done = self._share()
        return End() if max_rows else Idle()

    def seek(self, positions: Positions) -> None:
        """See `streamad.ports.Source.seek`."""
        known = {file.partition for file in self._files}
        for partition, cursor in positions.items():
            if partition not in known and not cursor["end"]:
                raise InputError(
                    f"{partition} was read up to line {cursor['line']} but is not in source.paths now"
                )
        self._close_reader()
        self._positions = dict(positions)
        self._current = 0
        self._reader = self._open(self._files[0])
        self._done = self._share()

    def progress(self) -> float | None:
        """See `streamad.ports.Source.progress`. Asked by another thread than the one that polls."""
        return self._done

    def _share(self) -> float:
        """How much was read, counted in bytes of the files as they lie on disk."""
        total = sum(self._sizes)
        done = sum(self._sizes[: self._current])
        if self._reader is not None:
            done += int(self._reader.share() * self._sizes[self._current])
        return done / total if total else 1.0

    def close(self) -> None:
        """See `streamad.ports.Source.close`."""
        self._close_reader()

    def _open(self, file: FeedFile) -> _Reader | None:
        """A reader behind the file's committed cursor; None for a compressed file that was finished.

        Any other finished file is looked at again: it may have grown.
        """
        cursor: Cursor | None = self._positions.get(file.partition)
        if self._options.format == "parquet":
            return ParquetReader(file.path, file.partition, cursor)
        stream = open_text(file.path)
        reader = TextReader(stream, str(file.path), file.partition, self._options, self._context.record_bytes)
        if cursor is None:
            return reader
        try:
            if not (stream.compressed and cursor["end"]):
                reader.resume(stream, cursor)
                return reader
        except InputError:
            reader.close()
            raise
        reader.close()
        return None

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None


def _open(options: FilesOptions, context: SourceContext) -> Source:
    """Open the source. Raises `InputError` for anything that can be known to be unreadable beforehand."""
    follow = options.follow and not context.bounded
    files = find_files(options.paths, context.folder, must_exist=not follow)
    if follow:
        return _follow(files, options, context)
    _check(files, parquet=options.format == "parquet")
    return FilesSource(files, options, context)


def _follow(files: list[FeedFile], options: FilesOptions, context: SourceContext) -> Source:
    if options.format == "parquet":
        raise InputError("a Parquet file cannot be followed: it is complete or no Parquet file")
    followed = without_rotated(files)
    for file in followed:
        if file.path.exists():
            check_text(file.path)
            check_plain(file.path)
    return FollowSource(followed, options, context.record_bytes)


def _check(files: list[FeedFile], *, parquet: bool) -> None:
    if parquet:
        for file in files:
            check_parquet(file.path)
        return
    filled = [check_text(file.path) for file in files]
    if not any(filled):
        verb = "is" if len(files) == 1 else "are all"
        raise InputError(f"{', '.join(str(file.path) for file in files[:5])} {verb} empty")


plugin = SourcePlugin(options=FilesOptions, open=_open)
