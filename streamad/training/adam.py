"""Adam over an ensemble's parameters as one matrix, one row a member."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class EnsembleAdam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay, gradients clipped for each member by itself.

    Every parameter must have the members as its first dimension. Parameters become views into one matrix
    [K, P], so that a step is a handful of operations whatever the number of layers.
    """

    BETAS = (0.9, 0.999)
    EPSILON = 1e-8

    def __init__(self, modules: Sequence[nn.Module], weight_decay: float, clip: float) -> None:
        """`clip` is the largest norm of one member's gradient."""
        self._parameters = [p for module in modules for p in module.parameters()]
        self._values = torch.cat([p.detach().flatten(1) for p in self._parameters], dim=1)  # [K, P]
        self._first, self._second = torch.zeros_like(self._values), torch.zeros_like(self._values)
        self._weight_decay, self._clip, self._steps = weight_decay, clip, 0
        sizes = [p[0].numel() for p in self._parameters]
        for parameter, view in zip(self._parameters, torch.split(self._values, sizes, dim=1), strict=True):
            parameter.data = view.view(parameter.shape)

    def step(self, losses: Tensor, learning_rate: float) -> None:
        """Move the parameters against the gradients of the members' losses [K]."""
        gradients = torch.autograd.grad(losses.sum(), self._parameters, materialize_grads=True)
        with torch.no_grad():
            self._move(torch.cat([g.flatten(1) for g in gradients], dim=1), learning_rate)

    def _move(self, gradients: Tensor, learning_rate: float) -> None:
        """One step of Adam along gradients [K, P]."""
        self._steps += 1
        one, two = self.BETAS
        norms = gradients.norm(dim=1, keepdim=True)  # [K, 1]
        gradients.mul_((self._clip / (norms + self.EPSILON)).clamp_(max=1.0))
        self._first.lerp_(gradients, 1 - one)
        self._second.mul_(two).addcmul_(gradients, gradients, value=1 - two)
        spread = (self._second / (1 - two**self._steps)).sqrt_().add_(self.EPSILON)
        self._values.mul_(1 - learning_rate * self._weight_decay)
        self._values.addcdiv_(self._first, spread, value=-learning_rate / (1 - one**self._steps))
