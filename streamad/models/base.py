"""What every detector is, and how one is made from its name.

To add a detector, add one file here that defines a `Detector` and names it: ``DETECTOR = MyDetector``.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from streamad.errors import UserError
from streamad.models.layers import EnsembleLinear
from streamad.models.options import DetectorOptions


class Detector(nn.Module, ABC):
    """An ensemble of K networks that gives rows a score. Higher score = more anomalous, always.

    Scores are finite and at least 0 for finite rows. K = ``options.members``, d = ``options.latent``.
    """

    def __init__(self, width: int, options: DetectorOptions, generator: torch.Generator) -> None:
        """`width` is D, the encoded columns; every random choice comes from `generator`."""
        del generator  # for the subclasses' layers; named here because all of them are made alike
        super().__init__()
        self.width, self.members, self.latent = width, options.members, options.latent

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """What training minimises, one value a member [K].

        x [K, B, D] are the members' own rows, y [K, B] their labels: 1 anomaly, 0 normal, -1 unlabeled.
        A batch may hold none of any kind. `progress` runs from 0 to 1 over the training; noise is drawn
        from `generator`, which lives on the device of `x`.
        """

    @abstractmethod
    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [K, n] and latents [K, n, d] of rows [n, D] that all members share, or of their own [K, n, D].

        Deterministic, and differentiable outside of inference mode.
        """

    @abstractmethod
    def contributions(self, x: Tensor) -> Tensor:
        """How much each encoded column adds to the members' mean score of rows [n, D]: [n, D], none negative."""

    def prepare(self) -> None:
        """Get ready for scoring: the weights will change no more."""
        self.eval().requires_grad_(requires_grad=False)
        for module in self.modules():
            if isinstance(module, EnsembleLinear):
                module.prepare()


def make_detector(name: str, width: int, options: DetectorOptions, seed: int) -> Detector:
    """A detector with fresh weights on the CPU. Raises `UserError` where there is none of that name."""
    return find_detector(name)(width, options, torch.Generator().manual_seed(seed))


def find_detector(name: str) -> type[Detector]:
    """The detector of the file ``streamad/models/NAME.py``. Raises `UserError` where no such file holds one."""
    found = f"streamad.models.{name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or importlib.util.find_spec(found) is None:
        raise UserError(f"detector.name: there is no detector called {name!r}")
    kind = getattr(importlib.import_module(found), "DETECTOR", None)
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise UserError(f"detector.name: {name!r} is not a detector")
    return kind
