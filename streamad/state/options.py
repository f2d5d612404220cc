"""The `keep` section of the config."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from streamad.records.schema import Section

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: object) -> object:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)([smhd])", value)):
        return int(match[1]) * _UNITS[match[2]]
    if isinstance(value, str):
        message = "expected a number and a unit: 30s, 15m, 12h or 90d"
        raise ValueError(message)  # noqa: TRY004  # pydantic reports ValueError only
    return value


Duration = Annotated[int, BeforeValidator(_seconds), Field(gt=0)]
"""Seconds, written ``90d``."""


class KeepOptions(Section):
    """How long the store keeps what; labels are kept for ever."""

    alerts: Duration = 90 * 86400
    rejected: Duration = 7 * 86400
    versions: int = Field(default=10, ge=2)
    max_gb: float = Field(default=10.0, gt=0)
