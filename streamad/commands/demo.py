"""``streamad demo``: the whole loop on generated traffic, in about two minutes.

Two replays of the same stream differ in one thing only: in the second one, 100 events that `queue` asked
about in the first half carry an analyst's label. All are judged on the second half of the stream.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import yaml
from rich.table import Table
from sklearn.metrics import average_precision_score

from streamad.bench.forest import forest_scores, read_stream
from streamad.commands import screen
from streamad.commands.demo_kafka import demo as through_topics
from streamad.commands.running import progress, stop_on_signals
from streamad.config import load_config
from streamad.errors import UserError
from streamad.job import Job
from streamad.learning.query import choose
from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_FIELDS, KDD_LABEL
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions
from streamad.state.directory import find_state
from streamad.state.queries import Reader
from streamad.wiring.local import open_feed
from streamad.wiring.plugins import open_source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from streamad.state.pool import PoolRow

_RECORDS = 160_000
_LABELS = 100
_ALERTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the demo keeps its files, and how it is stopped."""

    folder: Path
    seed: int
    stop: threading.Event

    @property
    def config(self) -> Path:
        """The config that it writes, for the user to go on with."""
        return self.folder / "demo.yaml"


def demo(args: argparse.Namespace) -> int:
    """Generate, replay, ask, label, learn, compare."""
    if args.kafka:
        return through_topics(args)
    configure_logs(LogOptions(level="error"))
    began = time.monotonic()
    folder = args.state or Path(tempfile.mkdtemp(prefix="streamad-demo-"))
    if (folder / "demo.yaml").exists():
        raise UserError(f"{folder} holds an earlier demo already; remove it or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    show = Demo(folder, args.seed, threading.Event())
    show.config.write_text(_config(), encoding="utf-8")
    with stop_on_signals(show.stop):
        finished = _steps(show)
    if finished:
        _say(f"\nThat took {time.monotonic() - began:.0f} s. Where to look next:")
        program = sys.argv[0] if shutil.which("streamad") is None else "streamad"
        state = f"--state {folder / 'labeled.state'}"
        for command in ("alerts", "queue", "models list", "status"):
            verb, _, rest = command.partition(" ")
            _say(f"  {program} {verb} {show.config} {rest + ' ' if rest else ''}{state}")
        _say(f"  {program} init YOUR.log --out feed.yaml, then {program} replay feed.yaml")
    return 0


def _steps(show: Demo) -> bool:
    half = _RECORDS // 2
    _say(
        f"1. A stream of {_RECORDS:,} made-up connections, about 2 % of them attacks. The first half, no labels:"
    )
    if not _replay(show, "first", {"source.records": half}):
        return False
    asked = _queue(show, "first")
    _show_alerts(show, "first")
    labels = show.folder / "labels.ndjson"
    found = _label(asked, labels)
    _say(
        f"\n2. streamad queue asked about {len(asked)} of these events; the analyst found {found} attacks among "
        f"them ({labels})."
    )
    _say(
        "3. The whole stream again, without the labels and with them; new attack families appear on the way:"
    )
    scores = {}
    for name, given in (("unlabeled", None), ("labeled", labels)):
        if not _replay(show, name, {}, given):
            return False
        scores[name] = pl.read_parquet(show.folder / f"{name}.parquet")["p_value"].to_numpy()
    config = load_config(show.config)
    stream = read_stream(config, *open_source(Job("replay", show.config, seed=show.seed), config))
    truth = stream.truth[half:] == 1
    forest = forest_scores(config, stream, fitted=half)[half:]
    rows = [("isolation forest, fitted on the first half", forest)]
    rows += [("streamad, no labels", -scores["unlabeled"][half:])]
    rows += [(f"streamad, {len(asked)} labels", -scores["labeled"][half:])]
    _compare(rows, truth)
    return True


def _config() -> str:
    words = dict.fromkeys(KDD_FIELDS, "numeric") | dict.fromkeys(KDD_CATEGORICAL, "categorical")
    words |= dict.fromkeys(KDD_BOOLEAN, "boolean") | {KDD_LABEL: "label"}
    tree = {
        "streamad": 1,
        "feed": "demo",
        "source": {"type": "generator", "format": "kdd", "records": _RECORDS, "anomaly_share": 0.02},
        "schema": {"fields": words},
        "alerts": {"budget": 0.005},
        "training": {
            "window": {"records": 60_000},
            "every_records": 50_000,
            "every_labels": 50,
            "effect_after": 15_000,
        },
    }
    return yaml.safe_dump(tree, sort_keys=False)


def _replay(show: Demo, name: str, changes: Mapping[str, Any], labels: Path | None = None) -> bool:
    with progress() as on_status:
        job = Job(
            "replay",
            show.config,
            tuple(f"{key}={value}" for key, value in changes.items()),
            show.folder / f"{name}.state",
            seed=show.seed,
            labels=labels,
            scores=show.folder / f"{name}.parquet",
            on_status=on_status,
            stop=show.stop,
        )
        with open_feed(job) as live:
            live.engine.run()
            if not live.engine.finished or live.scores is None:
                return False
            live.scores.finish(show.folder / f"{name}.parquet")
            summary = live.engine.summary()
    _say(
        f"   {name + ':':<10} {summary['records_in']:,} records, {summary['records_per_second']:,} a second, "
        f"{summary['alerts']:,} alerts, {summary['versions']} models"
    )
    return True


def _queue(show: Demo, name: str) -> list[PoolRow]:
    """What ``streamad queue`` would show."""
    with Reader(find_state(show.folder / f"{name}.state").store) as reader:
        return choose(reader.queue_rows(100_000), _LABELS, reader.asked())


def _label(asked: Sequence[PoolRow], path: Path) -> int:
    """Play the analyst, who knows what the generator knows; returns how many attacks there were."""
    verdicts = {row.event_id: row.record[KDD_LABEL] for row in asked}
    lines = [
        {
            "event_id": event,
            "label": "normal" if word == "normal." else "anomaly",
            "analyst": "demo",
            "labeled_at": "2026-01-01T00:00:00Z",
            "note": word,
        }
        for event, word in verdicts.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return sum(line["label"] == "anomaly" for line in lines)


def _show_alerts(show: Demo, name: str) -> None:
    with Reader(find_state(show.folder / f"{name}.state").store) as reader:
        alerts = [json.loads(line.text) for line in reader.alerts(0, 100_000)]
    _say(f"   the {_ALERTS_SHOWN} rarest of {len(alerts):,} alerts:")
    for alert in sorted(alerts, key=lambda alert: float(alert["p_value"]))[:_ALERTS_SHOWN]:
        why = ", ".join(
            f"{r['field']} {screen.safe(r['value'])} ({r['share']:.0%})" for r in alert["reasons"]
        )
        _say(f"     {alert['event_id']:<22} p {alert['p_value']:.1e}  {why}")


def _compare(rows: Sequence[tuple[str, np.ndarray[Any, Any]]], truth: np.ndarray[Any, Any]) -> None:
    table = Table(
        title=f"second half, {len(truth):,} records, {int(truth.sum()):,} attacks", title_justify="left"
    )
    table.add_column("")
    table.add_column("average precision", justify="right")
    table.add_column("attacks in the 500 rarest", justify="right")
    for name, scores in rows:
        top = truth[np.argsort(-scores, kind="stable")[:500]].sum()
        table.add_row(name, f"{average_precision_score(truth, scores):.3f}", f"{int(top)}")
    screen.console().print()
    screen.console().print(table)


def _say(text: str) -> None:
    screen.console().print(text, markup=False, highlight=False)
