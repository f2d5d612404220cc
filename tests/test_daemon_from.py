"""A daemon that starts from a finished replay: model, labels and calibration come along, positions do not."""

from __future__ import annotations

import json

import numpy as np
from engines import engine
from feeds import FEED, stored, stored_alerts, write_labels, write_log
from streamad_connectors.memory import MemorySource, Records

from streamad.learning.label_file import give_labels

TRAINING = {"warm_up": {"records": 2000}, "every_records": 2048, "effect_after": 1024, "every_labels": 30}


def test_a_daemon_from_a_replay_knows_its_labels_and_goes_on_learning(tmp_path):
    lines = write_log(tmp_path, 5000, share=0.2)
    labels = write_labels(tmp_path, lines, 50, position=lambda row: f"p:{row}")
    with engine(tmp_path, [Records("p", lines)], training=TRAINING, labels={"delay": 0}) as live:
        give_labels(live.store, labels)
        live.engine.run()
        assert live.feed.book.position == 50
        taught = live.engine._in_force.scorer
        assert 0 < taught.label_position < 50
    source = MemorySource([Records("p", lines[:1000])])
    options = {
        "state": "daemon",
        "made_by": "run",
        "training": TRAINING | {"every_records": None, "every_labels": None},
    }
    with engine(tmp_path, source, origin="state", **options) as live:
        live.engine.run()
        scorer = live.engine._in_force.scorer
        assert (scorer.version, scorer.labels_applied, live.feed.book.position) == (taught.version, 50, 50)
        np.testing.assert_array_equal(scorer.head.mean, taught.head.mean)
        assert live.engine.summary()["records_in"] == 1000
    assert {alert["labels_applied"] for alert in stored_alerts(tmp_path / "daemon")} == {50}

    event = json.loads(labels.read_text().splitlines()[0])["event_id"]
    source.add(Records("p", lines[1000:2000]))
    with engine(tmp_path, source, **options) as live:
        (outcome,) = live.store.add_labels([{"event_id": event, "label": "withdrawn"}])
        assert outcome.outcome == "added"
        live.engine.run()
        assert (live.engine._in_force.scorer.labels_applied, live.feed.book.position) == (49, 51)
    with engine(tmp_path, source, **options) as live:
        live.engine.run()
        assert (live.engine._in_force.scorer.labels_applied, live.feed.book.position) == (49, 51)
    log = stored(tmp_path / "daemon", "SELECT event_id, verdict FROM label_log ORDER BY n")
    assert (len(log), log[50]) == (51, (event, "withdrawn"))
    assert event.startswith(f"{FEED}/p:")
