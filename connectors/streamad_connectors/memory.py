"""In-memory source, sink and outlet: everything that the ports allow, for tests and for embedding.

The source does what a broker would do: several partitions, pauses, revocations, rewinds and an end. The
sink can abort or fail on command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Any, ClassVar, Literal

import numpy as np

from streamad.errors import CommitAbortedError, StoreError
from streamad.ports import (
    Commit,
    End,
    Idle,
    Outlet,
    Positions,
    Revoked,
    SinkOptions,
    SinkPlugin,
    Source,
    SourceContext,
    SourceOptions,
    SourcePlugin,
)
from streamad.records.batch import Block, Cursor


@dataclass(frozen=True, slots=True)
class Records:
    """The next payloads of a partition."""

    partition: str
    payloads: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Pause:
    """One poll returns `Idle` here."""


@dataclass(frozen=True, slots=True)
class Revoke:
    """A rebalance takes these partitions away here; their later records go to somebody else."""

    partitions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """A rebalance gives a partition (back) here, to be read from `offset` on."""

    partition: str
    offset: int = 0


Mark = Pause | Revoke | Assign
Script = Sequence[Records | Mark]


class MemorySource:
    """Plays a script. Offsets count a partition's records from 0; a cursor is ``{"offset": next}``.

    A mark happens once, also when the records around it are read again after a `seek`. A bounded source
    ends behind its script; another one is idle until `add` or `finish` is called, from any thread.
    """

    def __init__(self, script: Script = (), *, bounded: bool = True, columns: Sequence[str] = ()) -> None:
        self._script: list[tuple[str, int] | Mark] = []
        self._payloads: dict[str, list[bytes]] = {}
        self._columns = tuple(columns) or None
        self._bounded = bounded
        self._at = 0  # in the script
        self._next: dict[str, int] = {}  # offset to read next, by partition
        self._revoked: set[str] = set()
        self._news = Condition()
        self.closed = False
        """Whether `close` was called."""
        self.release: Callable[[tuple[str, ...]], None] = lambda _partitions: None
        """See `streamad.ports.SourceContext.release`; by default partitions are lost without a word."""
        self.add(*script)

    def add(self, *script: Records | Mark) -> None:
        """Append to the script."""
        with self._news:
            for item in script:
                if isinstance(item, Records):
                    payloads = self._payloads.setdefault(item.partition, [])
                    self._script += [(item.partition, len(payloads) + i) for i in range(len(item.payloads))]
                    payloads += item.payloads
                else:
                    self._script.append(item)
            self._news.notify_all()

    def finish(self) -> None:
        """Make the source bounded: it ends behind its script."""
        with self._news:
            self._bounded = True
            self._news.notify_all()

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | End | Revoked:
        """See `streamad.ports.Source.poll`."""
        with self._news:
            self._skip_read()
            if self._at == len(self._script) and not self._bounded:
                self._news.wait(timeout)
                self._skip_read()
            if self._at == len(self._script):
                return End() if self._bounded else Idle()
            item = self._script[self._at]
            if not isinstance(item, tuple):
                return self._happen(item)
            return self._block(item[0], max_rows) if max_rows else Idle()

    def seek(self, positions: Positions) -> None:
        """See `streamad.ports.Source.seek`."""
        with self._news:
            self._next = {name: int(cursor["offset"]) for name, cursor in positions.items()}
            self._at = 0

    def progress(self) -> float | None:
        """See `streamad.ports.Source.progress`."""
        return self._at / len(self._script) if self._bounded and self._script else None

    def close(self) -> None:
        """See `streamad.ports.Source.close`."""
        self.closed = True

    def _skip_read(self) -> None:
        """Go to the next entry that is a mark or a record to be read."""
        while self._at < len(self._script):
            item = self._script[self._at]
            if not isinstance(item, tuple) or self._wanted(*item):
                return
            self._at += 1

    def _wanted(self, partition: str, offset: int) -> bool:
        return partition not in self._revoked and offset >= self._next.get(partition, 0)

    def _happen(self, mark: Mark) -> Idle | Revoked:
        del self._script[self._at]
        if isinstance(mark, Revoke):
            self.release(mark.partitions)
            self._revoked.update(mark.partitions)
            return Revoked(mark.partitions)
        if isinstance(mark, Assign):
            self._revoked.discard(mark.partition)
            self._next[mark.partition] = mark.offset
            self._at = 0
        return Idle()

    def _block(self, partition: str, max_rows: int) -> Block:
        """The records from here on, up to another partition or a mark."""
        offsets: list[int] = []
        while self._at < len(self._script) and len(offsets) < max_rows:
            item = self._script[self._at]
            if not isinstance(item, tuple) or item[0] != partition:
                break
            if self._wanted(*item):
                offsets.append(item[1])
            self._at += 1
        self._next[partition] = offsets[-1] + 1
        payloads = [self._payloads[partition][offset] for offset in offsets]
        cursor = {"offset": offsets[-1] + 1}
        return memory_block(partition, payloads, offsets, cursor, columns=self._columns)


def memory_block(
    partition: str,
    payloads: Sequence[bytes],
    offsets: Sequence[int],
    cursor: Cursor,
    *,
    columns: tuple[str, ...] | None = None,
) -> Block:
    """A block of these payloads, laid out one behind the other."""
    ends = np.cumsum([len(payload) for payload in payloads], dtype=np.int64)
    return Block(
        data=np.frombuffer(bytearray().join(payloads), np.uint8),
        starts=np.concatenate((np.zeros(1, np.int64), ends))[: len(payloads)],
        ends=ends,
        offsets=np.array(offsets, np.int64),
        cursors={partition: cursor},
        columns=columns,
    )


class MemorySink:
    """Collects commits; `restore` gives the last one, so one sink can outlive several engines."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        """Everything that was committed, in order."""
        self.closed = False
        """Whether `close` was called."""
        self._refusals: list[Exception] = []

    @property
    def alerts(self) -> list[Mapping[str, Any]]:
        """The alerts of all commits, in order."""
        return [alert for commit in self.commits for alert in commit.alerts]

    @property
    def rejected(self) -> list[Mapping[str, Any]]:
        """The rejected payloads of all commits, in order."""
        return [entry for commit in self.commits for entry in commit.rejected]

    def abort_next(self) -> None:
        """Roll the next commit back that is not refused already."""
        self._refusals.append(CommitAbortedError("aborted on request"))

    def fail_next(self, message: str = "failed on request") -> None:
        """Fail the next commit that is not refused already."""
        self._refusals.append(StoreError(message))

    def restore(self) -> tuple[Positions, Mapping[str, Any]] | None:
        """See `streamad.ports.Sink.restore`."""
        if not self.commits:
            return None
        return self.commits[-1].positions, self.commits[-1].checkpoint

    def commit(self, commit: Commit) -> None:
        """See `streamad.ports.Sink.commit`."""
        if self._refusals:
            raise self._refusals.pop(0)
        self.commits.append(commit)

    def close(self) -> None:
        """See `streamad.ports.Sink.close`."""
        self.closed = True


class MemoryOutlet:
    """Collects delivered lines. What lies beyond the mark at `resume` is dropped, so each line is there once."""

    named: ClassVar[dict[str, MemoryOutlet]] = {}
    """The outlets that configs asked for, by their option ``name``."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        """Every line delivered, in order."""
        self.failures = 0
        """How many of the next deliveries raise `OSError`."""

    def resume(self, mark: Mapping[str, Any] | None) -> None:
        """See `streamad.ports.Outlet.resume`."""
        del self.lines[mark["count"] if mark else 0 :]

    def deliver(self, lines: Sequence[bytes]) -> Mapping[str, Any]:
        """See `streamad.ports.Outlet.deliver`."""
        if self.failures:
            self.failures -= 1
            raise OSError("failed on request")
        self.lines += lines
        return {"count": len(self.lines)}

    def close(self) -> None:
        """Nothing to give back."""


class MemorySourceOptions(SourceOptions):
    """Options of ``source`` with ``type: memory``."""

    type: Literal["memory"]
    records: dict[str, tuple[str, ...]]
    """partition -> payloads"""


class MemorySinkOptions(SinkOptions):
    """Options of a sink with ``type: memory``."""

    type: Literal["memory"]
    name: str = "default"
    """Where the outlet is found afterwards: ``MemoryOutlet.named[name]``."""


def _open_source(options: MemorySourceOptions, context: SourceContext) -> Source:
    script = [Records(name, [line.encode() for line in lines]) for name, lines in options.records.items()]
    return MemorySource(script, bounded=context.bounded)


def _open_outlet(options: MemorySinkOptions, folder: Path) -> Outlet:
    del folder
    return MemoryOutlet.named.setdefault(options.name, MemoryOutlet())


source_plugin = SourcePlugin(options=MemorySourceOptions, open=_open_source)
sink_plugin = SinkPlugin(options=MemorySinkOptions, open=_open_outlet)
