"""What people do in a cluster, each command on its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from streamad.ports.mutes import Mute

Seen = Literal["alerts", "rejected", "candidates", "labels", "control"]
"""What lies in a cluster for people to see; control is where versions are asked for."""


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A version that can be gone back to."""

    number: int
    promoted: bool
    published_at: str
    """RFC 3339."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a cluster is doing. What this user may not know is None."""

    topic: str | None
    """Where its records are, if in a topic."""
    group: str
    """That of its scorers, or of the one that there is."""
    lag: Mapping[str, int]
    """partition -> how many records, or places that hold none, the scorers have still before them"""
    begun: bool
    """Whether they have ever committed anything."""
    scorers: int | None
    """How many there are now."""
    trainers: int | None
    active: bool | None
    """Whether one of the trainers is the active one."""


class Desk(Protocol):
    """A cluster as people see it. Used by one thread; waits a bounded time for each answer.

    Each verb raises `UserError` and `WorldError` for what the reading or writing met.
    """

    def where(self, what: Seen) -> str:
        """Where something lies, for people."""

    def newest(self, what: Seen, count: int) -> Iterable[Mapping[str, Any]]:
        """The newest `count` as of now in CONTRACTS.md's formats, oldest of them first; 0: all that there are.

        Others may have written them: a label, an alert or a candidate is an object, and nothing more is certain.
        Alerts and candidates of several partitions are in order of time, but all of them only within a partition.
        """

    def follow(self, timeout: float) -> Sequence[Mapping[str, Any]]:
        """Alerts that came since the last call, or since `newest`; waits for at most `timeout` seconds."""

    def give(self, labels: Sequence[Mapping[str, Any]]) -> Sequence[str | None]:
        """Say labels, in their order; returns when none can be lost any more.

        For each, why it was not said, else None: its event can be none, or it is too large.
        """

    def versions(self) -> Sequence[KeptVersion]:
        """Those that are kept, oldest first."""

    def files(self, version: int) -> Mapping[str, bytes]:
        """A version's artifact. Raises `UserError` where it is not kept."""

    def previous(self) -> int:
        """The version kept before the promoted one. Raises `UserError` where there is none."""

    def ask(self, version: int) -> bool | None:
        """Ask the active trainer to promote a version.

        Returns whether there is an active trainer; None where this user may not know. Raises `UserError` where the
        version is not kept.
        """

    def mutes(self) -> Sequence[Mute]:
        """All that there ever were, oldest first."""

    def mute(self, mute: Mute) -> None:
        """Say a mute, or that one changes; returns when it cannot be lost any more."""

    def standing(self) -> Standing:
        """How far the scorers are, and who is there."""

    def close(self) -> None:
        """Give back connections."""
