"""``streamad demo --kafka``: the whole loop through topics, by processes of their own."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.table import Table

from streamad.commands import screen
from streamad.commands.demo_processes import Play, StoppedError, output
from streamad.commands.running import stop_on_signals
from streamad.commands.shapes import Alert, sound
from streamad.config import load_config
from streamad.errors import UserError
from streamad.ports import ClusterPlugin, SourceContext, SourcePlugin
from streamad.records.batch import Block
from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_FIELDS, KDD_LABEL, kdd_object
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions
from streamad.wiring.desk import open_desk
from streamad.wiring.plugins import find_plugin, validated

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from streamad.ports import Desk, Stage

_PART = 30_000
_FEW = 2000
"""Records that are sent at once, and with which a training can begin."""
_LABELS = 100
_RAREST = 100
_SHOWN = 5

_SETTLING = 2.0
"""Seconds after which labels count on every scorer."""

_NORMAL = "normal."


def demo(args: argparse.Namespace) -> int:
    """Make topics, send, score, ask, label, send more, compare, and remove all of it."""
    configure_logs(LogOptions(level="error"))
    began, stop = time.monotonic(), threading.Event()
    feed = f"demo-{secrets.token_hex(3)}"
    cluster: ClusterPlugin = find_plugin(Path("demo"), "streamad.states", "state", {"type": "kafka"})
    state = {"type": "kafka", "brokers": args.kafka}
    options = validated(Path("demo"), cluster.options, state, "state")
    with stop_on_signals(stop), _folder(args.state) as folder, ExitStack() as stack:
        stage = cluster.open_stage(options, feed)
        stack.callback(stage.close)
        play = Play(folder, feed, args.seed, stop)
        stack.callback(play.close)
        _write_config(play, stage, state)
        try:
            _steps(play, stage, args.kafka)
        except StoppedError:
            return 0
    _say(f"\nThat took {time.monotonic() - began:.0f} s. The topics are removed again.")
    _say(f"  {_program()} init kafka://{args.kafka}/TOPIC --out feed.yaml makes a config of yours.")
    return 0


def _steps(play: Play, stage: Stage, brokers: str) -> None:
    lines = _lines(play.seed, 2 * _PART)
    _say(f"1. Topics {play.feed}.* of its own at {brokers}; a trainer and two scorers are started.")
    play.start("trainer", "trainer", str(play.config), "--seed", str(play.seed))
    for name in ("first", "second"):
        play.start(
            f"{name} scorer", "run", str(play.config), "--set", f"state.transactional_id={play.feed}-{name}"
        )
    with open_desk(play.config, load_config(play.config)) as desk:
        first = _part(play, stage, desk, lines[:_PART])
        _show_rarest(first)
        found = _label(play)
        _say(f"   The analyst found {found} attacks among them, and said so on {play.feed}.labels.")
        _say("\n3. More records; the trainer learns what the labels say, and publishes version 2:")
        _send(play, stage, lines[_PART : _PART + _FEW])  # trainings begin with records
        play.wait(lambda: _promoted(desk) > 1)
        play.stop.wait(_SETTLING)
        known = {alert["event_id"] for alert in first}
        second = [
            alert
            for alert in _part(play, stage, desk, lines[_PART + _FEW :])
            if alert["event_id"] not in known
        ]
    halves = {"no labels": first, f"{_LABELS} labels": second}
    _compare(halves, [_attacks(lines[:_PART]), _attacks(lines[_PART:])])


def _part(play: Play, stage: Stage, desk: Desk, lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """Send records and wait until they are scored; returns all alerts that there are then."""
    began = time.monotonic()
    _send(play, stage, lines)
    sent = time.monotonic() - began
    play.wait(lambda: _promoted(desk))
    play.wait(lambda: _is_scored(desk))
    alerts = [*sound(Alert, desk.newest("alerts", 0))]
    several = len(alerts) - len({alert["event_id"] for alert in alerts})
    _say(
        f"   {len(lines):,} made-up connections, sent in {sent:.1f} s, scored after {time.monotonic() - began:.0f} s by "
        f"version {_promoted(desk)}; {len(alerts):,} alerts by now, {several} of them twice"
    )
    return alerts


def _send(play: Play, stage: Stage, lines: Sequence[bytes]) -> None:
    for start in range(0, len(lines), _FEW):
        if play.stop.is_set():
            raise StoppedError
        stage.send([kdd_object(line) for line in lines[start : start + _FEW]])


def _promoted(desk: Desk) -> int:
    """The version that scores, 0 before the first."""
    return next((version.number for version in desk.versions() if version.promoted), 0)


def _is_scored(desk: Desk) -> bool:
    standing = desk.standing()
    return standing.begun and not any(standing.lag.values())


def _label(play: Play) -> int:
    """Play the analyst, who knows what the generator knows; returns how many attacks there were."""
    asked = output("queue", str(play.config), "--limit", str(_LABELS), "--json").splitlines()
    labels = [_verdict(json.loads(row)) for row in asked]
    path = play.folder / "labels.ndjson"
    path.write_text("".join(json.dumps(label) + "\n" for label in labels), encoding="utf-8")
    output("label", str(play.config), "--from", str(path))
    _say(
        f"\n2. streamad queue asked about {len(labels)} events of {play.feed}.candidates and {play.feed}.alerts."
    )
    return sum(label["label"] == "anomaly" for label in labels)


def _verdict(row: dict[str, Any]) -> dict[str, Any]:
    truth = row["record"][KDD_LABEL]
    verdict = "normal" if truth == _NORMAL else "anomaly"
    return {"event_id": row["event_id"], "label": verdict, "analyst": "demo", "note": truth}


# ---- before and after --------------------------------------------------------------------------------


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """``--state``, which is kept, or one that is removed."""
    if given is None:
        with tempfile.TemporaryDirectory(prefix="streamad-demo-") as made:
            yield Path(made)
        return
    if (given / "demo.yaml").exists():
        raise UserError(f"{given} holds an earlier demo already; remove it or name another folder")
    given.mkdir(parents=True, exist_ok=True)
    yield given


def _write_config(play: Play, stage: Stage, state: dict[str, Any]) -> None:
    words = dict.fromkeys(KDD_FIELDS, "numeric") | dict.fromkeys(KDD_CATEGORICAL, "categorical")
    words |= dict.fromkeys(KDD_BOOLEAN, "boolean") | {KDD_LABEL: "label"}
    tree = {
        "streamad": 1,
        "feed": play.feed,
        "source": dict(stage.source()),
        "state": state,
        "schema": {"fields": words},
        "alerts": {"budget": 0.01},
        "training": {
            "warm_up": {"records": _PART // 3},
            "window": {"records": _PART},
            "every_records": None,
            "every_labels": _LABELS // 5,  # the queue may ask about fewer than it was asked for
        },
    }
    play.config.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def _lines(seed: int, count: int) -> list[bytes]:
    """The generator's records, in its order."""
    tree = {"type": "generator", "records": count}
    plugin: SourcePlugin = find_plugin(Path("demo"), "streamad.sources", "source", tree)
    context = SourceContext(Path(), record_bytes=1 << 20, seed=seed, bounded=True)
    source = plugin.open(validated(Path("demo"), plugin.options, tree, "source"), context)
    found: list[bytes] = []
    while isinstance(got := source.poll(count, 0), Block):
        found += [got.payload(row) for row in range(len(got))]
    return found


