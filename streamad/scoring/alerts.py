"""Alert and pool rows: what people see of a record, in the formats of CONTRACTS.md."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from streamad.records.batch import MISSING_TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass(frozen=True, slots=True)
class Describer:
    """Turns rows of a scored batch into rows for people."""

    feed: str
    detector: str
    schema: Schema
    decoder: Decoder
    reasons: int

    def alerts(
        self, batch: Batch, scorer: Scorer, seen: Sequence[dict[str, Any]], threshold: float, now: str
    ) -> list[dict[str, Any]]:
        """The alerts of the rows in `seen`, in order, in CONTRACTS.md's format 1."""
        detector = self.detector + ("+uai" if scorer.labeled else "")
        return [
            {
                "format": 1,
                "feed": self.feed,
                "alert_id": hashlib.sha256(row["event_id"].encode()).hexdigest()[:20],
                "event_id": row["event_id"],
                "key": row["key"],
                "event_time": time_text(int(batch.times[row["record_number"] - batch.first])),
                "scored_at": now,
                "score": row["score"],
                "p_value": row["p_value"],
                "threshold": threshold,
                "anomaly_probability": row["probability"],
                "detector": detector,
                "version": scorer.version,
                "labels_applied": scorer.labels_applied,
                "repeat_of": None,
                "reasons": row["reasons"],
                "record": row["record"],
            }
            for row in seen
        ]

    def seen(
        self, batch: Batch, scorer: Scorer, scores: Scores, rows: NDArray[np.int64], kind: str
    ) -> list[dict[str, Any]]:
        """What the pool keeps of these rows; `kind` is alert, candidate or random."""
        if not len(rows):
            return []
        shares = scorer.field_shares(batch.numbers[rows], batch.codes[rows])
        return [
            self._seen(batch, scores, int(row), share, kind) for row, share in zip(rows, shares, strict=True)
        ]

    def _seen(
        self, batch: Batch, scores: Scores, row: int, shares: NDArray[np.float64], kind: str
    ) -> dict[str, Any]:
        record = self.decoder.record(batch.block.payload(row), batch.block.columns)
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
            "signature": " ".join(str(record.get(name, "")) for name in self.schema.categories)[:200],
            "reasons": self._reasons(record, shares),
        }

    def _reasons(self, record: dict[str, Any], shares: NDArray[np.float64]) -> list[dict[str, Any]]:
        top = np.argsort(-shares, kind="stable")[: self.reasons]
        names: Sequence[str] = self.schema.features
        return [
            {"field": names[i], "value": record.get(names[i]), "share": round(float(shares[i]), 4)}
            for i in top
        ]
