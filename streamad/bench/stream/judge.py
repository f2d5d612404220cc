"""How good the scores were, as they were given when each record arrived."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamad.bench.stream.streams import Stream

BUDGET: Final = 0.01
"""The alert budget of the streams' config, and of the recalls."""

_PIECES = 20
"""Points of a curve over time."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """What a method said of each of n records when it came."""

    score: NDArray[np.float64]
    """[n] higher is more anomalous."""
    alerts: NDArray[np.bool_] | None = None
    """[n] which records alerted; None for a method that has no threshold."""

    @classmethod
    def by_p_value(
        cls, p_value: NDArray[np.float64], score: NDArray[np.float64], alerts: Sequence[int]
    ) -> Self:
        """Ranked by p-value; equal ones, as at the floor, by score."""
        order = np.lexsort((score, -p_value))
        new = np.ones(len(order), np.bool_)
        new[1:] = (np.diff(p_value[order]) != 0) | (np.diff(score[order]) != 0)
        rank = np.empty(len(order))
        rank[order] = np.cumsum(new)
        return cls(rank, _marked(len(order), alerts))

    @classmethod
    def by_probability(cls, probability: NDArray[np.float64], alerts: Sequence[int]) -> Self:
        """Ranked by the probability of an anomaly, which is there for all of the second half at least.

        A flood raises the p-values of what is like it, since it is in the reference; what was learned from labels
        goes on saying that it is one.
        """
        return cls(np.nan_to_num(probability), _marked(len(probability), alerts))


def _marked(rows: int, alerts: Sequence[int]) -> NDArray[np.bool_]:
    alerted = np.zeros(rows, np.bool_)
    alerted[list(alerts)] = True
    return alerted


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of one run, over the second half of its stream."""

    average_precision: float
    auroc: float
    recall_at_budget: float
    """The share of attacks that score above all but `BUDGET` of the normal records."""
    family_recall: float
    """The same of each family alone, in the mean."""
    recall_unseen: float | None
    """Of families held back: the share among the highest `BUDGET` of normal and held-back records."""
    families_found: int
    """Families of which at least one record was asked about, in the whole stream."""
    alert_rate: float | None
    """The share of records that alerted."""
    curve: tuple[float | None, ...]
    """Average precision in each twentieth of the whole stream; None without attacks."""


def judge(stream: Stream, emitted: Emitted, asked: Sequence[int]) -> Judgement:
    """`asked` holds the records that the analyst was asked about."""
    half = len(stream) // 2
    truth, family, score = stream.truth[half:], stream.family[half:], emitted.score[half:]
    caught = score > np.quantile(score[~truth], 1 - BUDGET)
    recalls = [caught[family == name].mean() for name in np.unique(family[truth])]
    return Judgement(
        average_precision=float(average_precision_score(truth, score)),
        auroc=float(roc_auc_score(truth, score)),
        recall_at_budget=float(caught[truth].mean()),
        family_recall=float(np.mean(recalls)),
        recall_unseen=_recall_unseen(stream, emitted.score),
        families_found=len(set(stream.family[list(asked)][stream.truth[list(asked)]])) if asked else 0,
        alert_rate=None if emitted.alerts is None else float(emitted.alerts[half:].mean()),
        curve=tuple(_curve(stream.truth, emitted.score)),
    )


def _recall_unseen(stream: Stream, score: NDArray[np.float64]) -> float | None:
    if not stream.held_back:
        return None
    late = np.arange(len(stream)) >= stream.labels_end
    held = np.isin(stream.family, stream.held_back)
    rows = np.flatnonzero(late & (held | ~stream.truth))
    top = rows[np.argsort(-score[rows], kind="stable")[: round(len(rows) * BUDGET)]]
    return float(held[top].sum() / held[rows].sum())


def _curve(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> list[float | None]:
    edges = np.linspace(0, len(truth), _PIECES + 1).astype(int)
    pieces = [slice(start, stop) for start, stop in itertools.pairwise(edges)]
    return [
        float(average_precision_score(truth[piece], score[piece])) if truth[piece].any() else None
        for piece in pieces
    ]
