"""The `training` section of the config."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streamad.records.schema import Section


class WarmUp(Section):
    """When the first model is fitted: whichever comes first, or the end of a short file."""

    records: int = Field(default=10_000, ge=1)
    seconds: float = Field(default=300.0, gt=0)
    """Daemon only."""


class Window(Section):
    """What training draws from."""

    records: int = Field(default=100_000, ge=100)
    hours: float | None = Field(default=None, gt=0)
    """Also drop what is older than this, by event time in a replay and by arrival in the daemon."""
    labeled: int = Field(default=10_000, ge=1)
    """Labeled records that are kept beyond the window."""
    past: int = Field(default=20_000, ge=0)
    """Records of the whole past that are kept beyond the window, thinner with age, and learned from beside it, one to
    four of its own at most: a quiet week does not erase what came before. No more than `records`; 0: none."""


class DriftOptions(Section):
    """What counts as a drift of the feed, and whether models are trained for it."""

    records: int = Field(default=4000, ge=400)
    """A change is called a drift once it lasted for so many records, which is soon enough to matter and longer than
    a burst."""
    limit: float = Field(default=3.2, gt=0)
    """How far a field may move, in times of what is usual for it: less finds smaller drifts, and more of them false."""
    retrain: bool = True
    """Retrain after one."""


class TrainingOptions(Section):
    """When the models learn."""

    warm_up: WarmUp = WarmUp()
    window: Window = Window()
    every_records: int | None = Field(default=100_000, ge=1)
    """Retrain after so many records."""
    every_labels: int | None = Field(default=20, ge=1)
    """Retrain after so many new labels."""
    drift: DriftOptions | None = DriftOptions()
    """``null`` watches nothing."""
    effect_after: int = Field(default=50_000, ge=0)
    """Replay only: a training that begins at record n takes effect at record n + this."""
    promote: Literal["better", "always"] = "always"
    """Which trainings take over: those that do better than the version in force, or all."""
    timeout: float = Field(default=900.0, gt=0)
    """Seconds after which a trainer counts as hung."""
