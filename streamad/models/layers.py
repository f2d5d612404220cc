"""Layers of K networks at once: one batched product does the work of K, never a loop over members."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

NARROW, STEP = 16, 8
"""Prepared for scoring, every product is at least `NARROW` columns wide: those of 5 to 7 or 9 to 11 columns
round a row by its place among the others (from 12 on none was seen to). Multiples of `STEP` are quicker."""


class EnsembleLinear(nn.Module):
    """K affine maps side by side, initialised like torch's own linear layer, each from its own generator."""

    def __init__(
        self, generators: Sequence[torch.Generator], inputs: int, outputs: int, *, bias: bool = True
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.outputs = outputs
        self.weight = nn.Parameter(_uniform((inputs, outputs), bound, generators))
        self.bias = nn.Parameter(_uniform((1, outputs), bound, generators)) if bias else None
        self._prepared: _Prepared | None = None

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Map x [K, B, inputs], or rows [n, inputs] that all members share, to [K, B or n, outputs].

        With `frozen` no gradient reaches the layer's own parameters, only what lies before it.
        """
        return _narrowed(self.wide(x, frozen=frozen), self.outputs)

    def wide(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Like `forward`, with columns of zeros behind the outputs once prepared; takes such x as well."""
        if x.dim() == 2:
            if self._prepared is not None:
                return self._shared(x, self._prepared)
            x = x.expand(len(self.weight), -1, -1)
        weight, bias = self._own(frozen=frozen)
        weight = _rows(weight, x.shape[-1])
        return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias, x, weight)

    def error(self, x: Tensor, target: Tensor) -> Tensor:
        """``self(x) - target`` [K, B, outputs], added up inside the product; target [K or none, B, outputs]."""
        weight, bias = self._own(frozen=False)
        target = _widened(target, weight.shape[2])
        start = -target.expand(len(weight), -1, -1) if bias is None else bias - target
        return _narrowed(start.baddbmm_(x, _rows(weight, x.shape[-1])), self.outputs)

    def _shared(self, x: Tensor, ready: _Prepared) -> Tensor:
        """One product for all members: x [n, inputs] times the weights side by side [inputs, K * outputs]."""
        x = _widened(x, len(ready.joint))
        flat = x @ ready.joint if ready.joint_bias is None else torch.addmm(ready.joint_bias, x, ready.joint)
        return flat.view(len(x), len(self.weight), -1).transpose(0, 1)

    def _own(self, *, frozen: bool) -> tuple[Tensor, Tensor | None]:
        """The weight [K, inputs, outputs] and bias [K, 1, outputs] to use, widened once prepared."""
        if self._prepared is not None:
            return self._prepared.weight, self._prepared.bias
        if frozen:
            return self.weight.detach(), None if self.bias is None else self.bias.detach()
        return self.weight, self.bias

    def prepare(self) -> None:
        """Lay the weights out for scoring once; call it when they will change no more."""
        weight, bias = self._own(frozen=True)
        self._prepared = _Prepared.of(weight, bias)


