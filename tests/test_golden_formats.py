"""Config, alert, label and rejected entry of format 1, written once and kept: what is read and written stays so.

Formats grow by addition alone, so new keys are allowed everywhere, and nothing else is.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from commands_help import NOW, open_store
from records_help import block, decoder

from streamad.config import load_config
from streamad.learning.label_file import read_labels
from streamad.records.schema import PayloadFormat, Schema, TimeSpec
from streamad.runtime.committer import rejected_rows
from streamad.scoring.alerts import Describer
from streamad.scoring.reasons import Reason
from streamad.scoring.scorer import Scores
from streamad.state.times import format_time

GOLDEN = Path(__file__).parent / "golden" / "formats_1"
SCHEMA = Schema(
    fields={"user": "id", "at": "time", "bytes": "numeric", "service": "categorical"},
    time=TimeSpec(field="at"),
)
ROWS = [b"ann,2026-01-01T00:00:00.5Z,54540,ftp", b"bob,2026-01-01T00:00:00Z,many,http"]
SCORED_AT = "2026-01-01T00:00:01.000Z"


def golden(name):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def common(found, expected):
    """`found` without the keys that a later streamad added."""
    if isinstance(expected, dict):
        return {key: common(found[key], value) for key, value in expected.items()}
    if isinstance(expected, list):
        return [common(*pair) for pair in zip(found, expected, strict=True)]
    return found


def test_every_key_of_a_config_of_format_1_is_read():
    found = json.loads(load_config(GOLDEN / "config.yaml").model_dump_json(by_alias=True))
    expected = golden("config.json")
    assert common(found, expected) == expected


def decoded():
    reader = decoder(PayloadFormat(header=False), SCHEMA)
    return reader, reader.decode(block(ROWS, tuple(SCHEMA.fields)), 0)


def test_an_alert_is_written_in_format_1():
    reader, batch = decoded()
    describer = Describer("net", "dp_vae", SCHEMA, reader, reasons=2, candidates=0, sample=0.0, seed=0)
    why = (Reason(0, 0.6, 212.0, (100.0, 400.0), ()), Reason(1, 0.4, "http", ("http",), ()))
    scorer = SimpleNamespace(version=7, labels_applied=112, labeled=True, explain=lambda *_: [why])
    scores = Scores(
        score=np.array([14.25, np.nan]),
        p_value=np.array([0.0003, np.nan]),
        probability=np.array([0.93, np.nan]),
        features=np.zeros((2, 1)),
        base=np.zeros(2),
    )
    described = describer.describe(batch, scorer, scores, 0.001, scorer.labels_applied, SCORED_AT)
    expected = golden("alert.json")
    assert list(described.alerts[0])[: len(expected)] == list(expected)
    assert [common(alert, expected) for alert in described.alerts] == [expected]


def test_a_rejected_entry_is_written_in_format_1():
    _, batch = decoded()
    expected = golden("rejected.json")
    assert [common(row, expected) for row in rejected_rows(batch, SCORED_AT)] == [expected]


def test_labels_of_format_1_are_taken_and_given_back(tmp_path):
    lines = [line.label for line in read_labels(GOLDEN / "labels.ndjson")]
    with open_store(tmp_path) as store:
        assert [outcome.outcome for outcome in store.add_labels(lines)] == ["added"] * 3
        given = [label for event in ("net/log.csv:1", "net/log.csv:2") for label in store.labels_of(event)]
        verdicts = [(change.event_id, change.verdict, change.record) for change in store.news().changes]
    assert format_time(NOW) == lines[0]["labeled_at"]
    wanted = [{key: value for key, value in line.items() if key != "record"} for line in lines]
    assert [common(label, line) for label, line in zip(given, wanted, strict=True)] == wanted
    assert verdicts[0] == ("net/log.csv:1", "anomaly", lines[0]["record"])
