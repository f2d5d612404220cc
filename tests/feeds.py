"""Small feeds of generated traffic with configs that learn fast, and how the tests run them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import yaml
from streamad_connectors.synthetic import generate_lines

from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_FIELDS

DRIVER = Path(__file__).with_name("crash_driver.py")
FEED = "feed"


def schema():
    kinds = dict.fromkeys(KDD_FIELDS, "numeric") | dict.fromkeys(KDD_CATEGORICAL, "categorical")
    kinds |= dict.fromkeys(KDD_BOOLEAN, "boolean") | {"label": "label"}
    return {"fields": kinds, "truth": {"normal": ["normal."]}}


def merged(base, changes):
    """`base` with the nested `changes` laid over it."""
    out = dict(base)
    for key, value in changes.items():
        out[key] = (
            merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
        )
    return out


def write_config(folder, **changes):
    """A config for `folder`/kdd.log that fits within a second; `changes` by section."""
    tree = {
        "streamad": 1,
        "feed": FEED,
        "source": {"type": "files", "format": "kdd", "paths": ["kdd.log"]},
        "schema": schema(),
        "detector": {"members": 2, "hidden": [8], "latent": 3, "epochs": 1, "device": "cpu"},
        "alerts": {"budget": 0.05},
        "labels": {"delay": 300},
        "training": {
            "warm_up": {"records": 2048},
            "window": {"records": 4000},
            "every_records": 6000,
            "every_labels": 1000,
            "effect_after": 2500,
            "promote": "always",
        },
        "limits": {"batch_records": 256, "commit_batches": 4},
    }
    path = Path(folder) / "feed.yaml"
    path.write_text(yaml.safe_dump(merged(tree, changes), sort_keys=False))
    return path


def write_kafka_config(folder, source, **changes):
    """As `write_config`, with KDD lines from a topic."""
    path = write_config(folder, **changes)
    tree = yaml.safe_load(path.read_text()) | {"source": {"type": "kafka", "format": "kdd"} | source}
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def write_log(folder, records, *, seed=5, share=0.05, junk=0):
    """`records` lines of traffic in `folder`/kdd.log; every `junk`-th one is cut short."""
    lines = generate_lines(seed, 0, records, anomaly_share=share).splitlines(keepends=True)
    if junk:
        lines[junk - 1 :: junk] = [line[: len(line) // 2] + b"\n" for line in lines[junk - 1 :: junk]]
    (Path(folder) / "kdd.log").write_bytes(b"".join(lines))
    return [line.rstrip(b"\n") for line in lines]


def write_labels(folder, lines, count, *, first=0, position=lambda row: f"kdd.log:{row + 1}"):
    """`count` verdicts as the log's own truth has them, spread over the lines from `first` on, half of them attacks."""
    truth = [line.endswith(b",normal.") for line in lines]
    chosen = []
    for verdict in ("normal", "anomaly"):
        rows = [
            row
            for row in range(first, len(lines))
            if truth[row] == (verdict == "normal") and lines[row].count(b",") == 41
        ]
        step = len(rows) / (count // 2)
        chosen += [(rows[int(i * step)], verdict) for i in range(count // 2)]
    path = Path(folder) / "labels.ndjson"
    path.write_text(
        "".join(
            json.dumps(
                {
                    "event_id": f"{FEED}/{position(row)}",
                    "label": verdict,
                    "analyst": "a",
                    "labeled_at": "2026-01-01T00:00:00Z",
                }
            )
            + "\n"
            for row, verdict in sorted(chosen)
        )
    )
    return path


class Driver:
    """Runs of the crash driver, each in a process of its own."""

    def __init__(self, folder):
        self._folder = Path(folder)
        self._server = subprocess.Popen(
            [sys.executable, str(DRIVER), "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def run(self, config, state, **job):
        """Exit code (-9: killed), summary and log of one run."""
        out, err = self._folder / "out.json", self._folder / "err.txt"
        told = {"config": config, "state": state, "out": out, "err": err, **job}
        self._server.stdin.write(json.dumps(told, default=str) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return code, json.loads(out.read_text() or "null"), err.read_text()


def stored(state, query):
    """Rows of the state's store."""
    with closing(sqlite3.connect(f"file:{state}/store.db?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def stored_alerts(state):
    """The alerts in order, less the time of their scoring."""
    return [
        json.loads(line) | {"scored_at": ""}
        for (line,) in stored(state, "SELECT line FROM alerts ORDER BY n")
    ]


def checkpoint(state, part):
    """One part of the last checkpoint; None before the first commit."""
    if not (Path(state) / "format.json").exists():
        return None
    try:
        rows = stored(state, f"SELECT value FROM checkpoint WHERE name = '{part}'")
    except sqlite3.OperationalError:  # the store is only just being made
        return None
    return json.loads(rows[0][0]) if rows else None


def committed(state):
    """How many records were committed so far."""
    engine = checkpoint(state, "engine")
    return engine["records"] if engine else 0
