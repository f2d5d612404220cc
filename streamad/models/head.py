"""The incremental head: Bayesian logistic regression on ``[latent; score]`` that learns each label at once.

A feed's head reads its latents as waves (`streamad.models.waves`), others as they are.

Every label contributes one *site* to the weights' posterior, a Gaussian stand-in for its likelihood along its own
features, so that a label costs the same however many came before (the Sherman-Morrison formula), and a withdrawn one is
taken out again by its site with the other sign. Labels may be mistakes: on a feed a site counts by
the probability that it is none, so that one verdict against many changes little, and many change it again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from streamad.models.waves import Waves

LEVEL_WEIGHT, LEVEL_DEVIATION = 2.0, 0.5
"""Prior of the weight on the score: before any label, and for a while after, the base score leads."""
LATENT_DEVIATION = 0.2
"""Prior standard deviation of the weights on the latents, whose prior mean is 0."""
WAVES_DEVIATION = 2.25
"""With waves: how far the latents may move the log odds."""
RARITY_WEIGHT, RARITY_DEVIATION = 1.5, 0.1
"""With waves: the log odds go up by so much where a score is e times as rare, and a label tells little about that."""
MISTAKEN = 0.05
"""With waves: the share of labels that are taken to be mistakes."""
BIAS_DEVIATION = 1.0
PRECISION_FLOOR = 1e-4
"""The least precision of a site: a label that surprises nobody still leaves a trace."""
RATE_FLOOR = 1e-6
_MODERATION = math.pi / 8
CHUNK = 256
"""Rows of every product in `Head.log_odds`."""
KNOWN = 64
"""So many directions of features are known to some degree; about all others the labels are taken to say nothing."""


Label = Literal["anomaly", "normal"]


class Site(NamedTuple):
    """What one label added: ``precision * f f^T`` and ``shift * f``."""

    precision: float
    shift: float


@dataclass(slots=True, eq=False)
class Head:
    """The posterior of the weights; the last of F + 1 weights is the bias."""

    mean: NDArray[np.float64]
    """[F + 1]."""
    covariance: NDArray[np.float64]
    """[F + 1, F + 1]."""
    count_anomaly: int
    count_normal: int
    waves: Waves | None = None
    """With waves F is their width, whatever the features given have."""
    _known: tuple[float, NDArray[np.float32]] | None = field(default=None, init=False, repr=False)
    """Of the present posterior: the greatest variance of a direction, and the roots [F + 1, r] of what is less elsewhere."""

    @classmethod
    def fresh(
        cls,
        width: int,
        prior_rate: float,
        *,
        latent_deviation: float = LATENT_DEVIATION,
        level_weight: float = LEVEL_WEIGHT,
        level_deviation: float = LEVEL_DEVIATION,
    ) -> Self:
        """A head without labels on F = `width` features, the last of which is the score's level."""
        rate = min(max(prior_rate, RATE_FLOOR), 0.5)
        mean = np.zeros(width + 1)
        mean[-2:] = level_weight, math.log(rate / (1 - rate))
        deviation = np.full(width + 1, latent_deviation)
        deviation[-2:] = level_deviation, BIAS_DEVIATION
        return cls(mean, np.diag(deviation**2), 0, 0)

    @classmethod
    def with_waves(cls, held: NDArray[np.float64], prior_rate: float, seed: int) -> Self:
        """A head without labels that reads features like those of the held-out rows [R, F] as waves."""
        waves = Waves.fresh(held, seed)
        head = cls.fresh(
            waves.width,
            prior_rate**RARITY_WEIGHT,  # as rare as that: an anomaly as likely as not
            latent_deviation=WAVES_DEVIATION,
            level_weight=RARITY_WEIGHT,
            level_deviation=RARITY_DEVIATION,
        )
        head.waves = waves
        return head

    def update(self, features: NDArray[np.float64], label: Label) -> Site:
        """Learn one label of the features [F]; returns what `remove` needs to forget it."""
        f = self._read(features)
        y = 1.0 if label == "anomaly" else 0.0
        mean, variance = float(f @ self.mean), float(f @ self.covariance @ f)
        logit = _mode(mean, variance, y)
        p = _sigmoid(logit)
        trust = _trust(mean, variance, y, self._mistaken)
        precision = max(trust * p * (1 - p), PRECISION_FLOOR)
        site = Site(precision, precision * logit + trust * (y - p))
        self._add(f, site)
        self._count(label, 1)
        return site

    def fit(self, features: NDArray[np.float64], labels: Sequence[Label], sweeps: int = 2) -> list[Site]:
        """Learn many labels [m, F] in order, then go over them again so that each site knows the others."""
        sites = [self.update(row, label) for row, label in zip(features, labels, strict=True)]
        for _ in range(sweeps):
            for i, (row, label) in enumerate(zip(features, labels, strict=True)):
                self.remove(row, sites[i], label)
                sites[i] = self.update(row, label)
        return sites

    def remove(self, features: NDArray[np.float64], site: Site, label: Label) -> None:
        """Forget a label: subtract the site that `update` returned for these features [F]."""
        self._add(self._read(features), Site(-site.precision, -site.shift))
        self._count(label, -1)

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The log odds of an anomaly [n], nearer to 0 the less the labels say about such features [n, F].

        The weights' uncertainty is averaged out with MacKay's approximation (1992): the mean logit over
        ``sqrt(1 + pi * variance / 8)``.
        """
        if self._known is None:
            variance, direction = np.linalg.eigh(self.covariance)  # [F + 1] ascending, [F + 1, F + 1]
            less = direction[:, :KNOWN] * np.sqrt(variance[-1] - variance[:KNOWN])
            self._known = float(variance[-1]), less.astype(np.float32)
        mean, out = self.mean.astype(np.float32), np.empty(len(features))
        for start in range(0, len(features), CHUNK):
            out[start : start + CHUNK] = self._log_odds(features[start : start + CHUNK], mean, *self._known)
        return out

    def _log_odds(
        self,
        features: NDArray[np.float64],
        mean: NDArray[np.float32],
        most: float,
        less: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """`log_odds` of at most `CHUNK` rows; padded, as a product's last bits depend on its shape."""
        given = np.zeros((CHUNK, features.shape[1]))
        given[: len(features)] = features
        f = np.ones((CHUNK, len(mean)), np.float32)
        f[:, :-1] = given if self.waves is None else self.waves.apply(given)
        known = f @ less
        variance = most * np.einsum("nf,nf->n", f, f) - np.einsum("nr,nr->n", known, known)
        moderated: NDArray[np.float32] = (f @ mean) / np.sqrt(1 + _MODERATION * np.maximum(variance, 0))
        return moderated[: len(features)]

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of an anomaly [n] for features [n, F]; each row stands for itself."""
        return probability(self.log_odds(features))

    def copy(self) -> Self:
        """A head of its own with the same posterior."""
        arrays = (self.mean.copy(), self.covariance.copy())
        return type(self)(*arrays, self.count_anomaly, self.count_normal, self.waves)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays of an artifact or a checkpoint."""
        counts = np.array([self.count_anomaly, self.count_normal], dtype=np.int64)
        waves = {} if self.waves is None else self.waves.tensors()
        return {
            "mean": self.mean,
            "covariance": self.covariance,
            "counts": counts,
            **waves,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """The head that wrote these tensors, bit for bit."""
        mean, covariance = (np.array(tensors[name], np.float64) for name in ("mean", "covariance"))
        anomaly, normal = (int(count) for count in tensors["counts"])
        return cls(mean, covariance, anomaly, normal, Waves.from_tensors(tensors))

    @property
    def _mistaken(self) -> float:
        """The share of labels that are taken to be mistakes."""
        return 0.0 if self.waves is None else MISTAKEN

    def _read(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the weights meet [F + 1] of one row's features."""
        return np.append(features if self.waves is None else self.waves.apply(features[None])[0], 1.0)

    def _add(self, f: NDArray[np.float64], site: Site) -> None:
        spread = self.covariance @ f
        left = 1 / (1 + site.precision * (f @ spread))
        self.mean = self.mean + left * (site.shift - site.precision * (f @ self.mean)) * spread
        self.covariance = self.covariance - left * site.precision * np.outer(spread, spread)
        self._known = None

    def _count(self, label: Label, change: int) -> None:
        if label == "anomaly":
            self.count_anomaly += change
        else:
            self.count_normal += change


def probability(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n] of log odds [n]."""
    out: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -60.0, 60.0)))
    return out


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(logit, -60.0), 60.0)))


def _trust(mean: float, variance: float, y: float, mistaken: float) -> float:
    """The probability that a label is none of the mistaken ones, by how likely the labels before made it."""
    logit = mean / math.sqrt(1 + _MODERATION * variance)
    likely = _sigmoid(logit if y else -logit)
    right, wrong = (1 - mistaken) * likely, mistaken * (1 - likely)
    return right / (right + wrong)


def _mode(mean: float, variance: float, y: float) -> float:
    """The logit a that maximises ``log N(a; mean, variance) + log p(y | a)``.

    A plain Newton step from the mean overshoots without bound where the variance is large and the label
    surprising; the mode itself solves ``a = mean + variance * (y - sigmoid(a))`` and lies between the two ends
    below, so bisection finds it always.
    """
    low, high = (mean, mean + variance) if y else (mean - variance, mean)
    for _ in range(60):
        middle = (low + high) / 2
        if mean + variance * (y - _sigmoid(middle)) > middle:
            low = middle
        else:
            high = middle
    return (low + high) / 2
