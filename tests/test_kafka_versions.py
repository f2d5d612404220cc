"""Versions on a real broker: what is no version, and who gives which number to what."""

from __future__ import annotations

import hashlib
import json

import pytest
from kafka_topics import produce
from kafka_updates_help import active, files, first_news, publisher, reading
from streamad_connectors.kafka.topic_reader import TopicReader
from test_kafka_health import LINES, artifact, scorer, until  # noqa: F401  # fixtures

from streamad.errors import CommitAbortedError, NumberTakenError
from streamad.ports import GivenLabel, Promoted
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


# ---- labels that a version has learned -----------------------------------------------------------------


def test_a_first_look_misses_no_label_that_its_version_has_learned(broker, names, monkeypatch):
    label, end, looks = {"event_id": "f/t/0@1"}, TopicReader._end, []

    def interrupted(reader, topic):
        """Just after the first end is asked for a label comes, and a version that has learned it."""
        found = end(reader, topic)
        if len(reader._next) == 2 and not looks:
            looks.append(topic)
            produce(broker, names.labels, [json.dumps(label).encode()])
            trainer.publish(1, files(1))
        return found

    with active(broker, names) as trainer, reading(broker, names) as updates:
        monkeypatch.setattr(TopicReader, "_end", interrupted)
        news = updates.poll()
    assert looks == [names.control]
    assert news[0] == GivenLabel(0, label)


# ---- numbers -------------------------------------------------------------------------------------------


def test_one_number_is_never_two_artifacts_and_a_missing_one_is_passed_over_on_the_way_back(
    broker, names, monkeypatch
):
    other = publisher(broker, names)
    monkeypatch.setattr(other._ownership, "owned", lambda _timeout: True)
    monkeypatch.setattr(other._ownership, "confirmed", lambda: True)
    with active(broker, names) as frozen:
        frozen.publish(1, files(1))
        begun = frozen.last_version() + 1  # the number of a training, in which this trainer is frozen
        assert other.wait_until_active(1)
        assert other.last_version() + 1 == begun
        other.publish(begun, files(22))
        other.publish(4, files(4))  # the training that was to be 3 has failed
        with pytest.raises(NumberTakenError, match="version 4 is there already"):
            frozen.publish(begun, files(2))
        with pytest.raises(CommitAbortedError, match="is not ours any more"):
            frozen.publish(5, files(5))
        assert frozen.wait_until_active(20)  # it still owns the partition, and takes up its name again
        with pytest.raises(NumberTakenError, match="version 4 is there already"):
            frozen.publish(begun, files(2))
        assert [frozen.last_version(), frozen._ledger.previous()] == [4, 2]
        frozen.promote(2)
        assert frozen._ledger.previous() == 1
    other.close()
    assert first_news(broker, names) == [Promoted(2, files(22))]
