"""Scorers of a cluster that are killed again and again on a real broker, and whether anything was lost or said twice.

    make chaos                       300,000 KDDCUP99 records, 3 scorers, 20 kills; then 100,000 with labels and swaps
    python tests/kafka_chaos.py --records 60000 --kills 6 --second 0

A kill (SIGKILL) lands within a commit, and counts only while the group is behind and the transaction is open. Once the
broker is killed and started again, once a scorer is frozen within a commit for longer than its session and its
transaction may last. What it said is compared with an undisturbed scorer, and the time from a record's append to
its alert's being visible to a reader of committed messages is measured for each alert. In the second run labels come
in, a trainer publishes versions, and every record is said as an alert or a candidate in both.

Needs the real records (STREAMAD_DATA) and what tests/kafka_broker.py needs for a broker of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from feeds import write_kafka_config
from kafka_broker import Broker
from kafka_chaos_disturbance import Disturbance, lag
from kafka_chaos_feed import Analyst, Feed, Watch, lines_of, mixed
from kafka_chaos_heads import Heads, Published
from kafka_chaos_judge import Outcome, judge_alerts, judge_delivery, judge_pairs, judge_scores
from kafka_chaos_scorers import Scorers
from kafka_topics import committed, each_of, end_offsets, make_topics
from processes import say, start, wait_for

PARTITIONS, WARM_UP = 6, 20_000
OUTPUTS, SHARED = ("alerts", "rejected", "candidates"), ("labels", "models", "control")


class Setting(NamedTuple):
    """A broker, and one run's folder, topics and records."""

    broker: Broker
    folder: Path
    topics: dict[str, str]
    feed: Feed
    lines: list[bytes]
    seconds: float
    rng: random.Random


def make_setting(broker, folder, told, name, records):
    folder = folder / name
    folder.mkdir()
    topics = make_topics(broker, {"records": PARTITIONS}, message_timestamp_type="LogAppendTime")
    topics |= {what: f"{name}-{what}" for what in OUTPUTS + SHARED}
    feed = Feed(broker, topics["records"], PARTITIONS)
    rng = random.Random(told.seed)
    return Setting(
        broker, folder, topics, feed, mixed(lines_of(WARM_UP, records), rng), records / told.rate, rng
    )


def write_config(setting, group, prefix, labels, **training):
    """The config of scorers of a group whose outputs are topics of their own."""
    folder = setting.folder / prefix
    folder.mkdir()
    names = {what: setting.topics[what] for what in SHARED} | {what: f"{prefix}-{what}" for what in OUTPUTS}
    return write_kafka_config(
        folder,
        {"brokers": setting.broker.bootstrap, "topic": setting.topics["records"], "group": group},
        state={"type": "kafka", "topics": names, "create_topics": True},
        alerts={"budget": 0.02},
        labels=labels,
        training={"warm_up": {"records": 10_000}, "window": {"records": 20_000}, "every_records": None}
        | training,
        limits={"batch_records": 4096, "commit_batches": 1},
    )


# ---- the two runs ------------------------------------------------------------------------------------


def first_run(told, broker, folder):
    """Kills, a restart of the broker, a freeze; no labels and one version."""
    setting = make_setting(broker, folder, told, "first", told.records)
    config = write_config(setting, "first", "first", {})
    published, outcome = disturbed(told, setting, config, "First run", told.kills, mishaps=True)
    alerts = judge_delivery(outcome, broker, "first", _outputs(setting), setting.feed, whole=False)
    quiet = write_config(setting, "quiet", "quiet", {"sample": 0.0, "candidates": 0})
    undisturbed = start(
        "run", quiet, "--set", "state.transactional_id=quiet", log=setting.folder / "quiet.log"
    )
    await_end(broker, setting.feed.topic, "quiet")
    end(undisturbed)
    judge_alerts(outcome, alerts, read_json(broker, "quiet-alerts"), told.least)
    judge_scores(outcome, alerts, Heads(config, published))
    return outcome.show()


