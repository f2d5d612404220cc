"""Labels in the order in which they were applied, and what they taught the head."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamad.models.head import Site
    from streamad.records.batch import Batch
    from streamad.records.decoder import Decoder
    from streamad.scoring.scorer import Scorer

Verdict = Literal["anomaly", "normal", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Label:
    """One line of the label store."""

    id: int
    event_id: str
    verdict: Verdict
    labeled_at: str
    record: Mapping[str, Any] | None
    number: int | None = None
    """The record's number in the feed, where it has come by."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One entry of the label log: the head is a function of the artifact and these, in order."""

    label_id: int
    event_id: str
    verdict: Verdict


class LabelBook:
    """Which labels wait for their record or their time, and which have been applied.

    In a replay a label applies `delay` records after its record; in the daemon (`delay` None) at the
    next batch boundary.
    """

    def __init__(self, feed: str, decoder: Decoder, delay: int | None, keep: int) -> None:
        self._feed, self._decoder, self._delay, self._keep = feed, decoder, delay, keep
        self._waiting: dict[str, list[Label]] = defaultdict(list)
        self._due: list[tuple[int, int, Label]] = []
        self._current: dict[str, Label] = {}  # the verdict in force, by event
        self._log: list[Applied] = []
        self._records: dict[str, Mapping[str, Any]] = {}
        self._sites: dict[str, Site] = {}

    @property
    def position(self) -> int:
        """How many label changes were applied."""
        return len(self._log)

    @property
    def waiting(self) -> int:
        """How many labels wait for a record that has not come by."""
        return sum(map(len, self._waiting.values()))

    def receive(self, labels: Iterable[Label]) -> None:
        """Take in labels as the store hands them out."""
        for label in labels:
            ready = label.record is not None and (self._delay is None or label.number is not None)
            if ready:
                self._schedule(label)
            else:
                self._waiting[label.event_id].append(label)

    def meet(self, batch: Batch) -> list[Label]:
        """The labels whose record is in this batch, now completed by it; they are scheduled too."""
        if not self._waiting:
            return []
        prefix = f"{self._feed}/{batch.block.partition}:"
        met = []
        offsets = batch.block.offsets
        for event_id in [e for e in self._waiting if e.startswith(prefix)]:
            text = event_id.removeprefix(prefix)
            row = int(np.searchsorted(offsets, int(text))) if text.isdecimal() and len(text) < 18 else len(offsets)
            if row == len(offsets) or offsets[row] != int(text) or row in batch.rejections:
                continue
            record = self._decoder.record(batch.block.payload(row), batch.block.columns)
            for label in self._waiting.pop(event_id):
                met.append(replace(label, record=label.record or record, number=batch.first + row))
                self._schedule(met[-1])
        return met

    def apply(self, number: int, scorer: Scorer | None) -> list[Applied]:
        """Apply what is due before record `number`; the entries are the log's newest."""
        before = len(self._log)
        while self._due and self._due[0][0] <= number:
            label = heapq.heappop(self._due)[2]
            current = self._current.get(label.event_id)
            if current and (current.labeled_at, current.id) > (label.labeled_at, label.id):
                continue
            self._current[label.event_id] = label
            if (current.verdict if current else "withdrawn") != label.verdict:
                entry = Applied(label.id, label.event_id, label.verdict)
                self._append(entry, label.record or {})
                if scorer is not None:
                    self._teach(entry, scorer)
        return self._log[before:]

    def restore(self, entries: Sequence[tuple[Label, Applied]]) -> None:
        """Take over the log of an earlier run, without a scorer yet (see `adopt`)."""
        for label, entry in entries:
            self._current[label.event_id] = label
            self._append(entry, label.record or {})

    def adopt(self, scorer: Scorer, events: Sequence[str]) -> None:
        """Bring a fresh scorer's head up to date; `events` are those of the sites that its artifact holds."""
        self._sites = dict(zip(events, scorer.head.sites, strict=True))
        for entry in self._log[scorer.label_position :]:
            self._teach(entry, scorer)

    def training_rows(self) -> tuple[list[str], NDArray[np.float64], NDArray[np.int32], NDArray[np.int8]]:
        """(events, numbers [m, N], codes [m, C], verdicts [m] 1/0) of the labels in force, in order."""
        events = self._in_force()[-self._keep :]
        numbers, codes, _ = self._decoder.decode_records([self._records[e] for e in events])
        verdicts = np.array([self._current[e].verdict == "anomaly" for e in events], dtype=np.int8)
        return events, numbers, codes, verdicts

    def counts(self) -> dict[str, int]:
        """Labels in force by verdict, and those that wait."""
        verdicts = [self._current[e].verdict for e in self._in_force()]
        return {v: verdicts.count(v) for v in ("anomaly", "normal")} | {"waiting": self.waiting}

    def _in_force(self) -> list[str]:
        return [e for e in self._records if self._current[e].verdict != "withdrawn"]

    def _schedule(self, label: Label) -> None:
        due = 0 if self._delay is None or label.number is None else label.number + 1 + self._delay
        heapq.heappush(self._due, (due, label.id, label))

    def _append(self, entry: Applied, record: Mapping[str, Any]) -> None:
        self._log.append(entry)
        self._records.pop(entry.event_id, None)  # the newest change comes last
        self._records[entry.event_id] = record

    def _teach(self, entry: Applied, scorer: Scorer) -> None:
        numbers, codes, _ = self._decoder.decode_records([self._records[entry.event_id]])
        features = scorer.features(numbers, codes)[0]
        if site := self._sites.pop(entry.event_id, None):
            scorer.unlearn(features, site)
        if entry.verdict != "withdrawn":
            self._sites[entry.event_id] = scorer.learn(features, entry.verdict)
