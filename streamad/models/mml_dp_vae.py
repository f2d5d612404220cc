"""MML-DP-VAE: both ways at once, the outliers' prior of DP-VAE and the CUBO of MML-VAE.

Deep Variational Semi-Supervised Novelty Detection, section 5 and table 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from streamad.models.dp_vae import DPVAE
from streamad.models.mml_vae import MMLVAE, check_beta, cubo
from streamad.models.vae import Outliers


class MMLDPVAE(DPVAE):
    """Labeled outliers have a prior of their own and are pushed away from the normal one."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType({**MMLVAE.SETTINGS, **DPVAE.SETTINGS})

    @classmethod
    def checked(cls, settings: Mapping[str, float]) -> dict[str, float]:
        """As for MML-VAE."""
        return check_beta(super().checked(settings))

    def outlier_loss(self, outliers: Outliers, progress: float, beta: float) -> Tensor | None:
        """``-ELBO_outlier`` plus ``gamma exp(2 beta_cubo CUBO)`` of each outlier after the warm-up, [K, m]."""
        own = super().outlier_loss(outliers, progress, beta)
        if own is None:
            return None
        pushed = cubo(outliers.mean, outliers.log_variance, self.settings["beta_cubo"])
        return own + self.settings["gamma"] * pushed


DETECTOR = MMLDPVAE
