"""Versions on a real broker: what is no version, and who gives which number to what."""

from __future__ import annotations

import hashlib
import json

import pytest
from kafka_updates_help import publisher
from test_kafka_health import LINES, artifact, scorer, until  # noqa: F401  # fixtures

from streamad.state.artifacts import MANIFEST, SEAL

pytestmark = pytest.mark.kafka

NEEDED = ("schema", "detector", "encoder", "label_position", "labeled_events", "labeled_verdicts", "loss")
KINDS = {"schema": {"fields": 3}, "detector": "none", "encoder": [], "label_position": "0", "loss": None}


def changed(files, change, version):
    """An artifact of another manifest and number, rightly sealed."""
    text = json.dumps(change(json.loads(files[MANIFEST]) | {"version": version})).encode()
    return files | {MANIFEST: text, SEAL: hashlib.sha256(text).hexdigest().encode()}


def said(scorer, event):  # noqa: F811
    """The lines of a scorer's log that tell of an event."""
    lines = [json.loads(line) for line in scorer.said.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_a_scorer_keeps_its_own_version_whatever_is_promoted_and_says_why_in_a_sentence(
    scorer,  # noqa: F811
    artifact,  # noqa: F811
):
    one = scorer(watchdog_seconds=0)
    voice = publisher(one.broker, one.topics, keep_versions=99)
    changes = [lambda tree, name=name: {k: v for k, v in tree.items() if k != name} for name in NEEDED]
    changes += [lambda tree, name=name: tree | {name: KINDS[name]} for name in KINDS]
    changes += [lambda tree: tree | {"version": 1}, lambda _: {}]
    try:
        until(lambda: voice.wait_until_active(1))
        for version, change in enumerate(changes, 2):
            voice.publish(version, changed(artifact, change, version))
            until(lambda version=version: len(said(one, "version_unreadable")) == version - 1)
        one.feed(0, LINES[:1000])
        until(lambda: one.committed.get(0) == 1000)
        assert one.ask("/healthz") == (200, "ok\n")
        sound = len(changes) + 2
        voice.publish(sound, changed(artifact, lambda tree: tree, sound))
        until(lambda: [line["version"] for line in said(one, "model_active")] == [1, sound])
    finally:
        voice.close()
    told = said(one, "version_unreadable")
    assert [line["version"] for line in told] == list(range(2, sound))
    missing = [line["reason"].rpartition(": manifest.json: ")[2] for line in told[: len(NEEDED)]]
    assert missing == [f"{name}: Field required" for name in NEEDED]
    assert "Traceback" not in one.said
    assert one.process.poll() is None
