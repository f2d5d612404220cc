"""VAE: a variational autoencoder, the base of DP-VAE and MML-VAE.

Deep Variational Semi-Supervised Novelty Detection, section 3.1; the error is averaged over the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from streamad.models.base import Detector
from streamad.models.layers import EnsembleMLP, masked_mean, mean_square
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom


class Outliers(NamedTuple):
    """The columns of a batch that hold a labeled outlier of one member or more."""

    x: Tensor
    """[K, m, D] the rows."""
    mean: Tensor
    """[K, m, d] of their posteriors."""
    log_variance: Tensor
    """[K, m, d] of their posteriors."""
    z: Tensor
    """[K, m, d] drawn from their posteriors."""
    error: Tensor
    """[K, m] of their reconstruction out of z, decoded in one batch with all other rows."""


class VAE(Detector):
    """The score is the negative ELBO at the posterior's mean; labeled anomalies are left out of the training."""

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType(
        {"norm": 0.0, "beta": 0.05, "score_beta": 0.05, "annealed": 0.15}
    )
    """``norm``: 1 with batch normalisation of the hidden layers. ``beta``: weight of the KL term in training
    (beta_KL of table 8), ``score_beta`` in the score. ``annealed``: the share of the training over which
    the weight grows from 0 (about the 20 of 150 epochs of appendix A.3.2)."""
    LOG_VARIANCE = 8.0
    """Log variances are held within plus or minus this, so that no exponential overflows."""

    def __init__(self, width: int, options: DetectorOptions, generators: Sequence[torch.Generator]) -> None:
        super().__init__(width, options, generators)
        hidden, norm = options.hidden, bool(self.settings["norm"])
        self.encoder = EnsembleMLP(generators, (width, *hidden, 2 * options.latent), norm=norm)
        self.decoder = EnsembleMLP(generators, (options.latent, *hidden[::-1], width), norm=norm)

    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """``-ELBO`` averaged over the rows that are not labeled anomalies, plus what outliers add, [K]."""
        mean, log_variance = self.posterior(x)  # [K, B, d]
        z = mean + (log_variance / 2).exp() * random.normal(x.shape[1], self.latent)  # [K, B, d]
        error = mean_square(self.decoder.error(z, x))  # [K, B]
        beta = self.settings["beta"] * min(1.0, progress / max(self.settings["annealed"], 1e-9))
        loss = masked_mean(error + beta * divergence(mean, log_variance), y != 1)
        at = (y == 1).any(0).nonzero().squeeze(-1)  # the columns of the batch that hold an outlier
        if not len(at):
            return loss
        outliers = Outliers(*(part[:, at] for part in (x, mean, log_variance, z, error)))
        added = self.outlier_loss(outliers, progress, beta)
        return loss if added is None else loss + masked_mean(added, y[:, at] == 1)

    def outlier_loss(self, outliers: Outliers, progress: float, beta: float) -> Tensor | None:
        """What each labeled outlier adds to the loss, [K, m]; nothing in a plain VAE."""
        del outliers, progress, beta
        return None

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), [K, n, d] each."""
        return self._halves(self.encoder(x))

    def _halves(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, out of what the encoder says [K, n, 2d]."""
        mean, log_variance = out.chunk(2, dim=-1)
        return mean, log_variance.clamp(-self.LOG_VARIANCE, self.LOG_VARIANCE)

    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``-ELBO`` at z = mean (section 4.3), [K, n], and the means [K, n, d]."""
        mean, log_variance = self.posterior(x)
        error = mean_square(self.decoder.error(mean, x))
        return error.add(divergence(mean, log_variance), alpha=self.settings["score_beta"]), mean


def divergence(mean: Tensor, log_variance: Tensor, prior: float = 0.0) -> Tensor:
    """KL of N(mean, exp(log_variance)) from N(prior * 1, I), summed over the latent dimensions."""
    apart = mean - prior if prior else mean
    parts = torch.addcmul(log_variance.exp(), apart, apart) - log_variance
    return (parts.sum(-1) - mean.shape[-1]) / 2


DETECTOR = VAE
