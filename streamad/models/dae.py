"""DAE: a denoising autoencoder, the base detector of UaiNets (section 3; appendix A.1, equations 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from streamad.models.ae import AE
from streamad.models.layers import masked_mean, mean_square
from streamad.models.randomness import MemberRandom


class DAE(AE):
    """Learns to undo noise; the score is how badly a clean row is reconstructed."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType({**AE.SETTINGS, "noise": 0.1})
    """``noise``: standard deviation of the Gaussian noise added to the inputs (epsilon in equation 4)."""

    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """Squared error averaged over features and over the rows that are not labeled anomalies, [K]."""
        del progress
        noise = random.normal(*x.shape[1:]) * self.settings["noise"]  # [K, B, D]
        return masked_mean(mean_square(self.error(self.encoder(x + noise), x)), y != 1)


DETECTOR = DAE
