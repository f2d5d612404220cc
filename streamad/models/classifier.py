"""Class: a classifier of the rows' own classes; rows whose class surprises it are anomalous.

UaiNets, section 4.1 and appendix A.1. Its rows are features followed by their class as one-hot columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from streamad.errors import UserError
from streamad.models.base import Detector
from streamad.models.layers import EnsembleLinear, EnsembleMLP, masked_mean
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom


class Classifier(Detector):
    """Predicts the class in the last columns from the columns before them."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType({"norm": 0.0, "classes": 2.0})
    """``norm``: 1 with batch normalisation of the hidden layers. ``classes``: how many of the last columns
    are the class."""
    FEEDS: ClassVar[bool] = False

    def __init__(self, width: int, options: DetectorOptions, generators: Sequence[torch.Generator]) -> None:
        super().__init__(width, options, generators)
        self.classes = int(self.settings["classes"])
        if not 1 < self.classes < width:
            raise UserError(f"detector.settings: {self.classes} classes do not fit into {width} columns")
        sizes = (width - self.classes, *options.hidden, options.latent)
        self.network = EnsembleMLP(generators, sizes, norm=bool(self.settings["norm"]))
        self.output = EnsembleLinear(generators, options.latent, self.classes)

    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """Cross-entropy averaged over the rows that are not labeled anomalies, [K]."""
        del progress, random
        return masked_mean(self.score(x)[0], y != 1)

    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each row's class [K, n], and the last hidden layer [K, n, d]."""
        hidden = nn.functional.leaky_relu(self.network(x[..., : -self.classes]), EnsembleMLP.SLOPE)
        logits = self.output(hidden)
        return -(logits.log_softmax(-1) * x[..., -self.classes :]).sum(-1), hidden


DETECTOR = Classifier
