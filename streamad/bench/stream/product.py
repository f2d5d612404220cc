"""The method ``streamad``: the engine itself on a replay, and an analyst who uses `queue` and `label`.

After a commit the analyst looks at the queue as ``streamad queue`` shows it and notes what it begins with. The
verdicts go into the label store as ``streamad label`` gives them, so many records later. The engine finds them
there at its next batch, as it finds those of any other process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import polars as pl
import yaml

from streamad.bench.stream.analyst import WARM_UP
from streamad.bench.stream.judge import BUDGET, Emitted
from streamad.job import Job
from streamad.learning.query import choose, ordinary
from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_FIELDS, KDD_LABEL
from streamad.state.queries import Reader
from streamad.wiring.local import open_feed

if TYPE_CHECKING:
    from streamad.bench.stream.analyst import Analyst
    from streamad.bench.stream.streams import Stream
    from streamad.state.pool import PoolRow
    from streamad.wiring.local import Live

_FEED, _FILE = "bench", "stream.csv"
_AFTER_COMMIT = "commit.6"

_WORDS = dict.fromkeys(KDD_FIELDS, "numeric") | dict.fromkeys(KDD_CATEGORICAL, "categorical")

CONFIG: Final[dict[str, Any]] = {
    "streamad": 1,
    "feed": _FEED,
    "source": {"type": "files", "paths": [_FILE], "format": "kdd"},
    "schema": {"fields": _WORDS | dict.fromkeys(KDD_BOOLEAN, "boolean") | {KDD_LABEL: "label"}},
    "alerts": {"budget": BUDGET},
    "labels": {"delay": 0},  # the analyst takes the time
    "limits": {"batch_records": 512},
    "training": {
        "warm_up": {"records": WARM_UP},
        "window": {"records": 50_000},
        "every_records": 25_000,
        "every_labels": None,
        "effect_after": 5_000,
    },
    "log": {"level": "error"},
}
"""The same on all streams."""


Choice: TypeAlias = Callable[[Sequence["PoolRow"], int, Mapping[tuple[str, str], int]], Sequence["PoolRow"]]
"""As `choose`."""


def most_anomalous(
    rows: Sequence[PoolRow], limit: int, _asked: Mapping[tuple[str, str], int]
) -> list[PoolRow]:
    """The rows that are most anomalous, however much alike (plain top-k): what `choose` is compared with."""
    return sorted(rows, key=ordinary)[:limit]


def play(
    stream: Stream, analyst: Analyst, seed: int, changes: Sequence[str] = (), choice: Choice = choose
) -> Emitted:
    """Replay the stream while the analyst answers what `choice` asks; `changes` are those of ``--set``.

    Raises `TrainingError` where the first model cannot be fitted, `ConfigError` for a change that is none.
    """
    with TemporaryDirectory(prefix="streamad-bench-") as name:
        folder = Path(name)
        config, scores = folder / "bench.yaml", folder / "scores.parquet"
        config.write_text(yaml.safe_dump(CONFIG, sort_keys=False), encoding="utf-8")
        (folder / _FILE).write_bytes(b"".join(stream.lines))
        desk: list[_Desk] = []

        def on_step(step: str) -> None:
            if step == _AFTER_COMMIT:
                desk[0].look()

        job = Job("replay", config, tuple(changes), seed=seed, scores=scores, on_step=on_step)
        with open_feed(job) as live, Reader(live.state.store) as reader:
            desk.append(_Desk(live, reader, analyst, choice))
            live.engine.run()
            assert live.scores is not None
            live.scores.finish(scores)
            return _emitted(scores, _alerts(reader))


class _Desk:
    """The analyst at work on a running feed."""

    def __init__(self, live: Live, reader: Reader, analyst: Analyst, choice: Choice) -> None:
        self._live, self._reader, self._analyst, self._choice = live, reader, analyst, choice
        self._noted: set[str] = set()
        """Events asked about, so that none is asked about twice before its verdict arrives."""

    def look(self) -> None:
        """Ask what is due, and give the verdicts that are ready."""
        records = self._reader.counts().records
        if (due := self._analyst.questions(records)) > 0:
            self._ask(due, records)
        given = [
            {"event_id": _event(row), "label": "anomaly" if anomalous else "normal", "analyst": "bench"}
            for row, anomalous in self._analyst.answers(records)
        ]
        if given:
            self._live.store.add_labels(given)

    def _ask(self, due: int, records: int) -> None:
        rows = self._reader.queue_rows()
        told = self._reader.asked()
        told.update((row.matter, "open") for row in rows if row.event_id in self._noted)
        rows = [row for row in rows if row.event_id not in self._noted]
        events = [row.event_id for row in self._choice(rows, due, told)]
        self._noted.update(events)
        self._analyst.ask([_row(event) for event in events], records)


def _event(row: int) -> str:
    return f"{_FEED}/{_FILE}:{row + 1}"


def _row(event: str) -> int:
    return int(event.rpartition(":")[2]) - 1


def _alerts(reader: Reader) -> list[int]:
    """The record numbers of all alerts."""
    rows: list[int] = []
    after = 0
    while lines := reader.alerts(after):
        rows += [_row(json.loads(line.text)["event_id"]) for line in lines]
        after = lines[-1].n
    return rows


def _emitted(scores: Path, alerts: Sequence[int]) -> Emitted:
    frame = pl.read_parquet(scores)
    if not frame["anomaly_probability"][len(frame) // 2 :].null_count():
        return Emitted.by_probability(frame["anomaly_probability"].to_numpy(), alerts)
    return Emitted.by_p_value(frame["p_value"].to_numpy(), frame["score"].to_numpy(), alerts)
