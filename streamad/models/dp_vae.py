"""DP-VAE: a variational autoencoder with one prior for normal rows and another for outliers.

Deep Variational Semi-Supervised Novelty Detection, section 4.2; the error is averaged over the features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamad.models.base import Detector
from streamad.models.layers import EnsembleMLP, masked_mean, mean_square
from streamad.models.options import DetectorOptions


class DPVAE(Detector):
    """Normal and unlabeled rows share the prior N(0, I), labeled outliers have N(alpha * 1, I)."""

    ALPHA = 5.0
    """Mean of the outliers' prior in every latent dimension (mu_o of table 8)."""
    BETA = 0.05
    """Weight of the KL term in training and in the score (beta_KL of table 8)."""
    ANNEALED = 0.15
    """The share of the training over which the KL weight grows from 0 (appendix A.3.2: 20 of 150 epochs)."""
    WARM_UP = 0.3
    """The share of the training that sees no outliers (appendix A.3.2: 50 of 150 epochs)."""
    LOG_VARIANCE = 8.0
    """Log variances are held within plus or minus this, so that no exponential overflows."""

    def __init__(self, width: int, options: DetectorOptions, generator: torch.Generator) -> None:
        super().__init__(width, options, generator)
        hidden = options.hidden
        self.encoder = EnsembleMLP(options.members, (width, *hidden, 2 * options.latent), generator)
        self.decoder = EnsembleMLP(options.members, (options.latent, *hidden[::-1], width), generator)

    def loss(self, x: Tensor, y: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """``-ELBO_normal`` of the normal and unlabeled rows plus ``-ELBO_outlier`` of the outliers, [K]."""
        beta = self.BETA * min(1.0, progress / self.ANNEALED)
        mean, log_variance = self.posterior(x)  # [K, B, d]
        noise = torch.randn(mean.shape, generator=generator, device=x.device)
        z = mean + (log_variance / 2).exp() * noise  # [K, B, d]
        error = mean_square(self.decoder.error(z, x))  # [K, B]
        loss = masked_mean(error + beta * divergence(mean, log_variance), y != 1)
        at = (y == 1).any(0).nonzero().squeeze(-1)  # the columns of the batch that hold an outlier
        if progress < self.WARM_UP or not len(at):
            return loss
        # the decoder is frozen here: a few outliers say little about how outliers look
        error = (self.decoder(z[:, at], frozen=True) - x[:, at]).square().mean(-1)
        apart = divergence(mean[:, at], log_variance[:, at], self.ALPHA)
        return loss + masked_mean(error + beta * apart, y[:, at] == 1)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), [K, n, d] each."""
        return self._halves(self.encoder(x))

    def _halves(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, out of what the encoder says [K, n, 2d]."""
        mean, log_variance = out.chunk(2, dim=-1)
        return mean, log_variance.clamp(-self.LOG_VARIANCE, self.LOG_VARIANCE)

    def _divergence_slope(self, out: Tensor) -> Tensor:
        """The gradient of `divergence` from N(0, I) at what the encoder says [K, n, 2d]."""
        mean, log_variance = out.chunk(2, dim=-1)
        within = log_variance.abs() <= self.LOG_VARIANCE
        return torch.cat((mean, torch.where(within, log_variance.exp() - 1, 0) / 2), dim=-1)

    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``-ELBO_normal`` at z = mean (section 4.3), [K, n], and the means [K, n, d]."""
        mean, log_variance = self.posterior(x)
        error = mean_square(self.decoder.error(mean, x))
        return error.add_(divergence(mean, log_variance), alpha=self.BETA), mean

    def contributions(self, x: Tensor) -> Tensor:
        """The squared error of each column over D, and its part in the divergence, members' mean, [n, D].

        The divergence belongs to no column; it is split in proportion to gradient times input, the share of
        its first-order change as the row moves to the window's centre. A row's parts add up to its score.
        """
        out, slope = self.encoder.slope(x, self._divergence_slope)
        mean, log_variance = self._halves(out)
        whole = divergence(mean, log_variance).mean(0)  # [n]
        part = (slope.mean(0) * x).abs() + torch.finfo(x.dtype).tiny
        error = self.decoder.error(mean, x).square_().mean(0) / self.width
        return error + self.BETA * part / part.sum(1, keepdim=True) * whole.unsqueeze(1)


def divergence(mean: Tensor, log_variance: Tensor, prior: float = 0.0) -> Tensor:
    """KL of N(mean, exp(log_variance)) from N(prior * 1, I), summed over the latent dimensions."""
    apart = mean - prior if prior else mean
    parts = torch.addcmul(log_variance.exp(), apart, apart) - log_variance
    return (parts.sum(-1) - mean.shape[-1]) / 2


DETECTOR = DPVAE
