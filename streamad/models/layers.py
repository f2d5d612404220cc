"""Layers of K networks at once: one batched product does the work of K, never a loop over members."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class EnsembleLinear(nn.Module):
    """K affine maps side by side, initialised like torch's own linear layer, from an explicit generator."""

    def __init__(
        self, members: int, inputs: int, outputs: int, generator: torch.Generator, *, bias: bool = True
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(_uniform((members, inputs, outputs), bound, generator))
        self.bias = nn.Parameter(_uniform((members, 1, outputs), bound, generator)) if bias else None
        self._joint: tuple[Tensor, Tensor | None] | None = None

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Map x [K, B, inputs], or rows [n, inputs] that all members share, to [K, B or n, outputs].

        With `frozen` no gradient reaches the layer's own parameters, only what lies before it.
        """
        if x.dim() == 2:
            return self._shared(x)
        weight = self.weight.detach() if frozen else self.weight
        if self.bias is None:
            return torch.bmm(x, weight)
        return torch.baddbmm(self.bias.detach() if frozen else self.bias, x, weight)

    def error(self, x: Tensor, target: Tensor) -> Tensor:
        """``self(x) - target`` [K, B, outputs], added up inside the product; target [K or none, B, outputs]."""
        start = -target.expand(len(self.weight), -1, -1) if self.bias is None else self.bias - target
        return start.baddbmm_(x, self.weight)

    def _shared(self, x: Tensor) -> Tensor:
        """One product for all members: x [n, inputs] times the weights side by side [inputs, K * outputs]."""
        members, _, outputs = self.weight.shape
        weight, bias = self._joint or self._side_by_side()
        flat = x @ weight if bias is None else torch.addmm(bias, x, weight)  # [n, K * outputs]
        return flat.view(len(x), members, outputs).transpose(0, 1)

    def _side_by_side(self) -> tuple[Tensor, Tensor | None]:
        weight = self.weight.transpose(0, 1).reshape(self.weight.shape[1], -1).contiguous()
        return weight, None if self.bias is None else self.bias.reshape(-1)

    def prepare(self) -> None:
        """Lay the weights out for shared rows once; call it when they will change no more."""
        self._joint = self._side_by_side()


class EnsembleMLP(nn.Module):
    """Affine maps with leaky ReLUs between them, none after the last."""

    SLOPE = 0.01

    def __init__(
        self, members: int, sizes: Sequence[int], generator: torch.Generator, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EnsembleLinear(members, inputs, outputs, generator, bias=bias)
            for inputs, outputs in pairwise(sizes)
        )

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """[K, B, sizes[0]] or [n, sizes[0]] to [K, B or n, sizes[-1]]."""
        out: Tensor = self.layers[-1](self._hidden(x, frozen=frozen), frozen=frozen)
        return out

    def error(self, x: Tensor, target: Tensor) -> Tensor:
        """``self(x) - target`` [K, B, sizes[-1]] of x [K, B, sizes[0]]; the target may be shared [B, sizes[-1]]."""
        out: Tensor = self.layers[-1].error(self._hidden(x), target)  # type: ignore[operator]  # an EnsembleLinear
        return out

    def _hidden(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """The last hidden layer [K, B, sizes[-2]]."""
        for layer in self.layers[:-1]:
            x = nn.functional.leaky_relu_(layer(x, frozen=frozen), self.SLOPE)
        return x


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound


def mean_square(error: Tensor) -> Tensor:
    """The square averaged over the last dimension."""
    # the norm reads the error once and keeps no copy of it for the gradient
    norm: Tensor = torch.linalg.vector_norm(error, dim=-1)
    return norm.square() / error.shape[-1]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the rows where the mask is set, [K, B] -> [K]; 0 for a member that has none."""
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)
