"""A small state, made without a model, for the tests of the commands."""

from __future__ import annotations

import base64
import json

from streamad.cli import main
from streamad.config import load_config
from streamad.ports import Commit
from streamad.state.directory import hold_state
from streamad.state.schema import dump
from streamad.state.store import Store
from streamad.state.times import format_time, parse_time

NOW = parse_time("2026-01-01T00:00:00Z")
HOSTILE = "\x1b]0;owned\x07\n[link=file:///]x[/link] \u202etxt\u2066 \x9b31m \u2028 [bold]"
HOSTILE_SHOWN = "\\x1b]0;owned\\x07\\n[link=file:///]x[/link] \\u202etxt\\u2066 \\x9b31m \\u2028 [bold]"
"""How it looks wherever people see it."""

CONFIG = """\
streamad: 1
feed: net
source: {type: files, paths: [log.csv], format: csv}
schema: {fields: {user: id, bytes: numeric, service: categorical}}
"""


def config(tmp_path):
    """The feed's config file, written once: another thread may be reading it."""
    path = tmp_path / "net.yaml"
    if not path.exists():
        path.write_text(CONFIG, encoding="utf-8")
    return path


def seen(number, *, kind="alert", key=None, p_value=0.0001, probability=None, signature="http", **record):
    """A pool row."""
    return {
        "event_id": f"net/log.csv:{number}",
        "key": key,
        "kind": kind,
        "record_number": number,
        "score": 5.0,
        "p_value": p_value,
        "probability": probability,
        "signature": signature,
        "reasons": [{"field": "bytes", "value": 54540, "share": 0.414}],
        "record": {"user": key, "bytes": 54540, "service": "http", **record},
    }


def alert(row, *, repeat_of=None):
    """The alert of a pool row."""
    return {
        "format": 1,
        "feed": "net",
        "alert_id": f"alert of {row['event_id']}",
        "event_id": row["event_id"],
        "key": row["key"],
        "event_time": None,
        "scored_at": format_time(NOW),
        "score": row["score"],
        "p_value": row["p_value"],
        "threshold": 0.001,
        "anomaly_probability": row["probability"],
        "detector": "dp_vae",
        "version": 3,
        "labels_applied": 2,
        "repeat_of": repeat_of,
        "reasons": row["reasons"],
        "record": row["record"],
    }


def rejected(number, payload, reason="too_few_fields", field=None):
    """A rejected entry."""
    return {
        "position": f"log.csv:{number}",
        "reason": reason,
        "field": field,
        "detail": "2 of 3",
        "bytes_base64": base64.b64encode(payload).decode(),
        "length": len(payload),
        "sha256": "",
    }


def open_store(tmp_path, *, made_by="run"):
    """The feed's store, its state made where it is not there yet."""
    path = tmp_path / "net.state"
    with hold_state(path, feed="net", made_by=made_by, schema=load_config(config(tmp_path)).schema_) as held:
        return Store(held.state.store, feed="net", made_by=made_by, clock=lambda: NOW)


def fill(tmp_path, *rows, made_by="run", repeats=None, muted=None, **parts):
    """A state with these pool rows; those of kind alert are alerts, `repeats` says which and `muted` by what."""
    alerts = [
        alert(row, repeat_of=(repeats or {}).get(row["event_id"])) for row in rows if row["kind"] == "alert"
    ]
    alerts = [
        one | ({"muted": muted[one["event_id"]]} if one["event_id"] in (muted or {}) else {})
        for one in alerts
    ]
    numbers = [row["record_number"] for row in rows if row["kind"] == "alert"]
    with open_store(tmp_path, made_by=made_by) as store:
        store.commit(
            Commit({"log.csv": {}}, 100, alerts=alerts, alert_numbers=numbers, pool=list(rows), **parts)
        )
    return [dump(one) for one in alerts]


class Commands:
    """Runs commands in this process: as for a program, or as on a terminal."""

    def __init__(self, tmp_path, capsys, monkeypatch):
        self._config, self._capsys, self._patch = str(config(tmp_path)), capsys, monkeypatch

    def __call__(self, name, *words, terminal=False, code=0):
        """What one command wrote to stdout and to stderr."""
        with self._patch.context() as patch:
            patch.setattr("streamad.commands.screen.piped", lambda: not terminal)
            assert main([name, self._config, *words]) == code
        return self._capsys.readouterr()

    def rows(self, name, *words, code=0):
        """The lines of NDJSON that one command wrote."""
        return [json.loads(line) for line in self(name, *words, code=code).out.splitlines()]

    def screen(self, name, *words, code=0):
        """The lines that one command showed on a terminal."""
        return self(name, *words, terminal=True, code=code).out.splitlines()
