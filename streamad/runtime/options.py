"""The `limits` and `log` sections of the config."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streamad.records.schema import Section


class LimitOptions(Section):
    """The sizes of things in flight."""

    batch_records: int = Field(default=8192, ge=1, le=65536)
    commit_batches: int = Field(default=1, ge=1)
    """Replay: batches in a transaction."""
    commit_ms: int = Field(default=100, ge=1)
    """Daemon: milliseconds between commits."""
    poll_ms: int = Field(default=50, ge=1)
    """Daemon: a batch closes at its size or after this."""
    record_bytes: int = Field(default=1 << 20, ge=64)
    """A longer record is rejected."""
    read_ahead: int = Field(default=3, ge=1)
    """Batches decoded ahead of scoring."""
    rejected_share: float = Field(default=0.5, gt=0, le=1)
    """The breaker: more rejected than this among the last `rejected_window` records stops the feed."""
    rejected_window: int = Field(default=10_000, ge=10)


class LogOptions(Section):
    """Logs go to stderr: for people on a terminal, JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"
