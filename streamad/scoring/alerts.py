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
    from streamad.scoring.scorer import Scorer, Scores

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
        random = np.setdiff1d(drawn, top, assume_unique=True)
        rows = np.concatenate([alerts, top, random])
        kinds = ["alert"] * len(alerts) + ["candidate"] * len(top) + ["random"] * len(random)
        if not len(rows):
            return Described([], [])
        shares = scorer.field_shares(batch.numbers[rows], batch.codes[rows])
        pool = [
            self._seen(batch, scores, row, share, kind)
            for row, share, kind in zip(rows.tolist(), shares, kinds, strict=True)
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
        self, batch: Batch, scores: Scores, row: int, shares: NDArray[np.float64], kind: str
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
            "reasons": self._reasons(record, shares),
        }

    def _reasons(self, record: dict[str, Any], shares: NDArray[np.float64]) -> list[dict[str, Any]]:
        top = np.argsort(-shares, kind="stable")[: self.reasons]
        names: Sequence[str] = self.schema.features
        return [
            {"field": names[i], "value": record.get(names[i]), "share": round(float(shares[i]), 4)}
            for i in top
        ]
