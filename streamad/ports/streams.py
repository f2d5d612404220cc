"""What is read, and where it goes: sources, sinks, outlets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from streamad.records.batch import Block, Cursor

Positions = Mapping[str, Cursor]
"""partition -> where to go on; the empty map means the beginning."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to read right now; more may come."""


@dataclass(frozen=True, slots=True)
class End:
    """A bounded source has nothing more."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """These partitions now belong to somebody else: uncommitted rows of them must be dropped.

    Where `SourceContext.release` was asked before, there are none.
    """

    partitions: tuple[str, ...]


class Source(Protocol):
    """Where records come from. Used by one thread at a time.

    `poll` is called in a loop by the reading thread; `seek` before the first poll and after an abort,
    never while a poll is running; `close` once, at the end, also after an error.
    """

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | End | Revoked:
        """The next rows, at most `max_rows`, those of a partition in order; none where only cursors moved.

        A bounded source returns full blocks (`max_rows` rows) until its partition ends, so that block
        boundaries depend on nothing but the data. An unbounded source returns what it has after at most
        `timeout` seconds. A record that is not yet complete (a line without its newline) waits. With
        `max_rows` 0 nobody can take rows now: the answer is `Idle`, and a connection is kept alive meanwhile.

        Raises `InputError` for a source that cannot be read as what it is said to be.
        """

    def seek(self, positions: Positions) -> None:
        """Go on from these cursors; a partition that is not named goes on from where it was begun here.

        Raises `InputError` where what lies behind a cursor has changed.
        """

    def progress(self) -> float | None:
        """The share of the source that was read, 0 to 1, or None where nobody can know."""

    def close(self) -> None:
        """Give back files and connections."""


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """How a source stood when it was last polled."""

    polled_at: float
    """When that was, in seconds of `time.monotonic`."""
    settled: bool
    """Whether it knows which partitions it has to read, which may be none."""
    lag: Mapping[str, int]
    """partition -> how many records are known to lie behind the positions asked for; absent where nothing is known."""
    paused: tuple[str, ...] = ()
    """The partitions that it was told to read no more of."""
    away: bool = False
    """Nobody answers at the other end: it waits, and has said so."""
    share: float = 1.0
    """How much of what there was it has handed out of late, where it need not hand out everything."""
    silent: tuple[str, ...] = ()
    """The partitions that it has to read and of which it has heard nothing yet, which takes a moment at most."""


@runtime_checkable
class WatchedSource(Source, Protocol):
    """A source that tells how it stands."""

    def figures(self, positions: Positions) -> SourceFigures:
        """Called from any thread at any time; asks nobody. `positions` are those committed."""


@runtime_checkable
class SparingSource(Source, Protocol):
    """A source whose old cursors are of little use, for who keeps them where there is little room."""

    def needed(self, positions: Positions) -> Positions:
        """Those of these cursors that `seek` needs."""


@runtime_checkable
class SharedSource(WatchedSource, Protocol):
    """A source that reads some of the partitions that several members share."""

    @property
    def owned(self) -> Collection[str]:
        """The partitions that are read here at present. Asked from any thread."""

    def pause(self, partitions: Collection[str]) -> None:
        """Read no more of these, until they come back from elsewhere. Called from any thread; waits for nothing.

        What was read already is still handed out.
        """


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one transaction moves together. Rows are JSON-able dicts in CONTRACTS.md's formats."""

    positions: Positions
    """The cursors of every partition after this transaction."""
    records: int
    """The number of records of the feed up to and including this transaction."""
    alerts: Sequence[Mapping[str, Any]] = ()
    rejected: Sequence[Mapping[str, Any]] = ()
    pool: Sequence[Mapping[str, Any]] = ()
    """Records worth keeping so that they can be labeled and shown."""
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    """The learned state that goes with these positions: name -> JSON-able value or bytes. A name that is
    absent keeps what it had, so that a large part is only written when it changed."""
    alert_numbers: Sequence[int] = ()
    """The record number of each alert."""
    attached: Sequence[Mapping[str, Any]] = ()
    """Records that labels waited for: ``event_id``, ``record``, ``record_number``."""
    applied: Sequence[Mapping[str, Any]] = ()
    """Label changes in the order of their application: ``label_id``, ``event_id``, ``verdict`` and the
    ``record_number`` at which each took effect."""
    versions: Sequence[Mapping[str, Any]] = ()
    """Versions that began or changed: ``number``, ``status`` and, once each, ``created_record``, ``parent``
    and ``numbers``."""
    moved: Collection[str] | None = None
    """The partitions that this transaction moved; None: all of `positions`."""
    handled: Sequence[int] = ()
    """Requests of other commands (promote, rollback) that this transaction fulfils."""


class Sink(Protocol):
    """Where a transaction goes. Used by one thread; by another than the engine's where commits go on beside scoring."""

    def restore(self) -> tuple[Positions, Mapping[str, Any]] | None:
        """The last committed positions and checkpoint, or None on a new state. Called once, first."""

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or none of it.

        Raises `CommitAbortedError` when it was rolled back and may be tried again after a rewind, and
        `StoreError` when it cannot be written at all.
        """

    def close(self) -> None:
        """Give back files and connections."""


class Outlet(Protocol):
    """Where committed alerts are pushed to, behind the store (an outbox). Used by one thread of its own.

    May block: the engine never waits for it.
    """

    def resume(self, mark: Mapping[str, Any] | None) -> None:
        """Called once, first, with the mark that the last `deliver` returned (None: nothing delivered yet)."""

    def deliver(self, lines: Sequence[bytes]) -> Mapping[str, Any]:
        """Push alert lines (NDJSON, each with its newline) in order; returns the mark to resume after them."""

    def close(self) -> None:
        """Give back files and connections."""
