"""The `limits`, `log` and `http` sections of the config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

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
    """The breaker: more rejected than this among the last `rejected_window` records stops the feed; in a cluster, of
    one partition and that partition."""
    rejected_window: int = Field(default=10_000, ge=10)
    watchdog_seconds: float = Field(default=120.0, ge=0)
    """Daemon: when nothing goes on for so long although records wait, health is red, and after twice that time the
    process ends; 0: never."""


class LogOptions(Section):
    """Logs go to stderr: for people on a terminal, JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"


def _as_address(value: object) -> str:
    """``HOST:PORT``, where loopback is the host if none is named. Raises `ValueError`."""
    host, _, port = str(value).rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if bare or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        message = "an address such as 127.0.0.1:9464"
        raise ValueError(message)
    return f"{host or '127.0.0.1'}:{port}"


class HttpOptions(Section):
    """Health and numbers for machines: /healthz, /readyz, /metrics."""

    listen: Annotated[str, BeforeValidator(_as_address)] | None = None
    """``HOST:PORT``, or ``PORT`` alone for this machine only; off by default."""
