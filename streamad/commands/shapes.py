"""What commands rely on in a cluster's alerts and candidates: others may have written there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from streamad.commands import screen
from streamad.state.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def _is_time(text: str) -> str:
    """Raises `ValueError`."""
    parse_time(text)
    return text


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

    alert_id: str
    threshold: float
    anomaly_probability: float | None
    scored_at: Annotated[str, AfterValidator(_is_time)]
    repeat_of: str | None
    muted: str | None = None
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
