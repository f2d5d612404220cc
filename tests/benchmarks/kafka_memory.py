"""What memory a trainer and a scorer of a cluster take, at windows of several sizes and another number of partitions.

    python tests/benchmarks/kafka_memory.py [RECORDS]

Records are KDDCUP99's as JSON, the detector is five VAEs. The trainer is first fitted on a window of so many records,
and on half of it; what is told is the most that it had, and its training beside what they share.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from feeds import write_kafka_config
from kafka_broker import Broker
from kafka_speed import DETECTORS, fill, payloads, scorer
from kafka_topics import make_topics
from processes import children, say, start

PARTITIONS = (6, 60)


def megabytes(process):
    """What a process has, and beyond that its children alone."""
    kinds = {process.pid: "Rss"} | dict.fromkeys(children(process.pid), "Private_Clean|Private_Dirty")
    total = 0
    for pid, kind in kinds.items():
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(map(int, re.findall(rf"^(?:{kind}): +(\d+)", rollup, re.MULTILINE)))
    return total / 1024


def most(process, log, over):
    """The most that it has until its log says that it is over."""
    seen = 0.0
    while over not in log.read_text():
        assert process.poll() is None, log.read_text()
        seen = max(seen, megabytes(process))
        time.sleep(0.05)
    return round(max(seen, megabytes(process)))


def config_of(folder, broker, topic, window):
    names = {
        what: f"{topic}-{window}-{what}"
        for what in ("alerts", "rejected", "candidates", "labels", "models", "control")
    }
    return write_kafka_config(
        folder,
        {"brokers": broker.bootstrap, "topic": topic, "group": f"{topic}-{window}", "format": "ndjson"},
        state={"type": "kafka", "topics": names, "create_topics": True},
        detector=DETECTORS["five VAEs"] | {"hidden": [32, 16], "latent": 8, "epochs": 1, "head": False},
        training={
            "warm_up": {"records": window * 9 // 10},
            "window": {"records": window},
            "every_records": None,
        },
        limits={"batch_records": 8192, "commit_batches": 1},
    )


def trainer(folder, broker, topic, window):
    """Megabytes, and the config."""
    folder.mkdir()
    log, config = folder / "trainer.log", config_of(folder, broker, topic, window)
    process = start("trainer", config, log=log)
    found = most(process, log, "model_active")
    process.terminate()
    process.wait(30)
    return found, config


def main(count):
    with tempfile.TemporaryDirectory() as name, Broker(Path(name) / "broker", heap_mb=512) as broker:
        for partitions in PARTITIONS:
            topic = make_topics(broker, {"records": partitions})["records"]
            fill(broker, topic, payloads(count), partitions)
            for window in (count // 2, count):
                found, config = trainer(Path(name) / f"{partitions}-{window}", broker, topic, window)
                say(json.dumps({"partitions": partitions, "window": window, "trainer MB": found}))
            found = scorer_of(config, broker, topic, f"{topic}-{count}", Path(name))
            say(json.dumps({"partitions": partitions, "scorer MB": found}))


def scorer_of(config, broker, topic, group, folder):
    """Megabytes of a scorer that takes all records."""
    peak = []
    scorer(config, broker, topic, group, folder, lambda process: peak.append(megabytes(process)))
    return round(max(peak))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400_000)