class NormedLinear(EnsembleLinear):
    """K linear maps, each output then standardised over the batch (Ioffe & Szegedy 2015), without a scale.

    Outside of training the running statistics are part of the map. A bias, if any, is added last.
    """

    MOMENTUM, EPSILON = 0.1, 1e-5

    def __init__(
        self, generators: Sequence[torch.Generator], inputs: int, outputs: int, *, bias: bool = True
    ) -> None:
        super().__init__(generators, inputs, outputs, bias=bias)
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(len(generators), 1, outputs))
        self.register_buffer("variance", torch.ones(len(generators), 1, outputs))

    def wide(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Like `EnsembleLinear.wide`; in training of x [K, B, inputs].

        Frozen, and for a batch of a single row, the running statistics serve in training too.
        """
        if frozen or not self.training or x.shape[-2] == 1:
            return super().wide(x, frozen=frozen)
        members, count = x.shape[:2]
        out = torch.bmm(x, self.weight)
        # side by side the members are so many more channels, which torch standardises in one go
        flat = nn.functional.batch_norm(
            out.transpose(0, 1).reshape(count, -1),
            self.mean.view(-1),
            self.variance.view(-1),
            training=True,
            momentum=self.MOMENTUM,
            eps=self.EPSILON,
        )
        out = flat.view(count, members, -1).transpose(0, 1)
        return out if self.bias is None else out + self.bias

    def _own(self, *, frozen: bool) -> tuple[Tensor, Tensor | None]:
        """The affine map of weights and running statistics together."""
        weight, bias = super()._own(frozen=frozen)
        if self._prepared is not None:
            return weight, bias
        factor = (self.variance + self.EPSILON).rsqrt()
        start = -self.mean * factor
        return weight * factor, start if bias is None else start + bias


class _Prepared(NamedTuple):
    """A layer's weights, filled up with zeros."""

    weight: Tensor
    """[K, inputs, outputs]"""
    bias: Tensor | None
    """[K, 1, outputs]"""
    joint: Tensor
    """[inputs, K * outputs], all members side by side."""
    joint_bias: Tensor | None
    """[K * outputs]"""

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> _Prepared:
        """Lay out a weight [K, inputs, outputs] and a bias [K, 1, outputs]."""
        rows, columns = (max(NARROW, -(-size // STEP) * STEP) - size for size in weight.shape[1:])
        weight = nn.functional.pad(weight, (0, columns, 0, rows))
        bias = None if bias is None else nn.functional.pad(bias, (0, columns))
        joint = weight.transpose(0, 1).flatten(1).contiguous()
        return cls(weight, bias, joint, None if bias is None else bias.flatten())


def _rows(weight: Tensor, count: int) -> Tensor:
    """The first `count` rows of a weight [K, inputs, outputs]: what lies behind them meets only zeros."""
    return weight if weight.shape[1] == count else weight[:, :count]


def _widened(x: Tensor, width: int) -> Tensor:
    """`x` with zeros after its last column, up to `width` of them."""
    return x if x.shape[-1] == width else nn.functional.pad(x, (0, width - x.shape[-1]))


def _narrowed(x: Tensor, width: int) -> Tensor:
    """The first `width` columns of `x`."""
    return x if x.shape[-1] == width else x[..., :width]


class EnsembleMLP(nn.Module):
    """Affine maps with leaky ReLUs between them, none after the last."""

    SLOPE = 0.01

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        sizes: Sequence[int],
        *,
        bias: bool = True,
        norm: bool = False,
    ) -> None:
        """With `norm`, the hidden layers are standardised over the batch."""
        super().__init__()
        self.inputs = sizes[0]
        kinds = [NormedLinear if norm else EnsembleLinear] * (len(sizes) - 2) + [EnsembleLinear]
        self.layers = nn.ModuleList(
            kind(generators, inputs, outputs, bias=bias)
            for kind, (inputs, outputs) in zip(kinds, pairwise(sizes), strict=True)
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
        """The last hidden layer [K, B, sizes[-2] or more]."""
        for layer in self.layers[:-1]:
            assert isinstance(layer, EnsembleLinear)
            x = nn.functional.leaky_relu_(layer.wide(x, frozen=frozen), self.SLOPE)
        return x


def _uniform(shape: tuple[int, ...], bound: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform numbers within plus or minus `bound`, [K, *shape]."""
    return torch.stack([(torch.rand(shape, generator=g) * 2 - 1) * bound for g in generators])


def mean_square(error: Tensor) -> Tensor:
    """The square averaged over the last dimension."""
    # the norm reads the error once and keeps no copy of it for the gradient
    norm: Tensor = torch.linalg.vector_norm(error, dim=-1)
    return norm.square() / error.shape[-1]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the rows where the mask is set, [K, B] -> [K]; 0 for a member that has none."""
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)
