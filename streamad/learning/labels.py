"""Labels in the order in which they were applied, and what they taught the head."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamad.records.batch import ACCEPTED
from streamad.state.schema import dump

if TYPE_CHECKING:
    from streamad.records.batch import Batch
    from streamad.records.decoder import Decoder
    from streamad.scoring.scorer import Scorer
    from streamad.state.labels import LabelChange, Verdict


_PLACE = re.compile(r"(.*[:@])(\d{1,18})", re.DOTALL | re.ASCII)
"""A position: partition with its separator, offset."""


class LabelBook:
    """Which labels wait for their record or their time, and which have been applied.

    In a replay a label applies `delay` records after its record; in the daemon (`delay` None) at the next
    batch boundary. The head is a function of the artifact and the changes applied since, in order.
    """

    def __init__(self, feed: str, decoder: Decoder, delay: int | None, keep: int) -> None:
        self._feed, self._decoder, self._delay, self._keep = feed, decoder, delay, keep
        self._waiting: dict[str, set[int]] = defaultdict(set)  # partition with its separator -> offsets
        self._due: dict[str, tuple[int, LabelChange]] = {}  # event -> (record number, change)
        self._verdicts: dict[str, Verdict] = {}
        self._counts: Counter[Verdict] = Counter()  # of those
        self._records: dict[str, str] = {}  # as JSON, by event, the newest change last
        self._log: list[tuple[str, Verdict]] = []

    @property
    def position(self) -> int:
        """How many label changes were applied."""
        return len(self._log)

    def receive(self, changes: Iterable[LabelChange], waiting: Iterable[str]) -> None:
        """Take in verdicts that are new, and events whose record a label waits for."""
        for change in changes:
            number = change.number
            due = 0 if self._delay is None or number is None else number + 1 + self._delay
            self._due[change.event_id] = (due, change)
        for event in waiting:
            if place := _PLACE.fullmatch(event.removeprefix(f"{self._feed}/")):
                self._waiting[place[1]].add(int(place[2]))

    def meet(self, batch: Batch) -> list[dict[str, Any]]:
        """The records in this batch that labels waited for: event_id, record and record_number of each."""
        return [
            self._met(batch, row, wanted)
            for partition in batch.block.cursors
            if (wanted := self._waiting.get(f"{partition}{batch.block.separator}"))
            for row in self._rows_met(batch, partition, wanted)
        ]

    def _rows_met(self, batch: Batch, partition: str, wanted: set[int]) -> list[int]:
        """The accepted rows of a partition whose offset is wanted."""
        found = batch.block.rows_of(partition) & np.isin(batch.block.offsets, list(wanted))
        rows: list[int] = np.flatnonzero(found & (batch.status == ACCEPTED)).tolist()
        return rows

    def _met(self, batch: Batch, row: int, wanted: set[int]) -> dict[str, Any]:
        wanted.discard(int(batch.block.offsets[row]))
        return {
            "event_id": f"{self._feed}/{batch.block.position(row)}",
            "record": self._decoder.record_of(batch.block, row),
            "record_number": batch.first + row,
        }

    def apply(self, number: int, scorer: Scorer | None) -> list[dict[str, Any]]:
        """Apply what is due before record `number`: the new entries of the label log, in order."""
        ready = sorted((due, change.label_id, change) for due, change in self._due.values() if due <= number)
        for _, _, change in ready:
            del self._due[change.event_id]
        return self.take((change for _, _, change in ready), number, scorer)

    def take(
        self, changes: Iterable[LabelChange], number: int, scorer: Scorer | None
    ) -> list[dict[str, Any]]:
        """Apply changes before record `number`, each as it comes: the new entries of the label log."""
        new = []
        for change in changes:
            if self._verdicts.get(change.event_id, "withdrawn") != change.verdict:
                self._append(change.event_id, change.verdict, dump(change.record))
                new.append(change)
        if scorer is not None:
            self._teach([(change.event_id, change.verdict, change.record) for change in new], scorer)
        return [
            {
                "label_id": change.label_id,
                "event_id": change.event_id,
                "verdict": change.verdict,
                "record_number": number,
            }
            for change in new
        ]

    def restore(self, log: Iterable[tuple[str, Verdict, str]]) -> None:
        """Take over the label log of an earlier run (event, verdict, record as JSON); `adopt` then teaches it."""
        for event, verdict, record in log:
            self._append(event, verdict, record)

    def adopt(self, scorer: Scorer) -> None:
        """Bring a fresh scorer's head up to date with the changes since its artifact."""
        since = self._log[scorer.label_position :]
        self._teach([(event, verdict, json.loads(self._records[event])) for event, verdict in since], scorer)

    def training_rows(self) -> tuple[list[str], NDArray[np.int8], list[str]]:
        """(events, verdicts [m] 1/0, records as JSON) of the labels in force, in order."""
        events = self._in_force()[-self._keep :]
        verdicts = np.array([self._verdicts[event] == "anomaly" for event in events], np.int8)
        return events, verdicts, [self._records[event] for event in events]

    def counts(self) -> dict[str, int]:
        """Labels in force by verdict, and those that wait for their record."""
        waiting = sum(map(len, self._waiting.values()))
        return {
            "anomaly": self._counts["anomaly"],
            "normal": self._counts["normal"],
            "waiting": waiting,
        }

    def _in_force(self) -> list[str]:
        return [event for event in self._records if self._verdicts[event] != "withdrawn"]

    def _append(self, event: str, verdict: Verdict, record: str) -> None:
        self._log.append((event, verdict))
        if event in self._verdicts:
            self._counts[self._verdicts[event]] -= 1
        self._counts[verdict] += 1
        self._verdicts[event] = verdict
        self._records.pop(event, None)
        self._records[event] = record

    def _teach(self, changes: Sequence[tuple[str, Verdict, Mapping[str, Any]]], scorer: Scorer) -> None:
        """One label after the other, their records read and scored at once."""
        given = [record for _, verdict, record in changes if verdict != "withdrawn"]
        features = iter(scorer.features(*self._decoder.decode_records(given)[:2]))
        for event, verdict, _ in changes:
            scorer.unlearn(event)
            if verdict != "withdrawn":
                scorer.learn(event, next(features), verdict)
