"""The `labels` section of the config."""

from __future__ import annotations

from pydantic import Field

from streamad.records.schema import Section


class LabelOptions(Section):
    """How verdicts reach the models."""

    delay: int = Field(default=0, ge=0)
    """Replay only: a label applies this many records after its record."""
    pool: int = Field(default=100_000, ge=100)
    """Records kept so that they can be labeled and shown."""
    sample: float = Field(default=0.001, ge=0, le=1)
    """The share of records kept in the pool at random."""
    questions_per_day: int | None = Field(default=None, ge=1)
    """`streamad queue` asks about so many events a day (UTC) at most, less those that got a verdict that day."""
    candidates: int = Field(default=4, ge=0)
    """The most anomalous records of each batch that are kept in the pool, alerts aside."""
