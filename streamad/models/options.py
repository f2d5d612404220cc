"""The `detector` section of the config."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, FiniteFloat, field_validator, model_validator

from streamad.records.schema import Section

MOST_MEMBERS = 64
LABELED_SHARE = 0.125
"""Labeled rows beyond a batch's size that a UAI layer is shown, as a share of it."""

AUTO = "dp_vae"
"""What ``auto`` is: with the head on top, the best of the detectors on feeds, with labels and without."""


class DetectorOptions(Section):
    """Which detector scores the feed, and how it is trained."""

    name: str = AUTO
    """The file under ``streamad/models`` that holds it: ``dp_vae``, ``deep_sad``, ``ae_sad``, ... or ``auto``."""
    settings: dict[str, FiniteFloat] = Field(default_factory=dict)
    """The detector's own values, where they are not to be its defaults."""
    members: int = Field(default=5, ge=1, le=MOST_MEMBERS)
    hidden: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(default=(32, 16), min_length=1)
    latent: int = Field(default=8, ge=1, le=65536)
    epochs: int = Field(default=8, ge=1)
    min_steps: int = Field(default=600, ge=1)
    """A small window is gone through more often than ``epochs`` times, until there were so many steps."""
    batch: int = Field(default=256, ge=1)
    labeled_share: float = Field(default=LABELED_SHARE, ge=0, le=1)
    """With labels, a batch carries labeled rows beyond its size, drawn evenly from both verdicts: this share."""
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-6, ge=0)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """``auto`` is the GPU where there is one; ``cpu`` or ``cuda`` insist."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads that score a batch on the CPU; scores do not depend on it."""
    head: bool = True
    """Whether labels train a UAI head on the detector."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:  # noqa: ANN401  # whatever a config says
        """``detector: auto`` is short for ``detector: {name: auto}``."""
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _chosen(cls, name: str) -> str:
        """Artifacts carry what ``auto`` stood for when they were made."""
        return AUTO if name == "auto" else name
