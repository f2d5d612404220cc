"""Deep SVDD: the unsupervised case of Deep SAD, one-class or with a soft boundary.

Deep Semi-Supervised Anomaly Detection, equation 3 and appendix E; Ruff et al. 2018, equations 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from streamad.errors import UserError
from streamad.models.deep_sad import DeepSAD
from streamad.models.layers import masked_mean
from streamad.models.randomness import MemberRandom


class DeepSVDD(DeepSAD):
    """Draws all rows but labeled anomalies towards the centre, or into a sphere around it."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType(
        {"norm": 1.0, "pretraining": 1.0, "nu": 0.0, "warm_up": 0.1}
    )
    """``nu``: 0 for one-class; above 0 the share of rows that a soft boundary leaves outside. ``warm_up``:
    the share of the training that is one-class even so."""

    @classmethod
    def checked(cls, settings: Mapping[str, float]) -> dict[str, float]:
        """As for every detector; also refuses a ``nu`` that is no share."""
        found = super().checked(settings)
        if not 0 <= found["nu"] < 1:
            raise UserError(
                f"detector.settings: nu is {found['nu']:g}, but a share of rows is at least 0 and below 1"
            )
        return found

    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """Mean squared distance, or ``R^2 + mean(max(0, d^2 - R^2)) / nu`` with the best R for the batch, [K]."""
        del random
        distance, nu = self.squared_distance(self.network(x)), self.settings["nu"]  # [K, B]
        if not nu or progress < self.settings["warm_up"]:
            return masked_mean(distance, y != 1)
        known = torch.where(y != 1, distance.detach(), torch.nan)
        radius = torch.nanquantile(known, 1 - nu, dim=1, keepdim=True).nan_to_num()  # [K, 1], squared
        outside = masked_mean((distance - radius).relu(), y != 1)
        return radius.squeeze(1) + outside / nu


DETECTOR = DeepSVDD