def second_run(told, broker, folder):
    """Labels arrive, and a trainer retrains because of them."""
    setting = make_setting(broker, folder, told, "second", told.second)
    config = write_config(setting, "second", "second", {"sample": 1.0}, every_labels=20)
    published, outcome = disturbed(
        told, setting, config, "Second run: labels and swaps", told.kills // 3, mishaps=False
    )
    alerts = judge_delivery(outcome, broker, "second", _outputs(setting), setting.feed, whole=True)
    judge_pairs(outcome, alerts, Heads(config, published))
    return outcome.show()


def disturbed(told, setting, config, title, kills, *, mishaps):
    """Train on the first records, then feed the others while scorers are ended: what was published, and an outcome
    with what was done."""
    broker, feed = setting.broker, setting.feed
    feed.send(lines_of(0, WARM_UP))
    trainer = train(config, setting.folder / "trainer.log")
    published = Published(setting.folder, broker, setting.topics)
    if mishaps:  # no labels, and nothing that would change scores
        end(trainer)
    scorers = Scorers(setting.folder, config, told.scorers, setting.rng)
    if not scorers.wait(lambda: not lag(broker, feed.topic, setting.folder.name), 300):
        sys.exit("the scorers do not begin")
    watch = Watch(broker, setting.topics["alerts"])
    helpers = (
        [watch, published]
        if mishaps
        else [watch, published, Analyst(broker, setting.topics["labels"], watch)]
    )
    for helper in helpers:
        helper.start()
    feed.appended.clear()
    rate = len(setting.lines) / setting.seconds
    done, began = Disturbance(setting, scorers, kills), time.monotonic()

    def ahead(number):
        """Of kills, and the second half of the swap that the second run is about, however slow a training is."""
        unswapped = not mishaps and len(published.versions) < 2
        return done.ahead(number) or (unswapped and number > len(setting.lines) // 2)

    sending = threading.Thread(target=feed.send, args=(setting.lines, rate, ahead))
    sending.start()
    done.run(told.frozen if mishaps else None)
    while sending.is_alive():
        scorers.rest(0.5)
    seconds = time.monotonic() - began
    await_end(broker, feed.topic, setting.folder.name, scorers)
    scorers.rest(2)
    for helper in reversed(helpers):
        helper.end()
    scorers.end()
    if not mishaps:
        end(trainer)
    outcome = Outcome(f"{title}: {len(setting.lines):,} records in {seconds:.0f} s")
    done.tell(outcome, watch.seen, watch.written)
    return published, outcome


# ---- helpers -----------------------------------------------------------------------------------------


def train(config, log):
    """A trainer that has published a version and its first reference."""
    trainer = start("trainer", config, log=log)
    wait_for(lambda: "model_active" in log.read_text(), trainer, seconds=300)
    time.sleep(12)
    return trainer


def end(process):
    process.terminate()
    process.wait(120)


def await_end(broker, topic, group, scorers=None, seconds=300):
    """Until the group has committed everything."""
    deadline = time.monotonic() + seconds
    while committed(broker, group, topic) != end_offsets(broker, topic):
        if time.monotonic() > deadline:
            sys.exit(f"{group} stays behind by {lag(broker, topic, group):,} records")
        if scorers is None:
            time.sleep(0.5)
        else:
            scorers.rest(0.5)


def read_json(broker, topic):
    return [json.loads(message.value()) for message in each_of(broker, topic, seconds=300)]


def _outputs(setting):
    return {what: setting.topics[what] for what in OUTPUTS}


def main(told):
    sys.stdout.reconfigure(line_buffering=True)
    load = os.getloadavg()[0]
    say(f"{os.cpu_count()} cores, load {load:.1f} before the start")
    with ExitStack() as stack:
        folder = told.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Broker(folder / "broker"))
        kept = [first_run(told, broker, folder)] if told.records else []
        kept += [second_run(told, broker, folder)] if told.second else []
    return int(not all(kept))


def options():
    parser = argparse.ArgumentParser(description="Kills scorers of a cluster on a real broker.")
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--second", type=int, default=100_000, help="records of the run with labels; 0: none")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1000.0, help="records a second")
    parser.add_argument("--frozen", type=float, default=14.0, help="how long a scorer is frozen")
    parser.add_argument("--least", type=int, default=3000, help="alerts that must be expected")
    parser.add_argument("--scorers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="a new one that keeps logs and topics")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(options()))
