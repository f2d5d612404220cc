"""The `alerts` section of the config."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from streamad.records.schema import Section


def _some(budget: str) -> str:
    if not 0 < float(budget.removesuffix("/h")) < math.inf:
        raise ValueError("more than 0 alerts an hour, such as 20/h")
    return budget


def _stretch(within: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}([smhd]| records)", within):
        raise ValueError("a time such as 10m, or a number of records such as 5000 records")
    return within


Share = Annotated[float, Field(gt=0, lt=1)]
PerHour = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?/h$"), AfterValidator(_some)]

Within = Annotated[str, AfterValidator(_stretch)]


class BurstOptions(Section):
    """Which alerts repeat an earlier one, so that people are shown one line for all of them."""

    by: tuple[str, ...] | None = Field(default=None, max_length=16)
    """The fields in which they are alike, by default all that are categorical (without any there are no bursts);
    none at all: each alert is like any other."""
    within: Within | None = None
    """How long after the last one an alert still repeats: a time (by event time in a replay, by arrival in the daemon),
    or so many records. By default 10m, and 10000 records in a replay without event times."""


class AlertOptions(Section):
    """How many alerts the user can take, and what each carries."""

    budget: Share | PerHour = 0.001
    """A share of the records (0.001), or so many an hour ("20/h")."""
    reasons: int = Field(default=3, ge=1, le=20)
    """Fields named in each alert, the largest share of the score first."""
    burst: BurstOptions | Literal[False] = BurstOptions()
    """``off``: every alert is one to look at."""
