"""Random numbers of an ensemble: every member draws from a generator of its own.

So K members trained together are the same networks as K trained alone with the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from streamad.models.options import MOST_MEMBERS

_BLOCK = 1 << 15
"""Normal numbers drawn ahead for each member: one call to its generator serves many steps."""


def member_seeds(seed: int, members: int) -> list[int]:
    """A seed for each member; different `seed` share none."""
    return [seed * MOST_MEMBERS + member for member in range(members)]


def generators(seeds: Sequence[int], device: torch.device | str = "cpu") -> list[torch.Generator]:
    """A generator for each seed."""
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


class MemberRandom:
    """What the members of an ensemble draw while they are trained; everything lies on one device."""

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._generators, self._device = generators(seeds, device), device
        self._normal, self._used = torch.empty((len(seeds), 0), device=device), 0

    def normal(self, rows: int, width: int) -> Tensor:
        """Standard normal numbers [K, rows, width]."""
        count = rows * width
        if self._used + count > self._normal.shape[1]:
            size = max(count, _BLOCK)
            self._normal = self._each(lambda g: torch.randn(size, generator=g, device=self._device))
            self._used = 0
        drawn = self._normal[:, self._used : self._used + count]
        self._used += count
        return drawn.reshape(-1, rows, width)

    def orders(self, count: int) -> Tensor:
        """The numbers below `count` in an order of each member's own, [K, count]."""
        return self._each(lambda g: torch.randperm(count, generator=g, device=self._device))

    def choices(self, weights: Tensor, count: int) -> Tensor:
        """Indices [K, count] drawn with replacement by each member's weights [K, n]."""
        drawn = [
            torch.multinomial(own, count, replacement=True, generator=g)
            for own, g in zip(weights, self._generators, strict=True)
        ]
        return torch.stack(drawn)

    def _each(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self._generators])