def _attacks(lines: Sequence[bytes]) -> int:
    return sum(not line.endswith(f",{_NORMAL}".encode()) for line in lines)


# ---- what people see ---------------------------------------------------------------------------------


def _show_rarest(alerts: Sequence[dict[str, Any]]) -> None:
    _say(f"   the {_SHOWN} rarest of {len(alerts):,} alerts:")
    for alert in _rarest(alerts, _SHOWN):
        _say(
            f"     {alert['event_id']:<30} p {alert['p_value']:.1e}  {screen.safe(screen.reasons(alert['reasons']))}"
        )


def _rarest(alerts: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return sorted(alerts, key=lambda alert: (alert["p_value"], -alert["score"]))[:count]


def _compare(halves: Mapping[str, Sequence[dict[str, Any]]], attacks: Sequence[int]) -> None:
    table = Table()
    for name in ("", "attacks", "alerts", "attacks among them", f"in the {_RAREST} rarest"):
        table.add_column(name, justify="right" if name else "left")
    for (name, alerts), count in zip(halves.items(), attacks, strict=True):
        hits = [
            sum(a["record"][KDD_LABEL] != _NORMAL for a in part)
            for part in (alerts, _rarest(alerts, _RAREST))
        ]
        table.add_row(name, f"{count:,}", f"{len(alerts):,}", *(f"{hit:,}" for hit in hits))
    screen.console().print()
    screen.console().print(table)


def _program() -> str:
    return sys.argv[0] if shutil.which("streamad") is None else "streamad"


def _say(text: str) -> None:
    screen.console().print(text, markup=False, highlight=False)
