"""Whether a process does its work: what makes its health red, when it is ready, and when it had better end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    Status = Mapping[str, Any]
    """What `Engine.status` says, or ``{"state": "standing_by"}``."""

_PATIENT = {"warming_up", "first_fit"}
"""States in which records wait for good reason: there is no model to score them with."""

_OFF_DUTY = {"standing_by", "stopped"}
"""States in which nobody waits for a sign of life: there is no engine yet, or no longer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What there is to say of a process, in words for people."""

    stalled: str = ""
    """Why nothing goes on, where something should; empty while it does."""
    red: tuple[str, ...] = ()
    """All that is wrong."""
    unready: str = "starting"
    """What it still waits for; empty once it is ready."""
    over: bool = False
    """It stalls for so long that only a new start may help."""


class _Seen(NamedTuple):
    """What tells a process that goes on from one that does not."""

    beats: int
    polled_at: float | None
    committed: tuple[int, ...]


class Health:
    """Judges by what the engine last said and how often it said anything. Knows no clock.

    A stall is records that wait while no position moves, a source that never hears what there is to read, an engine
    that gives no sign of life, or a source that nobody asks. No stall is a wait for the first model, for brokers that are
    away, or for being needed. A training beside the scoring, or an engine that takes no more records than it can, is
    no excuse: both go on.
    """

    def __init__(self, limit: float) -> None:
        """`limit` is the seconds without progress that make a stall; twice as many end the process; 0: never."""
        self._limit = limit
        self._still = 0.0
        self._seen = _Seen(-1, None, ())

    def judge(self, status: Status | None, beats: int, elapsed: float) -> Verdict:
        """`elapsed` seconds after the last call; `status` is None before the engine said anything."""
        self._still = 0.0 if self._goes_on(status, beats) else self._still + elapsed
        if status is None:
            return Verdict()
        stalled = self._complaint(status) if 0 < self._limit <= self._still else ""
        red = (stalled, _paused(status))
        over = bool(stalled) and self._still >= 2 * self._limit
        return Verdict(stalled, tuple(filter(None, red)), _unready(status), over)

    def _goes_on(self, status: Status | None, beats: int) -> bool:
        if status is None or status["state"] in _OFF_DUTY:
            return True
        source, before = status.get("source", {}), self._seen
        committed = (status.get("scored", 0), status.get("rejected", 0))
        now = self._seen = _Seen(beats, source.get("polled_at"), committed)
        if now.beats == before.beats or (now.polled_at is not None and now.polled_at == before.polled_at):
            return False
        if source.get("away", False) or now.committed != before.committed:
            return True
        return not _unheard(status) and (status["state"] in _PATIENT or not _waiting(status))

    def _complaint(self, status: Status) -> str:
        waiting = _waiting(status)
        what = f"although {waiting:,} records wait" if waiting else _unheard(status)
        return f"no progress for {self._still:,.0f} s {what or 'since the engine or its source hangs'}"


def _waiting(status: Status) -> int:
    """Records that somebody should do something about, as far as is known."""
    source = status.get("source", {})
    paused = source.get("paused", ())
    lag = sum(records for name, records in source.get("lag", {}).items() if name not in paused)
    return max(int(lag), int(status.get("in_flight", 0) + status.get("held", 0)))


def _unheard(status: Status) -> str:
    """Why it is not known what there is to read, in words; empty where it is."""
    source = status.get("source", {})
    if not source.get("settled", True):
        return "since no partitions were given to it"
    silent = [name for name in source.get("silent", ()) if name not in source.get("paused", ())]
    return f"since nothing is heard of {', '.join(silent)}" if silent else ""


def _paused(status: Status) -> str:
    paused = status.get("source", {}).get("paused", ())
    return f"most of the last records of {', '.join(paused)} were rejected: paused" if paused else ""


def _unready(status: Status) -> str:
    state, source = status["state"], status.get("source", {})
    if state == "standing_by":
        return ""
    if state in {"draining", "stopped"}:
        return "stopping"
    if status["version"] is None:
        why = status.get("unfit") or status.get("complaint")
        return f"waits for a model: {why}" if why else "waits for a model"
    if source.get("settled", True):
        return ""
    return "waits for brokers that are away" if source.get("away", False) else "waits to be given partitions"
