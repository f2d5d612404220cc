"""The one training loop: every detector, with or without labels, on a CPU or a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamad.errors import TrainingError
from streamad.models.base import Detector
from streamad.models.options import DetectorOptions
from streamad.models.uai import UAILayer
from streamad.training.adam import EnsembleAdam

CLIP = 5.0
"""The largest norm of one member's gradient."""
MIN_STEPS = 600
"""A small window is gone through more often than ``epochs`` times, until there were so many steps."""
LABELED_SHARE = 8
"""With labels, every batch carries one labeled row for so many others."""
PHASES = ((0.0, 1.0), (0.75, 0.2))
"""(from this share of the training, the learning rate is multiplied with this)."""

Progress = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """What is trained on; everything lies on the device."""

    rows: Tensor
    """[n, D] unlabeled rows."""
    labeled: Tensor
    """[m, D] labeled rows."""
    verdicts: Tensor
    """[m] int8: 1 anomaly, 0 normal."""


def train(
    detector: Detector,
    data: TrainingRows,
    options: DetectorOptions,
    seed: int,
    *,
    progress: Progress | None = None,
    phases: Sequence[tuple[float, float]] = PHASES,
) -> list[float]:
    """Train the detector in place; returns the mean loss of each epoch.

    Each member sees the rows in an order of its own; the last batch of an epoch may be smaller. The same
    data, seed, device and thread count give the same weights. Labels, where there are any, also shape the
    latents through a UAI layer, unless ``options.head`` is off.

    Raises `TrainingError` where there is nothing to train on, or a loss is not finite.
    """
    if not len(data.rows) + len(data.labeled):
        raise TrainingError("there are no records to train on")
    generator = torch.Generator(data.rows.device).manual_seed(seed)
    uai = UAILayer(detector, torch.Generator().manual_seed(seed)) if options.head else None
    run = _Run(detector, uai and uai.to(data.rows.device), options, generator)
    steps = max(1, math.ceil(len(data.rows) / options.batch))
    epochs = max(options.epochs, math.ceil(MIN_STEPS / steps))
    losses = []
    detector.train()
    for epoch in range(epochs):
        total = torch.zeros(detector.members, device=data.rows.device)
        for step, (x, y) in enumerate(_batches(data, detector.members, options.batch, generator)):
            share = (epoch * steps + step) / (epochs * steps)
            total += run.step(x, y, share, options.learning_rate * _factor(phases, share))
        losses.append(_finite(total / steps, epoch))
        if progress is not None:
            progress({"epoch": epoch + 1, "epochs": epochs, "loss": losses[-1]})
    return losses


class _Run:
    """What stays the same from step to step."""

    def __init__(
        self,
        detector: Detector,
        uai: UAILayer | None,
        options: DetectorOptions,
        generator: torch.Generator,
    ) -> None:
        self._detector, self._uai, self._generator = detector, uai, generator
        modules = [detector] if uai is None else [detector, uai]
        self._adam = EnsembleAdam(modules, options.weight_decay, CLIP)

    def step(self, x: Tensor, y: Tensor, share: float, learning_rate: float) -> Tensor:
        """One step on rows x [K, B, D] with labels y [K, B]; returns the members' losses [K]."""
        loss = self._detector.loss(x, y, share, self._generator)
        labels = int((y[0] >= 0).sum()) if self._uai else 0
        if self._uai and labels:
            # labeled rows come last in a batch, equally many for every member
            scores, latents = self._detector.score(x[:, -labels:])
            loss = loss + self._uai.loss(scores, latents, y[:, -labels:])
        self._adam.step(loss, learning_rate)
        return loss.detach()


def _batches(
    data: TrainingRows, members: int, size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: rows [K, B, D] and labels [K, B], each member in an order of its own, labeled rows last."""
    device = data.rows.device
    orders = [torch.randperm(len(data.rows), generator=generator, device=device) for _ in range(members)]
    order = torch.stack(orders)  # [K, n]
    steps = max(1, math.ceil(len(data.rows) / size))
    extra = max(1, size // LABELED_SHARE) if len(data.labeled) else 0
    drawn = _draw(data.verdicts, members, steps * extra, generator)  # [K, steps * extra]
    for step in range(steps):
        rows = _pick(data.rows, order[:, step * size : (step + 1) * size])
        y = torch.full(rows.shape[:2], -1, dtype=torch.int8, device=device)
        if extra:
            chosen = drawn[:, step * extra : (step + 1) * extra]
            rows = torch.cat((rows, _pick(data.labeled, chosen)), dim=1)
            y = torch.cat((y, data.verdicts[chosen]), dim=1)
        yield rows, y


def _pick(rows: Tensor, index: Tensor) -> Tensor:
    """Rows [n, D] by their numbers [K, B]: [K, B, D]."""
    # whole rows are copied at once; indexing with a matrix would copy value by value
    return rows.index_select(0, index.flatten()).view(*index.shape, rows.shape[1])


def _draw(verdicts: Tensor, members: int, count: int, generator: torch.Generator) -> Tensor:
    """Labeled rows [K, count], with replacement, both classes equally often where there are both."""
    if not count:
        return torch.empty((members, 0), dtype=torch.int64, device=verdicts.device)
    anomalies = (verdicts == 1).sum().clamp(min=1)
    normals = (verdicts == 0).sum().clamp(min=1)
    weights = torch.where(verdicts == 1, 1 / anomalies, 1 / normals)
    return torch.multinomial(weights.expand(members, -1), count, replacement=True, generator=generator)


def _factor(phases: Sequence[tuple[float, float]], share: float) -> float:
    """The learning rate's factor of the phase that has begun last."""
    return [factor for start, factor in phases if start <= share][-1]


def _finite(losses: Tensor, epoch: int) -> float:
    """The mean over the members [K]. Raises `TrainingError` where one of them is not finite."""
    if not bool(losses.isfinite().all()):
        raise TrainingError(f"the training diverged: the loss of epoch {epoch + 1} is not finite")
    return float(losses.mean())
