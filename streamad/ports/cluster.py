"""A cluster: state that lives outside, and is shared by scorers and trainers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from streamad.ports.desk import Desk
from streamad.ports.mutes import Mute
from streamad.ports.plugins import Finding, SourceContext
from streamad.ports.streams import Sink, Source
from streamad.records.batch import Block
from streamad.records.schema import Section

Role = Literal["scorer", "trainer"]


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
    """Grows from request to request: an answer is one to all before it too."""
    version: int
    """To be promoted."""
    asked_at: str
    """RFC 3339, as the desk said."""


class Updates(Protocol):
    """What trainer and analysts publish, read by every scorer and trainer. Used by one thread at a time."""

    def poll(self) -> Sequence[GivenLabel | Promoted | Reference | Wanted | Mute]:
        """What is new, labels in their order; never blocks.

        The first call gives all that is there by then: every label, the version in force, its newest reference, every
        mute and a request that was not answered. A mute that changes is given again, under its id. Raises `UserError` and `WorldError` for what the reading met.
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
        """Publish an artifact, and promote it.

        Raises `NumberTakenError` where the number is not above all that were published.
        """

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


class Stage(Protocol):
    """A cluster that a demo plays in: topics under names that nobody else has. Used by one thread.

    Each verb raises `UserError` and `WorldError`.
    """

    def source(self) -> Mapping[str, Any]:
        """The config's section for its records."""

    def send(self, payloads: Sequence[bytes]) -> None:
        """Write records, spread over all partitions; returns when none can be lost any more."""

    def close(self) -> None:
        """Remove it, with all that was written to it."""


@dataclass(frozen=True, slots=True)
class ClusterPlugin:
    """What an entry point of ``streamad.states`` points to: a ``state:`` of the config that is no directory."""

    options: type[Section]
    open_scorer: Callable[[Any, Any, ClusterContext], tuple[Source, Sink, Updates]]
    """(validated options of the state, those of the source, context) -> what ``run`` works with; the source is a
    `SharedSource` where there may be several scorers"""
    open_trainer: Callable[[Any, Any, ClusterContext], tuple[Source, Updates, Publisher, Lookup]]
    """(validated options of the state, those of the source, context) -> what ``trainer`` works with"""
    open_desk: Callable[[Any, Any, ClusterContext], Desk]
    """(validated options of the state, those of the source, context) -> what the other commands work with"""
    open_stage: Callable[[Any, str], Stage]
    """(validated options of the state, the feed's name) -> a stage that is new"""
    check: Callable[[Any, Any, ClusterContext, Role], Sequence[Finding]] = lambda *_: ()
    """(validated options of the state, those of the source, context, role) -> what ``--check`` finds, without a trace"""


@dataclass(frozen=True, slots=True)
class ClusterContext:
    """What a cluster's connector may know beside its options."""

    feed: str
    source: SourceContext
    open_source: Callable[[], Source]
    """The config's source as on one machine, for a cluster that does not hold its records itself."""
    window_records: int
    """Records that a trainer's window holds: where its source begins."""
    keep_versions: int
    pinned_versions: Collection[int] = ()
    """Kept beside the last `keep_versions`."""
    on_step: Callable[[str], None] = lambda _step: None
    """Told the name of each step of a commit; the crash tests kill the process in it."""
