"""Supervised: a binary classifier of labeled anomalies against all other rows.

Deep Semi-Supervised Anomaly Detection, appendix E, the paper's own baseline: unlabeled rows count as normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from streamad.models.base import Detector, Phases
from streamad.models.layers import EnsembleLinear, EnsembleMLP
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom


class Supervised(Detector):
    """The network of Deep SAD with one output more."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType({"norm": 1.0})
    """``norm``: 1 with batch normalisation of the hidden layers."""
    PHASES: ClassVar[Phases] = ((0.0, 1.0), (1 / 3, 0.1))

    def __init__(self, width: int, options: DetectorOptions, generators: Sequence[torch.Generator]) -> None:
        super().__init__(width, options, generators)
        sizes = (width, *options.hidden, options.latent)
        self.network = EnsembleMLP(generators, sizes, norm=bool(self.settings["norm"]))
        self.output = EnsembleLinear(generators, options.latent, 1)

    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """Binary cross-entropy, unlabeled rows being normal, [K]."""
        del progress, random
        logits, _ = self._logits(x)
        return nn.functional.softplus(torch.where(y == 1, -logits, logits)).mean(1)

    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``log(1 + odds)`` of an anomaly [K, n], and the last hidden layer [K, n, d]."""
        logits, hidden = self._logits(x)
        return nn.functional.softplus(logits), hidden

    def _logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = nn.functional.leaky_relu(self.network(x), EnsembleMLP.SLOPE)
        return self.output(hidden).squeeze(-1), hidden


DETECTOR = Supervised
