"""Alert and pool rows: what people see of a record, in the formats of CONTRACTS.md."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from streamad.records.batch import MISSING_TIME
from streamad.state.holdout import chosen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamad.records.batch import Batch
    from streamad.records.decoder import Decoder
    from streamad.records.schema import Schema
    from streamad.scoring.reasons import Reason
    from streamad.scoring.scorer import Scorer, Scores

_WHOLE = 2.0**53
"""Up to here a double holds every whole number."""
_KINDS, _FAIR = 16, 0.02
"""So many kinds of a batch are looked at, and only such as make up this share of it."""
_PRIME = np.int64(1_000_003)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(microseconds: int) -> str | None:
    """RFC 3339 in UTC with milliseconds, or None for a missing time."""
    if microseconds == MISSING_TIME:
        return None
    try:
        moment = _EPOCH + timedelta(microseconds=int(microseconds))
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signature(record: Mapping[str, Any], schema: Schema) -> str:
    """What alike records share."""
    return " ".join(str(record.get(name, "")) for name in schema.categories)[:200]


def _one_a_kind(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """The first row of each kind (equal codes [n, C]) that is a fair part of the rows; of at most `_KINDS`.

    A kind that comes in numbers is worth a question, however ordinary it looks.
    """
    if not codes.size:
        return np.empty(0, np.int64)
    mixed = codes.astype(np.int64) @ (_PRIME ** np.arange(1, codes.shape[1] + 1, dtype=np.int64))
    _, first, count = np.unique(mixed, return_index=True, return_counts=True)
    largest = np.argsort(-count, kind="stable")[:_KINDS]
    return first[largest[count[largest] >= _FAIR * len(codes)]]


@dataclass(frozen=True, slots=True)
class Described:
    """What a transaction keeps of one scored batch."""

    alerts: list[dict[str, Any]]
    """In record order, in CONTRACTS.md's format 1."""
    pool: list[dict[str, Any]]
    """The alerts first; then the candidates and the random sample."""


@dataclass(frozen=True, slots=True)
class Describer:
    """Turns rows of a scored batch into rows for people."""

    feed: str
    detector: str
    schema: Schema
    decoder: Decoder
    reasons: int
    """Reasons an alert carries."""
    candidates: int
    """The most anomalous records of a batch that the pool keeps beside the alerts."""
    sample: float
    """The share of records that the pool keeps at random."""
    seed: int

    def describe(
        self, batch: Batch, scorer: Scorer, scores: Scores, threshold: float, labels: int, now: str
    ) -> Described:
        """The batch's alerts (p-value under `threshold`), and what the pool keeps of it.

        `labels` is how many labels the scores take into account.
        """
        alerts = np.flatnonzero(scores.p_value < threshold)
        rest = np.flatnonzero(scores.p_value >= threshold)
        top = rest[np.argsort(scores.p_value[rest], kind="stable")[: self.candidates]]
        drawn = rest[chosen(batch.identities(rest), self.seed, self.sample)]
        random = np.setdiff1d(
            np.union1d(drawn, rest[_one_a_kind(batch.codes[rest])]), top, assume_unique=True
        )
        rows = np.concatenate([alerts, top, random])
        kinds = ["alert"] * len(alerts) + ["candidate"] * len(top) + ["random"] * len(random)
        if not len(rows):
            return Described([], [])
        reasons = scorer.explain(batch.numbers[rows], batch.codes[rows], threshold, self.reasons)
        pool = [
            self._seen(batch, scores, row, why, kind)
            for row, why, kind in zip(rows.tolist(), reasons, kinds, strict=True)
        ]
        common: dict[str, Any] = {
            "threshold": threshold,
            "version": scorer.version,
            "labels_applied": labels,
        }
        common["detector"] = self.detector + ("+uai" if scorer.labeled else "")
        return Described(
            [self._alert(batch, seen, common, now) for seen in pool[: len(alerts)]],
            pool,
        )

    def _alert(
        self, batch: Batch, seen: Mapping[str, Any], common: Mapping[str, Any], now: str
    ) -> dict[str, Any]:
        return {
            "format": 1,
            "feed": self.feed,
            "alert_id": hashlib.sha256(seen["event_id"].encode()).hexdigest()[:20],
            "event_id": seen["event_id"],
            "key": seen["key"],
            "event_time": time_text(int(batch.times[seen["record_number"] - batch.first])),
            "scored_at": now,
            "score": seen["score"],
            "p_value": seen["p_value"],
            "threshold": common["threshold"],
            "anomaly_probability": seen["probability"],
            "detector": common["detector"],
            "version": common["version"],
            "labels_applied": common["labels_applied"],
            "repeat_of": None,
            "reasons": seen["reasons"],
            "record": seen["record"],
        }

    def _seen(
        self, batch: Batch, scores: Scores, row: int, why: Sequence[Reason], kind: str
    ) -> dict[str, Any]:
        record = self.decoder.record_of(batch.block, row)
        key = record.get(self.schema.key) if self.schema.key else None
        probability = None if scores.probability is None else round(float(scores.probability[row]), 6)
        return {
            "event_id": f"{self.feed}/{batch.block.position(row)}",
            "record_number": batch.first + row,
            "kind": kind,
            "key": None if key is None else str(key),
            "record": record,
            "score": float(scores.score[row]),
            "p_value": float(scores.p_value[row]),
            "probability": probability,
            "signature": signature(record, self.schema),
            "reasons": [self._reason(record, reason) for reason in why],
        }

    def _reason(self, record: Mapping[str, Any], reason: Reason) -> dict[str, Any]:
        names: Sequence[str] = self.schema.features
        value = record.get(names[reason.field])
        return {
            "field": names[reason.field],
            "value": value,
            "share": round(reason.share, 4),
            "expected": _spelled(reason.expected, value),
            "usual": [_spelled(end, value) for end in reason.usual],
            "with": [names[field] for field in reason.alike],
        }


def _spelled(expected: float | str | None, value: object) -> float | str | bool | None:
    """An expected value as the record would have it: true and false where it says so, whole numbers without a point."""
    if not isinstance(expected, float):
        return expected
    if isinstance(value, bool):
        return bool(expected)
    return int(expected) if expected.is_integer() and abs(expected) < _WHOLE else expected
