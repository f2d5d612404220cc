"""What commands rely on in a cluster's alerts and candidates: others may have written there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from streamad.commands import screen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Reason(BaseModel):
    """One of a score's reasons."""

    model_config = ConfigDict(strict=True)
    field: str
    value: Any
    share: float


class Candidate(BaseModel):
    """An event worth asking about."""

    model_config = ConfigDict(strict=True)
    event_id: str
    key: str | None
    score: float | None
    p_value: float | None
    reasons: list[Reason]
    record: dict[str, Any]
    probability: float | None = None
    signature: str = ""
    kind: str = "candidate"


class Alert(Candidate):
    """An alert."""

    threshold: float
    anomaly_probability: float | None
    scored_at: str
    repeat_of: str | None
    event_time: str | None
    detector: str
    version: int
    labels_applied: int


def sound(shape: type[BaseModel], rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows that have the shape; how many have not is said at the end."""
    odd = 0
    for row in rows:
        try:
            shape.model_validate(row)
        except ValidationError:
            odd += 1
        else:
            yield dict(row)
    if odd:
        screen.remark(f"left out: {odd:,} that are no {shape.__name__.lower()}s of streamad's")
