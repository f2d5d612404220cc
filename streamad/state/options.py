"""The `keep` section of the config."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from streamad.records.schema import Section

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> int:
    """What ``90d`` means. Raises `ValueError`."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if match is None:
        raise ValueError("expected a number and a unit: 30s, 15m, 12h or 90d")
    return int(match[1]) * _UNITS[match[2]]


def _written(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


Duration = Annotated[int, BeforeValidator(_written), Field(gt=0)]
"""Seconds, written ``90d``."""


class KeepOptions(Section):
    """How long the store keeps what; labels are kept for ever."""

    alerts: Duration = 90 * 86400
    rejected: Duration = 7 * 86400
    versions: int = Field(default=10, ge=2)
    """The last so many."""
    pinned: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Versions that stay beside these, so that one can go back to them at any time."""
    max_gb: float = Field(default=10.0, gt=0)
