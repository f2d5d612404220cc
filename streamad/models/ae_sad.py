"""AE-SAD: an autoencoder that reconstructs labeled anomalies as their opposite.

Reconstruction Error-based Anomaly Detection with Few Outlying Examples, section 3, equation 2. Rows are
expected in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from streamad.models.ae import AE
from streamad.models.base import Chunks, Stage
from streamad.models.layers import masked_mean, mean_square
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom


class AESAD(AE):
    """Normal rows are to be reconstructed as themselves, labeled anomalies as ``F(x) = 1 - x``."""

    SCALING: ClassVar[str | None] = "minmax"

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType({**AE.SETTINGS, "alpha": 0.1})
    """``alpha``: labeled anomalies weigh ``1 + alpha (n / s - 1)`` times a normal row (section 4.2); fewer than batches, more in those that have one."""

    def __init__(self, width: int, options: DetectorOptions, generators: Sequence[torch.Generator]) -> None:
        super().__init__(width, options, generators)
        self._batch = options.batch
        self._drawn = options.labeled_share > 0
        self.weight: Tensor
        self.register_buffer("weight", torch.zeros(self.members))

    def stages(self) -> tuple[Stage, ...]:
        """One stage, before which the anomalies' weight is computed."""
        return (Stage(self.loss, self.PHASES, begin=self._count),)

    def _count(self, rows: Chunks) -> None:
        """Set the weight of a batch's mean error of labeled anomalies: lambda times s / n, over all batches.

        Fewer anomalies than batches weigh so much more in those that have one, unless every batch draws some.
        """
        anomalies, others = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
        for _, y in rows:
            anomalies += (y == 1).sum(1)
            others += (y != 1).sum(1)
        share = anomalies / others.clamp(min=1)
        batches = torch.ceil((anomalies + others) / self._batch)
        rare = torch.ones_like(share) if self._drawn else (batches / anomalies.clamp(min=1)).clamp(min=1)
        self.weight.copy_((share + self.settings["alpha"] * (1 - share)) * rare)

    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """Equation 2 over n, the number of rows that are not labeled anomalies, [K]."""
        del progress, random
        latent = self.encoder(x)
        loss = masked_mean(mean_square(self.error(latent, x)), y != 1)
        return loss + self.weight * masked_mean(mean_square(self.error(latent, 1 - x)), y == 1)

    def error(self, latent: Tensor, target: Tensor) -> Tensor:
        """The reconstruction, which a sigmoid keeps within (0, 1), minus the target, [K, n, D]."""
        reconstruction: Tensor = self.decoder(latent).sigmoid()
        return reconstruction - target


DETECTOR = AESAD
