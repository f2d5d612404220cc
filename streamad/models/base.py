"""What every detector is, and how one is made from its name.

To add a detector, add one file here that defines a `Detector` and names it: ``DETECTOR = MyDetector``.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from streamad.errors import UserError
from streamad.models.layers import EnsembleLinear
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom, generators

Phases = tuple[tuple[float, float], ...]
"""(from this share of a stage, the learning rate is multiplied with this), ..."""

Chunks = Iterable[tuple[Tensor, Tensor]]
"""All rows that are trained on, part by part: x [K, B, D] with labels y [K, B]."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One part of a training, with an optimiser of its own."""

    loss: Callable[[Tensor, Tensor, float, MemberRandom], Tensor]
    """Like `Detector.loss`; the progress is the stage's."""
    phases: Phases
    modules: Sequence[nn.Module] = ()
    """What is trained; the whole detector where none is named."""
    epochs: float = 1.0
    """The stage's length, in times of the training's epochs."""
    begin: Callable[[Chunks], None] | None = None
    """Called before the first step, outside of training mode."""


class Detector(nn.Module, ABC):
    """An ensemble of K networks that gives rows a score. Higher score = more anomalous, always.

    Scores are finite and at least 0 for finite rows. K = ``options.members``, d = ``options.latent``. Every
    parameter and buffer has the members as its first dimension.
    """

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType({})
    """The values that ``options.settings`` may change, with their defaults."""
    PHASES: ClassVar[Phases] = ((0.0, 1.0), (0.75, 0.2))
    SCALING: ClassVar[str | None] = None
    """What ``features.scaling`` has to be, where it is not free."""
    FEEDS: ClassVar[bool] = True
    """Whether any encoded rows will do, so that it can score a feed."""

    def __init__(self, width: int, options: DetectorOptions, generators: Sequence[torch.Generator]) -> None:
        """`width` is D, the encoded columns; each member's weights come from its own one of K `generators`.

        Raises `UserError` where `checked` does.
        """
        super().__init__()
        self.width, self.members, self.latent = width, len(generators), options.latent
        self.settings = self.checked(options.settings)

    @classmethod
    def checked(cls, settings: Mapping[str, float]) -> dict[str, float]:
        """The given settings and the defaults of the others.

        Raises `UserError` for a setting that there is none of, or whose value makes no sense.
        """
        for setting in settings:
            if setting not in cls.SETTINGS:
                name, known = cls.__module__.rpartition(".")[2], ", ".join(sorted(cls.SETTINGS)) or "none"
                raise UserError(f"detector.settings: {name} has no setting {setting!r} (it has: {known})")
        return {**cls.SETTINGS, **settings}

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """What training minimises, one value a member [K].

        x [K, B, D] are the members' own rows, y [K, B] their labels: 1 anomaly, 0 normal, -1 unlabeled.
        A batch may hold none of any kind. `progress` runs from 0 to 1 over the training.
        """

    @abstractmethod
    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [K, n] and latents [K, n, d] of rows [n, D] that all members share, or of their own [K, n, D].

        Deterministic, and differentiable outside of inference mode.
        """

    def stages(self) -> tuple[Stage, ...]:
        """What a training consists of, in order."""
        return (Stage(self.loss, self.PHASES),)

    def finish(self, rows: Chunks) -> None:
        """Called after the last step, outside of training mode, with the rows that were trained on."""

    def prepare(self) -> None:
        """Get ready for scoring: the weights will change no more."""
        self.eval().requires_grad_(requires_grad=False)
        for module in self.modules():
            if isinstance(module, EnsembleLinear):
                module.prepare()


def make_detector(name: str, width: int, options: DetectorOptions, seeds: Sequence[int]) -> Detector:
    """A detector with fresh weights on the CPU, a member for each of the seeds.

    Raises `UserError` where there is none of that name, or its settings are no good.
    """
    return find_detector(name)(width, options, generators(seeds))


def find_detector(name: str) -> type[Detector]:
    """The detector of the file ``streamad/models/NAME.py``. Raises `UserError` where no such file holds one."""
    found = f"streamad.models.{name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or importlib.util.find_spec(found) is None:
        raise UserError(f"detector.name: there is no detector called {name!r}")
    kind = getattr(importlib.import_module(found), "DETECTOR", None)
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise UserError(f"detector.name: {name!r} is not a detector")
    return kind
