"""Deep SAD: rows are mapped near a centre, labeled anomalies away from it.

Deep Semi-Supervised Anomaly Detection, section 3.3, equation 8, and appendices C and E.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from streamad.models.base import Chunks, Detector, Phases, Stage
from streamad.models.layers import EnsembleMLP, masked_mean, mean_square
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom


class DeepSAD(Detector):
    """A network without biases, pre-trained as an autoencoder; the score is the distance from the centre.

    With no labels it is one-class Deep SVDD.
    """

    SETTINGS: ClassVar[Mapping[str, float]] = MappingProxyType({"norm": 1.0, "eta": 1.0, "pretraining": 1.0})
    """``norm``: 1 with batch normalisation (appendix E). ``eta``: weight of the labeled rows. ``pretraining``:
    its length, in times of the training's epochs."""
    PHASES: ClassVar[Phases] = ((0.0, 1.0), (1 / 3, 0.1))
    """50 epochs of searching, 100 of fine-tuning (appendix E)."""
    OFF_ZERO = 0.1
    """No coordinate of the centre is nearer to 0: a network without biases reaches 0 with all weights 0."""
    EPSILON = 1e-6
    """Keeps the inverse distance of a labeled anomaly finite."""

    def __init__(self, width: int, options: DetectorOptions, generators: Sequence[torch.Generator]) -> None:
        super().__init__(width, options, generators)
        sizes, norm = (width, *options.hidden, options.latent), bool(self.settings["norm"])
        self.network = EnsembleMLP(generators, sizes, bias=False, norm=norm)
        self.decoder = EnsembleMLP(generators, sizes[::-1], bias=False, norm=norm)
        self.centre: Tensor
        self.level: Tensor
        self.register_buffer("centre", torch.zeros(self.members, 1, self.latent))
        self.register_buffer("level", torch.ones(self.members, 1))

    def stages(self) -> tuple[Stage, ...]:
        """Autoencoder pre-training, then Deep SAD itself around the centre that it leads to."""
        length = self.settings["pretraining"]
        pretraining = Stage(self.reconstruction_loss, self.PHASES, epochs=length)
        training = Stage(self.loss, self.PHASES, modules=(self.network,), begin=self._place)
        return (pretraining, training) if length else (training,)

    def reconstruction_loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """The mean squared error of pre-training, labeled anomalies left out, [K]."""
        del progress, random
        return masked_mean(mean_square(self.decoder.error(self.network(x), x)), y != 1)

    def loss(self, x: Tensor, y: Tensor, progress: float, random: MemberRandom) -> Tensor:
        """Equation 8 without its weight decay, which is the optimiser's, [K]."""
        del progress, random
        distance = self.squared_distance(self.network(x))  # [K, B]
        labeled = torch.where(y == 1, 1 / (distance + self.EPSILON), distance)
        return torch.where(y == -1, distance, self.settings["eta"] * labeled).mean(1)

    def squared_distance(self, code: Tensor) -> Tensor:
        """From the centre, [K, n], of codes [K, n, d]."""
        return (code - self.centre).square().sum(-1)

    def score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distance from the centre over its mean in training [K, n], and the codes [K, n, d]."""
        code = self.network(x)
        return self.distance(code) / self.level, code

    def distance(self, code: Tensor) -> Tensor:
        """From the centre, [K, n], of codes [K, n, d]."""
        # unlike a square root, a norm has a gradient of 0 at 0
        distance: Tensor = torch.linalg.vector_norm(code - self.centre, dim=-1)
        return distance

    @torch.no_grad()
    def finish(self, rows: Chunks) -> None:
        """Note the mean distance of the rows trained on, so that all members score on one scale."""
        self.level.copy_(_mean(rows, lambda x: self.distance(self.network(x)).unsqueeze(-1))[..., 0])
        self.level.clamp_(min=self.EPSILON)

    @torch.no_grad()
    def _place(self, rows: Chunks) -> None:
        """The centre is the mean code of all rows but the labeled anomalies."""
        centre = _mean(rows, self.network)
        away = torch.where(centre < 0, -self.OFF_ZERO, self.OFF_ZERO)
        self.centre.copy_(torch.where(centre.abs() < self.OFF_ZERO, away, centre))


def _mean(rows: Chunks, of: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean of ``of(x)`` [K, B, d] over the rows that are not labeled anomalies, [K, 1, d]."""
    total, count = torch.zeros(1), torch.zeros(1)
    for x, y in rows:
        mask = (y != 1).unsqueeze(-1)
        total = total.to(x.device) + (of(x) * mask).sum(1, keepdim=True)
        count = count.to(x.device) + mask.sum(1, keepdim=True)
    return total / count.clamp(min=1)


DETECTOR = DeepSAD
