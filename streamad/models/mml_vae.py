"""MML-VAE: a variational autoencoder that also lowers the likelihood of labeled outliers.

Deep Variational Semi-Supervised Novelty Detection, section 4.1 and appendix A.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from streamad.errors import UserError
from streamad.models.vae import VAE, Outliers


class MMLVAE(VAE):
    """Maximises the ELBO of normal rows, and minimises the CUBO of outliers through the encoder alone."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType(
        {**VAE.SETTINGS, "gamma": 1.0, "beta_cubo": 0.05, "warm_up": 0.3}
    )
    """``gamma``: weight of the outliers. ``beta_cubo``: between 0 and 0.5 (table 9). ``warm_up``: the share
    of the training that sees no outliers (about the 50 of 150 epochs of appendix A.3.2)."""

    @classmethod
    def checked(cls, settings: Mapping[str, float]) -> dict[str, float]:
        """As for every detector; also refuses a ``beta_cubo`` that `cubo` has no use for."""
        return check_beta(super().checked(settings))

    def outlier_loss(self, outliers: Outliers, progress: float, beta: float) -> Tensor | None:
        """``gamma exp(2 beta_cubo CUBO)`` of each outlier after the warm-up, [K, m], without L_R."""
        del beta
        if progress < self.settings["warm_up"]:
            return None
        return cubo(outliers.mean, outliers.log_variance, self.settings["beta_cubo"]) * self.settings["gamma"]


def check_beta(settings: dict[str, float]) -> dict[str, float]:
    """The settings. Raises `UserError` where ``beta_cubo`` is not between 0 and 0.5."""
    beta = settings["beta_cubo"]
    if not 0 < beta < 0.5:
        raise UserError(
            f"detector.settings: beta_cubo is {beta:g}, but outliers are pushed away only between 0 and 0.5"
        )
    return settings


def cubo(mean: Tensor, log_variance: Tensor, beta: float) -> Tensor:
    """``E_q[(p / q)^(2 beta)]`` of q = N(mean, exp(log_variance)) and p = N(0, I), over the last dimension.

    Equation 4 without L_R, beta kept inside of the exponent. For 2 beta < 1 it is the Chernoff coefficient
    of the two Gaussians, which has this closed form: 1 where q = p, towards 0 the further they are apart. At
    beta = 0.5 it is 1 whatever q is, above it draws q towards p.
    """
    a = 2 * beta
    mixed = a * log_variance.exp() + (1 - a)
    logs = a * log_variance - mixed.log() - a * (1 - a) * mean.square() / mixed
    return (logs.sum(-1) / 2).exp()


DETECTOR = MMLVAE
