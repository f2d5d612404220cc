"""DAE: a denoising autoencoder, the base detector of UaiNets (section 3; appendix A.1, equations 4 and 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from streamad.models.base import Detector
from streamad.models.layers import EnsembleMLP, masked_mean, mean_square
from streamad.models.options import DetectorOptions


class DAE(Detector):
    """Learns to undo noise; the score is how badly a clean row is reconstructed."""

    NOISE = 0.1
    """Standard deviation of the Gaussian noise added to the inputs (epsilon in equation 4)."""

    def __init__(self, width: int, options: DetectorOptions, generator: torch.Generator) -> None:
        super().__init__(width, options, generator)
        sizes = (width, *options.hidden, options.latent)
        self.encoder = EnsembleMLP(options.members, sizes, generator)
        self.decoder = EnsembleMLP(options.members, sizes[::-1], generator)

    def loss(self, x: Tensor, y: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Squared error averaged over features and over the rows that are not labeled anomalies, [K]."""
        del progress
        # members draw different rows, so one draw of noise serves them all
        noise = torch.randn(x.shape[1:], generator=generator, device=x.device) * self.NOISE  # [B, D]
        error = self.decoder.error(self.encoder(x + noise), x)  # [K, B, D]
        return masked_mean(mean_square(error), y != 1)

    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error averaged over features [K, n] (equation 5), and the latents [K, n, d]."""
        latent = self.encoder(x)
        return mean_square(self.decoder.error(latent, x)), latent

    def contributions(self, x: Tensor) -> Tensor:
        """The squared error of each column over D, averaged over the members, [n, D]."""
        return self.decoder.error(self.encoder(x), x).square_().mean(0) / self.width


DETECTOR = DAE
