"""AE: an autoencoder, the base of every detector that scores rows by how badly they are reconstructed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from streamad.models.base import Detector
from streamad.models.layers import EnsembleMLP, masked_mean, mean_square
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom


class AE(Detector):
    """Learns to reproduce its rows through a narrow code."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType({"norm": 0.0})
    """``norm``: 1 with batch normalisation of the hidden layers."""

    def __init__(self, width: int, options: DetectorOptions, generators: Sequence[torch.Generator]) -> None:
        super().__init__(width, options, generators)
        sizes, norm = (width, *options.hidden, options.latent), bool(self.settings["norm"])
        self.encoder = EnsembleMLP(generators, sizes, norm=norm)
        self.decoder = EnsembleMLP(generators, sizes[::-1], norm=norm)

    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """Squared error averaged over features and over the rows that are not labeled anomalies, [K]."""
        del progress, random
        return masked_mean(mean_square(self.error(self.encoder(x), x)), y != 1)

    def error(self, latent: Tensor, target: Tensor) -> Tensor:
        """The reconstruction out of the latents [K, n, d] minus the target [K or none, n, D], [K, n, D]."""
        return self.decoder.error(latent, target)

    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error averaged over features [K, n], and the latents [K, n, d]."""
        latent = self.encoder(x)
        return mean_square(self.error(latent, x)), latent


DETECTOR = AE
