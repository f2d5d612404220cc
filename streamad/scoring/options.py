"""The `alerts` section of the config."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from streamad.records.schema import Section


def _some(budget: str) -> str:
    if not 0 < float(budget.removesuffix("/h")) < math.inf:
        raise ValueError("more than 0 alerts an hour, such as 20/h")
    return budget


Share = Annotated[float, Field(gt=0, lt=1)]
PerHour = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?/h$"), AfterValidator(_some)]


class AlertOptions(Section):
    """How many alerts the user can take, and what each carries."""

    budget: Share | PerHour = 0.001
    """A share of the records (0.001), or so many an hour ("20/h")."""
    reasons: int = Field(default=3, ge=1, le=20)
    """Fields named in each alert, the largest share of the score first."""
