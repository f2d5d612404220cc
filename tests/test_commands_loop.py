"""The commands together, as a user runs them: a replay, questions, labels, a second replay that knows better."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """\
streamad: 1
feed: gen
source: {{type: generator, records: 8000, anomaly_share: 0.02, format: kdd}}
{schema}
detector: {{members: 1, epochs: 1}}
training: {{warm_up: {{records: 3000}}}}
limits: {{batch_records: 500, commit_batches: 1}}
"""
SCHEMA = (Path(__file__).parents[1] / "configs" / "generator.yaml").read_text(encoding="utf-8")
LIGHT = ("labeling", "reading", "showing", "status", "models", "stored", "screen")


def streamad(*words, code=0):
    """The rows that one command printed, run as a user runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "streamad", *map(str, words)], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == code, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "gen.yaml"
    schema = re.search(r"^schema:\n(?:[ #].*\n)+", SCHEMA, re.MULTILINE)
    path.write_text(CONFIG.format(schema=schema[0]), encoding="utf-8")
    return path


def test_what_the_queue_asks_and_a_user_answers_counts_in_the_next_replay(config, tmp_path):
    (first,) = streamad("replay", config)
    assert first["records_in"] == first["scored"] == 8000
    alerts = streamad("alerts", config, "--limit", "0")
    assert len(alerts) == first["alerts"] > 0
    assert streamad("show", config, alerts[0]["event_id"])[0]["record"] == alerts[0]["record"]
    # A label counts from the commit after its record on: those of the last batch may come too late.
    asked = [row for row in streamad("queue", config) if int(row["event_id"].rpartition(":")[2]) <= 7500][:10]
    verdicts = ["normal" if row["record"]["label"] == "normal." else "anomaly" for row in asked]
    labels = [{"event_id": row["event_id"], "label": v} for row, v in zip(asked, verdicts, strict=True)]
    file = tmp_path / "labels.ndjson"
    file.write_text("\n".join(map(json.dumps, labels)), encoding="utf-8")
    assert streamad("label", config, "--from", file) == [
        {"added": 10, "known": 0, "waiting": 0, "refused": 0}
    ]
    (second,) = streamad("replay", config, "--fresh")
    (status,) = streamad("status", config)
    assert second["labels"] == status["labels_applied"] == 10
    assert status["labels"] == {
        "anomaly": verdicts.count("anomaly"),
        "normal": verdicts.count("normal"),
        "waiting": 0,
    }
    assert (status["state"], status["process"], status["progress"]) == ("stopped", None, 1.0)


def test_commands_beside_the_daemon_start_without_torch_polars_and_numba():
    imports = ", ".join(f"streamad.commands.{name}" for name in LIGHT)
    heavy = "{'torch', 'polars', 'numba', 'sklearn'}"
    code = f"import sys, {imports}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"


def test_products_are_made_on_one_thread_as_more_wait_for_each_other_beside_a_busy_core():
    code = (
        "import sys, streamad.cli as cli; assert 'numpy' not in sys.modules; cli.main(['status', 'no.yaml']); "
        "import numpy, threadpoolctl as t; print([x['num_threads'] for x in t.threadpool_info() if x['user_api'] == 'blas'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120)
    assert set(json.loads(done.stdout)) == {1}
