"""Labels from a file: applied once, changed, withdrawn, seen everywhere, at a cost that does not grow."""

from __future__ import annotations

import json
import statistics
import time

import numpy as np
import pytest
from engines import engine
from feeds import FEED, stored, stored_alerts, write_labels, write_log
from streamad_connectors.memory import MemorySource, Records

from streamad.cli import main
from streamad.learning.label_file import give_labels

RECORDS = 6000
TRAINING = {"warm_up": {"records": 2000}, "every_records": None, "every_labels": None}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("lines"), RECORDS, share=0.2)


class Daemon:
    """A daemon that is started again for every stretch of records."""

    def __init__(self, folder, lines, state="state"):
        self.folder, self.lines, self.state, self.source = folder, lines, state, MemorySource()

    def run(self, records, *files):
        """Give label files, then score so many more records; what was learned."""
        self.source.add(Records("p", self.lines[:records]))
        del self.lines[:records]
        with engine(
            self.folder,
            self.source,
            state=self.state,
            made_by="run",
            training=TRAINING,
            labels={"sample": 1.0},
        ) as live:
            outcomes = [dict(give_labels(live.store, file).outcomes) for file in files]
            live.engine.run()
            learner = live.engine._in_force
            counts = {k: v for k, v in live.engine.status()["labels"].items() if v}
            return outcomes, live.feed.book.position, counts, learner.scorer

    def log(self):
        return stored(self.folder / self.state, "SELECT event_id, verdict FROM label_log ORDER BY n")


def write_verdicts(folder, name, *verdicts):
    path = folder / name
    path.write_text(
        "".join(
            json.dumps({"event_id": event, "label": verdict, "analyst": "a", "labeled_at": at}) + "\n"
            for event, verdict, at in verdicts
        )
    )
    return path


def test_labels_of_a_file_count_once_until_they_are_changed_or_withdrawn(tmp_path, lines, capsys):
    daemon = Daemon(tmp_path, list(lines))
    labels = write_labels(tmp_path, lines[:2500], 50, position=lambda row: f"p:{row}")
    given = [json.loads(line) for line in labels.read_text().splitlines()]
    assert daemon.run(2500)[1:3] == (0, {})
    outcomes, position, counts, _ = daemon.run(500, labels)
    assert (outcomes, position, counts) == ([{"added": 50}], 50, {"anomaly": 25, "normal": 25})
    assert daemon.log() == [(label["event_id"], label["label"]) for label in given]

    outcomes, position, counts, before = daemon.run(500, labels, labels)
    assert (outcomes, position) == ([{"known": 50}] * 2, 50)

    event, verdict = given[7]["event_id"], given[7]["label"]
    other = "normal" if verdict == "anomaly" else "anomaly"
    older = write_verdicts(tmp_path, "older.ndjson", (event, other, "2025-01-01T00:00:00Z"))
    assert daemon.run(500, older)[:3] == ([{"added": 1}], 50, {"anomaly": 25, "normal": 25})
    newer = write_verdicts(tmp_path, "newer.ndjson", (event, other, "2026-02-01T00:00:00Z"))
    _, position, counts, _ = daemon.run(500, newer)
    assert (position, counts[other], counts[verdict]) == (51, 26, 24)
    back = write_verdicts(tmp_path, "back.ndjson", (event, verdict, "2026-03-01T00:00:00Z"))
    assert daemon.run(500, back)[1:3] == (52, {"anomaly": 25, "normal": 25})
    gone = write_verdicts(tmp_path, "gone.ndjson", (event, "withdrawn", "2026-04-01T00:00:00Z"))
    _, position, counts, after = daemon.run(500, gone)
    assert (position, counts[verdict], counts[other]) == (53, 24, 25)
    assert daemon.log()[50:] == [(event, other), (event, verdict), (event, "withdrawn")]
    assert (before.labels_applied, after.labels_applied) == (50, 49)

    alerts = stored_alerts(tmp_path / "state")
    assert {alert["labels_applied"] for alert in alerts} == {0, 50, 49}
    assert all((alert["anomaly_probability"] is None) == (not alert["labels_applied"]) for alert in alerts)
    main(["status", str(tmp_path / "feed.yaml"), "--state", str(tmp_path / "state")])
    status = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert status["labels"] == {verdict: 24, other: 25, "waiting": 0}
    assert status["labels_applied"] == 53


def test_a_withdrawn_label_leaves_the_head_that_never_had_it(tmp_path, lines):
    heads = {}
    for name in ("with", "without"):
        daemon = Daemon(tmp_path, list(lines), state=name)
        labels = write_labels(tmp_path, lines[:2000], 20, position=lambda row: f"p:{row}")
        daemon.run(2500, labels)
        if name == "with":
            event = f"{FEED}/p:2100"
            once = write_verdicts(tmp_path, "once.ndjson", (event, "anomaly", "2026-01-02T00:00:00Z"))
            heads["between"] = daemon.run(200, once)[3].head
            gone = write_verdicts(tmp_path, "gone.ndjson", (event, "withdrawn", "2026-01-03T00:00:00Z"))
            daemon.run(200, gone)
        heads[name] = daemon.run(200)[3].head
    assert heads["with"].count_anomaly == heads["without"].count_anomaly == 10
    np.testing.assert_allclose(heads["with"].mean, heads["without"].mean, rtol=1e-6, atol=1e-9)
    assert np.abs(heads["between"].mean - heads["without"].mean).max() > 1e-3


def test_the_five_hundredth_label_costs_what_the_first_did(tmp_path, lines):
    times = []
    daemon = Daemon(tmp_path, list(lines))
    daemon.run(3000)
    with engine(tmp_path, daemon.source, made_by="run", training=TRAINING, labels={"sample": 1.0}) as live:
        live.engine.run()
        learner = live.engine._in_force
        for row in range(500):
            truth = "normal" if lines[row].endswith(b",normal.") else "anomaly"
            live.store.add_labels([{"event_id": f"{FEED}/p:{row}", "label": truth}])
            began = time.perf_counter()
            learner.take_news(3000, ())
            times.append(time.perf_counter() - began)
        assert live.feed.book.position == learner.scorer.labels_applied == 500
    first, last = statistics.median(times[:50]), statistics.median(times[450:])
    assert last < 3 * first, (first, last)


def test_labels_in_a_replay_take_effect_a_fixed_number_of_records_after_theirs(tmp_path, lines):
    labels = write_labels(tmp_path, lines, 50, position=lambda row: f"p:{row}")
    options = {
        "training": TRAINING,
        "labels": {"delay": 700},
        "limits": {"batch_records": 100, "commit_batches": 2},
    }
    with engine(tmp_path, [Records("p", lines)], **options) as live:
        assert give_labels(live.store, labels).outcomes["waiting"] == 50
        live.engine.run()
    rows = stored(tmp_path / "state", "SELECT event_id, record_number FROM label_log ORDER BY n")
    delays = [number - int(event.rpartition(":")[2]) for event, number in rows]
    met = [json.loads(line)["event_id"] for line in labels.read_text().splitlines()]
    in_time = [event for event in met if int(event.rpartition(":")[2]) + 701 <= RECORDS]
    assert [event for event, _ in rows] == in_time
    assert min(delays) > 700
    assert max(delays) <= 801
