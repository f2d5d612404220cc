"""The UAI layer: joint training of any detector's latents with the analysts' labels (UaiNets, equation 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streamad.models.base import Detector
from streamad.models.layers import EnsembleLinear, masked_mean

SCORE_FLOOR = 1e-6
"""Scores are read on a logarithmic scale; this keeps a perfect reconstruction finite."""


class UAILayer(nn.Module):
    """``sigmoid(W [latent; log score] + b)`` for each member."""

    def __init__(self, detector: Detector, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.linear = EnsembleLinear(generators, detector.latent + 1, 1)

    def loss(self, scores: Tensor, latents: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy over the labeled rows, both classes weighing the same, [K].

        scores [K, B], latents [K, B, d], y [K, B]. Gradients reach the latents but not through the
        scores. A member without labels of a class gets nothing from that class.
        """
        logits = self.logits(scores, latents)
        anomalies = masked_mean(nn.functional.softplus(-logits), y == 1)
        normals = masked_mean(nn.functional.softplus(logits), y == 0)
        return (anomalies + normals) / 2

    def logits(self, scores: Tensor, latents: Tensor) -> Tensor:
        """Log odds of an anomaly [K, B]."""
        level = (scores.detach() + SCORE_FLOOR).log().unsqueeze(-1)
        out: Tensor = self.linear(torch.cat((latents, level), dim=-1))
        return out.squeeze(-1)
