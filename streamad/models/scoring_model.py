"""A fitted detector, ready to score: encoder, weights and feature statistics out of one artifact."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamad.errors import UserError
from streamad.features.encoder import Encoder
from streamad.models.base import Detector, make_detector
from streamad.models.head_features import FeatureStats, raw_features
from streamad.models.options import DetectorOptions

CHUNK = 2048
"""Rows in every product, short chunks padded: the last bits of a product depend on its shape, so there is
only one shape. Two chunks are a batch of the usual size, one for each of two threads."""

FEW = 128
"""Rows in a product, or a few times as many, where there are only some to score, as for the reasons of a batch."""

SCORE_LIMIT = 3e38
"""An infinite score, which no finite weights can reach, would leave as this."""


class Scored(NamedTuple):
    """What a model says about n records."""

    score: NDArray[np.float64]
    """[n] the members' mean score, finite, at least 0; higher = more anomalous."""
    features: NDArray[np.float64]
    """[n, F] what the head reads, F = K * d + 1."""


class ScoringModel:
    """Scores encoded rows; a row's score depends on nothing but the row."""

    def __init__(self, encoder: Encoder, detector: Detector, stats: FeatureStats, threads: int = 1) -> None:
        """`detector` and `stats` lie on one device; the detector's weights must change no more."""
        self.encoder, self.stats = encoder, stats
        self._detector = detector
        self._device = stats.mean.device
        detector.prepare()
        # Threads over chunks, not within a product: the products are small, and a chunk's bits stay its own.
        self._threads = threads if self._device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(self._threads - 1, "score") if self._threads > 1 else None

    @classmethod
    def from_parts(
        cls, manifest: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], device: str, threads: int
    ) -> Self:
        """The model of an artifact's manifest and tensors, scoring on `threads` of the processor's.

        Sets torch's own thread count for this process to one.

        Raises `ValueError` where the weights do not fit the detector or are not finite.
        """
        torch.set_num_threads(1)
        options = DetectorOptions.model_validate(manifest["detector"])
        encoder = Encoder.from_state(manifest["encoder"], part(tensors, "encoder."))
        detector = make_detector(options.name, encoder.width, options, range(options.members))
        _load(detector, part(tensors, "model."))
        place = choose_device(device)
        stats = FeatureStats.from_tensors(part(tensors, "stats."), place)
        return cls(encoder, detector.to(place), stats, threads)

    @property
    def head_width(self) -> int:
        """F, the number of features that the head reads."""
        return len(self.stats.mean)

    def score(self, x: NDArray[np.float32], size: int = CHUNK) -> Scored:
        """Score encoded rows [n, D]; every product has `size` rows."""
        score = torch.empty(len(x), dtype=torch.float64)
        features = torch.empty((len(x), self.head_width), dtype=torch.float64)
        share = -(-len(x) // (size * self._threads)) * size or size
        parts = [(x, slice(start, start + share), size, score, features) for start in range(0, len(x), share)]
        others = [self._pool.submit(self._score_part, *part) for part in parts[1:] if self._pool]
        for part in parts[:1]:
            self._score_part(*part)
        for other in others:
            other.result()
        return Scored(score.numpy(), features.numpy())

    def score_few(self, x: NDArray[np.float32]) -> Scored:
        """The same for rows that are fewer than `CHUNK`, in products no larger than they need."""
        return self.score(x, min(-(-len(x) // FEW) * FEW, CHUNK) or FEW)

    def _score_part(
        self, x: NDArray[np.float32], rows: slice, size: int, score: Tensor, features: Tensor
    ) -> None:
        """Score a range of rows, which begins at a whole chunk, into their places."""
        with torch.inference_mode():
            for start in range(rows.start, min(rows.stop, len(x)), size):
                part = slice(start, min(start + size, rows.stop))
                score[part], features[part] = self._score_chunk(x[part], size)

    def _score_chunk(self, x: NDArray[np.float32], size: int) -> tuple[Tensor, Tensor]:
        """Mean scores and head features of at most `size` rows."""
        scores, latents = self._detector.score(self._padded(x, size))
        score = torch.nan_to_num_(scores.mean(0), nan=SCORE_LIMIT, posinf=SCORE_LIMIT).clamp_(min=0)
        features = self.stats.apply(raw_features(score, latents)).nan_to_num_(nan=0.0)
        return score[: len(x)], features[: len(x)]

    def _padded(self, x: NDArray[np.float32], count: int = CHUNK) -> Tensor:
        """At most `count` rows, filled up with zeros, on the device."""
        # always a copy: where a slice of the batch happens to begin in memory can change the last bits as well
        rows = torch.zeros((count, x.shape[1]))
        rows[: len(x)] = torch.from_numpy(np.ascontiguousarray(x))
        return rows.to(self._device)

    def raw_features(self, x: NDArray[np.float32]) -> Tensor:
        """The head features of encoded rows [n, D] before they are standardised, [n, F]."""
        chunks = []
        with torch.inference_mode():
            for start in range(0, len(x), CHUNK):
                rows = x[start : start + CHUNK]
                scores, latents = self._detector.score(self._padded(rows))
                chunks.append(raw_features(scores.mean(0), latents)[: len(rows)])
        return torch.cat(chunks)


def choose_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one. Raises `UserError` for a GPU that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"detector.device is {name}, but there is no GPU that can be used; auto takes what is there"
        )
    return torch.device(name)


def part(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load(detector: Detector, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Fill the detector's weights. Raises `ValueError` where they do not fit or are not finite."""
    state = {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}
    if any(tensor.is_floating_point() and not tensor.isfinite().all() for tensor in state.values()):
        message = "the weights hold values that are not finite"
        raise ValueError(message)
    try:
        detector.load_state_dict(state)
    except RuntimeError as error:
        message = f"the weights do not fit the detector: {error}"
        raise ValueError(message) from None
