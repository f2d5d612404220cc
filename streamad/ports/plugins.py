"""What the entry points of sources and sinks point to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from streamad.ports.streams import Outlet, Source
from streamad.records.schema import PayloadFormat, Section

if TYPE_CHECKING:
    from streamad.records.sample import Sample


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
