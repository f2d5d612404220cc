"""The `features` section of the config."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streamad.records.schema import Section


class FeatureOptions(Section):
    """How decoded records become what a detector reads."""

    scaling: Literal["robust", "minmax"] = "robust"
    """``robust`` standardises (heavy tails through a signed logarithm first); ``minmax`` maps to [0, 1]."""
    max_categories: int = Field(default=64, ge=1, le=4096)
    """One-hot slots a category field can have, most frequent values first; the others share "unseen"."""
    min_count: int = Field(default=3, ge=1)
    """A value seen fewer times in the window than this is dropped at a fit."""
