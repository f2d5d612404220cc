"""The one training loop: every detector, with or without labels, on a CPU or a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from streamad.errors import TrainingError
from streamad.models.base import Detector, Phases, Stage
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom, generators
from streamad.models.uai import UAILayer
from streamad.training.adam import EnsembleAdam

CLIP = 5.0
"""The largest norm of one member's gradient."""
_OTHER_SEED = 1 << 40
"""Keeps what is drawn in training apart from the first weights."""
_CHUNK = 4096
"""Rows that a detector is shown at a time outside of training mode."""

Progress = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """What is trained on: G sets of equally many rows, on the device. Member m learns set ``m // (K / G)``."""

    rows: Tensor
    """[G, n, D]."""
    labels: Tensor
    """[G, n] int8: 1 anomaly, 0 normal, -1 unlabeled."""

    def pick(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The rows [K, B, D] of each member's numbers [K, B], and their labels [K, B]."""
        sets, count, width = self.rows.shape
        group = torch.arange(len(index), device=index.device) // (len(index) // sets)
        flat = (index + group.unsqueeze(1) * count).flatten()
        # whole rows are copied at once; indexing with a matrix would copy value by value
        rows = self.rows.view(-1, width).index_select(0, flat).view(*index.shape, width)
        return rows, self.labels.view(-1).index_select(0, flat).view(index.shape)

    def parts(self, members: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All rows in order, part by part: x [K, B, D], y [K, B]."""
        for start in range(0, self.rows.shape[1], _CHUNK):
            part = slice(start, start + _CHUNK)
            times = members // len(self.rows)
            yield (
                self.rows[:, part].repeat_interleave(times, 0),
                self.labels[:, part].repeat_interleave(times, 0),
            )


def train(
    detector: Detector,
    data: TrainingRows,
    options: DetectorOptions,
    seeds: Sequence[int],
    *,
    progress: Progress | None = None,
    patience: int | None = None,
) -> list[float]:
    """Train the detector in place; returns the mean loss of each epoch.

    Each member sees the rows in an order of its own, drawn from its own seed; the last batch of an epoch may
    be smaller. The same data, seeds, device and thread count give the same weights. Labels, where there are
    any, also shape the latents through a UAI layer, unless ``options.head`` is off. With `patience` the last
    stage ends after so many epochs in which the members' mean loss was never below all before; epochs of
    warm-up and annealing do not count, since what the loss consists of still changes.

    Raises `TrainingError` where there is nothing to train on, or a loss or a weight is not finite.
    """
    return Training(detector, data, options, seeds).run(progress, patience)


class Training:
    """A detector in training on some rows, with a UAI layer where ``options.head`` asks for one."""

    def __init__(
        self, detector: Detector, data: TrainingRows, options: DetectorOptions, seeds: Sequence[int]
    ) -> None:
        if not data.rows.shape[1]:
            raise TrainingError("there are no records to train on")
        device = data.rows.device
        self.stages = detector.stages()
        self.data = data
        self.uai = UAILayer(detector, generators(seeds)).to(device) if options.head else None
        self.detector, self.learning_rate = detector, options.learning_rate
        self._options = options
        self._random = MemberRandom([seed + _OTHER_SEED for seed in seeds], device)
        self._adam: EnsembleAdam | None = None
        self._steps = math.ceil(data.rows.shape[1] / options.batch)
        whole = max(options.epochs, math.ceil(options.min_steps / self._steps))
        self._epochs = [max(1, round(whole * stage.epochs)) for stage in self.stages]
        self._done = 0

    def run(self, progress: Progress | None = None, patience: int | None = None) -> list[float]:
        """All stages, as `train` says; returns the mean loss of each epoch."""
        losses = [loss for stage in self.stages[:-1] for loss in self.stage(stage, progress)]
        last = self.stage(self.stages[-1], progress)
        losses += last if patience is None else _until_flat(last, patience, self.settling)
        self._finish()
        return losses

    def _finish(self) -> None:
        """Leave training mode. Raises `TrainingError` where the last steps led nowhere."""
        self.detector.eval()
        if not all(bool(weight.isfinite().all()) for weight in self.detector.parameters()):
            raise TrainingError("the training diverged: not all weights are finite")
        with torch.no_grad():
            self.detector.finish(self.data.parts(self.detector.members))

    def stage(self, stage: Stage, progress: Progress | None) -> Iterator[float]:
        """One stage, from its beginning to its end: the mean loss of each epoch."""
        self.detector.eval()
        if stage.begin is not None:
            with torch.no_grad():
                stage.begin(self.data.parts(self.detector.members))
        adam = self.optimiser(stage)
        epochs = self._epochs[self.stages.index(stage)]
        for epoch in range(epochs):
            total = torch.zeros(self.detector.members, device=self.data.rows.device)
            for step, (x, y) in enumerate(self.batches()):
                share = (epoch * self._steps + step) / (epochs * self._steps)
                rate = self.learning_rate * _factor(stage.phases, share)
                total += self.step(adam, stage, x, y, share, rate)
            self._done += 1
            loss = _finite(total / self._steps, self._done)
            if progress is not None:
                progress({"epoch": self._done, "epochs": sum(self._epochs), "loss": loss})
            yield loss

    @property
    def settling(self) -> int:
        """The epochs at the beginning of the last stage in which its loss still changes its meaning."""
        settings = self.detector.settings
        return math.ceil(self._epochs[-1] * max(settings.get("warm_up", 0), settings.get("annealed", 0)))

    def go_on(self, steps: int) -> None:
        """So many more steps of the last stage, on what `data` holds by now."""
        stage = self.stages[-1]
        self._adam = self._adam or self.optimiser(stage)
        while steps:
            for x, y in islice(self.batches(), steps):
                self.step(self._adam, stage, x, y, 1.0, self.learning_rate)
                steps -= 1
        self._finish()

    def optimiser(self, stage: Stage) -> EnsembleAdam:
        """A fresh one for what the stage trains."""
        modules: list[nn.Module] = [*(stage.modules or (self.detector,))]
        if self.uai is not None:
            modules.append(self.uai)
        return EnsembleAdam(modules, self._options.weight_decay, CLIP)

    def step(
        self, adam: EnsembleAdam, stage: Stage, x: Tensor, y: Tensor, share: float, rate: float
    ) -> Tensor:
        """One step on rows x [K, B, D] with labels y [K, B]; returns the members' losses [K]."""
        self.detector.train()
        loss = stage.loss(x, y, share, self._random)
        at = (y >= 0).any(0).nonzero().squeeze(-1)  # the columns of the batch that hold a label
        if self.uai is not None and len(at):
            self.detector.eval()  # a few labeled rows are no sample to standardise by
            scores, latents = self.detector.score(x[:, at])
            loss = loss + self.uai.loss(scores, latents, y[:, at])
        adam.step(loss, rate)
        return loss.detach()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: rows [K, B, D] and labels [K, B], each member in an order of its own."""
        order = self._spread(self._random.orders(self.data.rows.shape[1]))  # [K, n]
        size = self._options.batch
        extra = self._drawn(round(size * self._options.labeled_share))
        for step in range(self._steps):
            index = order[:, step * size : (step + 1) * size]
            if extra is not None:
                index = torch.cat((index, extra[step]), dim=1)
            yield self.data.pick(index)

    def _spread(self, order: Tensor) -> Tensor:
        """An order [K, n] in which each kind of label comes as evenly as it can, so that batches are alike."""
        if not bool((self.data.labels >= 0).any()):
            return order
        times = len(order) // len(self.data.labels)
        labels = self.data.labels.repeat_interleave(times, 0).gather(1, order)
        place = torch.empty(order.shape, device=order.device)
        for kind in (-1, 0, 1):
            found = labels == kind
            rank = found.cumsum(1) - 0.5
            place = torch.where(found, rank / found.sum(1, keepdim=True), place)
        return order.gather(1, place.argsort(dim=1, stable=True))

    def _drawn(self, count: int) -> Tensor | None:
        """Numbers of labeled rows for each step, [steps, K, count], both verdicts equally often."""
        labels = self.data.labels
        anomalies, normals = labels == 1, labels == 0
        if not count or not bool((labels >= 0).any(1).all()):
            return None
        weights = anomalies / anomalies.sum(1, keepdim=True).clamp(min=1)
        weights = weights + normals / normals.sum(1, keepdim=True).clamp(min=1)
        weights = weights.repeat_interleave(self.detector.members // len(labels), 0)
        drawn = self._random.choices(weights, self._steps * count)
        return drawn.view(len(drawn), self._steps, count).transpose(0, 1)


def _until_flat(losses: Iterator[float], patience: int, settling: int) -> Iterator[float]:
    """The losses, until none of the last `patience` was below all before; the first `settling` do not count."""
    yield from islice(losses, settling)
    best, waited = math.inf, 0
    while waited < patience and (loss := next(losses, None)) is not None:
        yield loss
        best, waited = (loss, 0) if loss < best else (best, waited + 1)


def _factor(phases: Phases, share: float) -> float:
    """The learning rate's factor of the phase that has begun last."""
    return [factor for start, factor in phases if start <= share][-1]


def _finite(losses: Tensor, epoch: int) -> float:
    """The mean over the members [K]. Raises `TrainingError` where one of them is not finite."""
    if not bool(losses.isfinite().all()):
        raise TrainingError(f"the training diverged: the loss of epoch {epoch} is not finite")
    return float(losses.mean())
