"""What the outside of streamad must do: one protocol a port, two to four verbs each.

The ports are drawn for a broker: positions are a map over partitions, the sink commits outputs and
positions together or aborts, and after an abort the source is rewound. Connectors are found through
the entry points ``streamad.sources`` and ``streamad.sinks``; each entry is a `SourcePlugin` or a
`SinkPlugin`, so anyone can add one from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from streamad.records.batch import Block, Cursor
from streamad.records.schema import PayloadFormat, Section

if TYPE_CHECKING:
    from streamad.records.sample import Sample

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


@runtime_checkable
class WatchedSource(Source, Protocol):
    """A source that tells how it stands."""

    def figures(self, positions: Positions) -> SourceFigures:
        """Called from any thread at any time; asks nobody. `positions` are those committed."""


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
    handled: Sequence[int] = ()
    """Requests of other commands (promote, rollback) that this transaction fulfils."""


class Sink(Protocol):
    """Where a transaction goes. Used by the engine's thread only."""

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


@dataclass(frozen=True, slots=True)
class SourcePlugin:
    """What an entry point of ``streamad.sources`` points to."""

    options: type[SourceOptions]
    open: Callable[[Any, SourceContext], Source]
    """(validated options, context) -> source"""
    sampling: Sampling | None = None
    check: Callable[[Any, SourceContext], Sequence[Finding]] | None = None
    """(validated options, context) -> what ``run --check`` finds, without a trace. Without it the source is opened."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How ``init`` looks at what a URL ``NAME://REST`` names, NAME being the entry point's."""

    options: Callable[[str], dict[str, Any]]
    """REST -> the options that it stands for. Raises `UserError`."""
    take: Callable[[Any, SourceContext], Sample]
    """(validated options, context) -> recent records"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look before the start found: one sentence, with the remedy where something is wrong."""

    kind: Literal["ok", "warning", "problem"]
    text: str


Role = Literal["scorer", "trainer"]


@dataclass(frozen=True, slots=True)
class SinkPlugin:
    """What an entry point of ``streamad.sinks`` points to."""

    options: type[SinkOptions]
    open: Callable[[Any, Path], Outlet]
    """(validated options, the folder that relative paths start from) -> outlet"""


class SourceOptions(PayloadFormat):
    """Base of every connector's source options: ``type`` is the entry point's name."""

    type: str


class SinkOptions(Section):
    """Base of every connector's sink options: ``type`` is the entry point's name."""

    type: str


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source may know beside its options."""

    folder: Path
    """Relative paths start here: the config's folder."""
    record_bytes: int
    """A longer record is skipped as a stream and reported through `Block.faults`."""
    seed: int
    bounded: bool
    """True for a replay: read what is there, then end."""
    release: Callable[[tuple[str, ...]], None] = lambda _partitions: None
    """To be called within `Source.poll` before partitions go to somebody else: returns, in bounded time, when
    what was scored of them is committed or dropped. `poll` then returns `Revoked`."""
    feed: str = "feed"
    """The feed's name."""


# ---- a cluster: state that lives outside, and is shared ---------------------------------------------


@dataclass(frozen=True, slots=True)
class GivenLabel:
    """A label as it lies in the cluster's order of labels."""

    number: int
    """Its place in that order."""
    label: Mapping[str, Any]
    """In CONTRACTS.md's format, not yet checked."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """The version that all scorers are to score with, fetched whole and found undamaged."""

    version: int
    files: Mapping[str, bytes]
    """The artifact's files by name."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What the active trainer says of calibration since a version's artifact was made."""

    version: int
    threshold: float
    arrays: bytes
    """safetensors, as `Publisher.calibrate` was given them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody at a desk asks the active trainer for."""

    number: int
    """Its place in the order of requests: an answer is one to all before it too."""
    version: int
    """To be promoted."""
    asked_at: str
    """RFC 3339, as the desk said."""


class Updates(Protocol):
    """What trainer and analysts publish, read by every scorer and trainer. Used by one thread at a time."""

    def poll(self) -> Sequence[GivenLabel | Promoted | Reference | Wanted]:
        """What is new, labels in their order; never blocks.

        The first call gives all that is there by then: every label, the version in force, its newest reference
        and a request that was not answered. Raises `UserError` and `WorldError` for what the reading met.
        """

    def close(self) -> None:
        """Give back connections."""


class Publisher(Protocol):
    """The active trainer's voice: what it says is there whole, or not at all.

    A trainer that is no longer the active one can say nothing: each verb raises `CommitAbortedError` then.
    """

    def wait_until_active(self, timeout: float) -> bool:
        """Whether this trainer is the active one by now."""

    def last_version(self) -> int:
        """The highest number ever published, 0 before the first."""

    def publish(self, version: int, files: Mapping[str, bytes]) -> None:
        """Publish an artifact, and promote it."""

    def promote(self, version: int, answers: int | None = None) -> None:
        """Go (back) to a version. Raises `UserError` where it is not kept any more.

        `answers` is a `Wanted.number`, which either way counts as answered.
        """

    def calibrate(self, reference: Reference) -> None:
        """Say what the scores of recent held-out records look like."""

    def complete(self, label: Mapping[str, Any]) -> None:
        """Say a label again, with its record. Raises `StoreError` for one that is too large."""

    def close(self) -> None:
        """Give back connections."""


class Lookup(Protocol):
    """Single records of the source found again, for the active trainer. Used by one thread at a time."""

    def payload(self, position: str) -> Block | None:
        """The one row at a position, within a moment; None where it is not there yet, or nobody answered.

        Raises `InputError` where there is none and will be none.
        """

    def close(self) -> None:
        """Give back connections."""


@dataclass(frozen=True, slots=True)
class ClusterPlugin:
    """What an entry point of ``streamad.states`` points to: a ``state:`` of the config that is no directory."""

    options: type[Section]
    open_scorer: Callable[[Any, Any, ClusterContext], tuple[SharedSource, Sink, Updates]]
    """(validated options of the state, those of the source, context) -> what ``run`` works with"""
    open_trainer: Callable[[Any, Any, ClusterContext], tuple[Source, Updates, Publisher, Lookup]]
    """(validated options of the state, those of the source, context) -> what ``trainer`` works with"""
    check: Callable[[Any, Any, ClusterContext, Role], Sequence[Finding]] = lambda *_: ()
    """(validated options of the state, those of the source, context, role) -> what ``--check`` finds, without a trace"""


@dataclass(frozen=True, slots=True)
class ClusterContext:
    """What a cluster's connector may know beside its options."""

    feed: str
    source: SourceContext
    window_records: int
    """Records that a trainer's window holds: where its source begins."""
    keep_versions: int
