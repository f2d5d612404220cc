"""DP-VAE: a variational autoencoder with one prior for normal rows and another for outliers.

Deep Variational Semi-Supervised Novelty Detection, section 4.2; the error is averaged over the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from streamad.models.layers import mean_square
from streamad.models.vae import VAE, Outliers, divergence


class DPVAE(VAE):
    """Normal and unlabeled rows share the prior N(0, I), labeled outliers have N(alpha * 1, I)."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType(
        {**VAE.SETTINGS, "alpha": 5.0, "warm_up": 0.3, "frozen": 1.0}
    )
    """``alpha``: the outliers' prior mean in every latent dimension (mu_o of table 8). ``warm_up``: the share
    of the training that sees no outliers (about the 50 of 150 epochs of appendix A.3.2). ``frozen``: 0 lets outliers
    train the decoder as well."""

    def outlier_loss(self, outliers: Outliers, progress: float, beta: float) -> Tensor | None:
        """``-ELBO_outlier`` of each outlier after the warm-up, [K, m].

        The decoder is frozen for it: a few outliers say little about how outliers look.
        """
        if progress < self.settings["warm_up"]:
            return None
        x, mean, log_variance, z, error = outliers
        if self.settings["frozen"]:
            error = mean_square(self.decoder(z, frozen=True) - x)
        return error + beta * divergence(mean, log_variance, self.settings["alpha"])


DETECTOR = DPVAE
