"""What the tables know of a method beside its scores."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from streamad.bench.code import digest
from streamad.bench.papers.active import ActiveMethod, NoveltyMethod
from streamad.bench.papers.baselines import Method

Labels = Literal["needed", "used", "ignored"]

DETECTORS: Final = ("estimators", "models", "training")
"""The sources of streamad's own detectors."""

_PROTOCOL = tuple(
    f"bench/papers/{name}.py" for name in ("datasets", "protocols", "evaluate", "tables", "methods")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a method beside how to make it."""

    sources: tuple[str, ...]
    """Files and folders of streamad whose code decides the scores: where it changes, kept results no longer count."""
    labels: Labels = "used"
    """What labeled anomalies are to it; one that ignores them runs without them where a table varies their number."""
    package: str = ""
    """The package of the `bench` extra that it needs."""

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    @property
    def code(self) -> str:
        """A digest of the code that decides its scores, comments and docstrings aside."""
        return digest((*_PROTOCOL, *self.sources))


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEntry(Entry):
    """A method that is trained on a split and judged by its scores of the test rows."""

    make: Callable[[str], Method]
    """By the data set's name, since the papers choose their networks by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveEntry(Entry):
    """A method that asks about rows, and is judged by how many of them are anomalies."""

    make: Callable[[str], ActiveMethod]
    """By the data set's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoveltyEntry(Entry):
    """A method that asks about some rows, and is judged by its scores of others."""

    make: Callable[[str], NoveltyMethod]
    """By the data set's name."""
