"""A benchmark's table, ready to be shown on a screen or a page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One place of a grid."""

    ours: float
    std: float | None
    """None for a mean over data sets."""
    published: float | None
    published_std: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a grid; None where a method did not run."""

    label: str
    figures: tuple[Figure | None, ...]
    is_mean: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """One table, ready to be shown."""

    name: str
    title: str
    metric: str
    methods: tuple[str, ...]
    lines: tuple[Line, ...]

    def text(self, value: float) -> str:
        """A number of this grid in the number of digits that its unit deserves."""
        return f"{value:.1f}" if self.metric.endswith("%") else f"{value:.3f}"

    def spread(self, value: float, std: float | None) -> str:
        """A number with its standard deviation, if it has one."""
        return self.text(value) if std is None else f"{self.text(value)} ± {self.text(std)}"
