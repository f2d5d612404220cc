"""What labels cost and what they move, where many were given; and how long a batch waits for a training and for a swap.

    python tests/benchmarks/labels.py [LABELS] [KEY=VALUE …]

The engine replays the generator's stationary traffic in batches of 512, configured by default; changes are those of ``--set``.
Nine in ten records from the 10,240th on get their true verdict right after they were scored, until LABELS (100,000) were
given; then a training begins, whose version takes over 10,240 records later.

Milliseconds: of a label among the first and the last thousands, and of the batch boundaries at which the training began and
its version took over, without the waiting for the trainer, as the daemon does not wait. What moved: each alone, 50 attacks
and 50 normal records without a label get their true verdict, and the share of them is told, and of their ten nearest neighbours,
whose log odds moved that way; without any label before, after LABELS, and after the swap.
"""

from __future__ import annotations

import json
import sys
import time
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml

from streamad.bench.stream.product import CONFIG
from streamad.bench.stream.streams import NORMAL, families, generated
from streamad.job import Job
from streamad.learning.labels import LabelBook
from streamad.runtime.learner import Learner
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions
from streamad.wiring.local import open_feed

WARM_UP, BATCH, LATER = 10_240, 512, 10_240
POOL, TRIED, NEIGHBOURS, SPARED = 10_000, 50, 10, 10
KEPT = 10_000
"""So many labels go into a version (`training.window.labeled`)."""


def timed(owner, name, calls, without=()):
    """Have the seconds of each call of a method listed, without those that are listed meanwhile in `without`."""
    method = getattr(owner, name)

    @wraps(method)
    def called(*args, **named):
        began, before = time.perf_counter(), sum(without)
        try:
            return method(*args, **named)
        finally:
            calls.append(time.perf_counter() - began - (sum(without) - before))

    setattr(owner, name, called)


def moved(learner, head, anomalous):
    """The shares of labeled records, and of their neighbours, that move the right way with one label more."""
    scorer, window = learner.scorer, learner._feed.buffer.snapshot()
    last = slice(-POOL, None)
    features = scorer.features(window.numbers[last], window.codes[last])
    at = window.records[last]
    spared, random = at % SPARED == 0, np.random.default_rng(1)
    right = []
    for truth in (True, False):
        rows = np.flatnonzero(spared & (anomalous[at] == truth))
        for row in random.permutation(rows)[:TRIED]:
            distance = ((features - features[row]) ** 2).sum(axis=1)
            near = features[np.argsort(distance, kind="stable")[: NEIGHBOURS + 1]]
            after = head.copy()
            after.update(features[row], "anomaly" if truth else "normal")
            up = after.log_odds(near) - head.log_odds(near)
            right.append(up > 0 if truth else up < 0)
    return {
        "labels": head.count_anomaly + head.count_normal,
        "version": scorer.version,
        "labeled": round(float(np.mean([one[0] for one in right])), 3),
        "neighbours": round(float(np.mean([one[1:].mean() for one in right])), 3),
    }


def main(labels, changes):
    configure_logs(LogOptions(level="error"))
    begins = WARM_UP + -(-labels * SPARED // (SPARED - 1) // BATCH) * BATCH + BATCH
    lines = generated(1, begins + LATER + BATCH, drift=False, start=150_000)
    anomalous = families(lines) != NORMAL
    training = CONFIG["training"] | {
        "warm_up": {"records": WARM_UP},
        "every_records": begins,
        "effect_after": LATER,
        "timeout": 3600,
    }
    config = CONFIG | {"labels": {"delay": 0, "sample": 1.0, "pool": len(lines) + 1}, "training": training}
    per_label, begin, take, wait, moves = [], [], [], [], []
    teach = LabelBook._teach

    def taught(book, changes, scorer):
        began = time.perf_counter()
        teach(book, changes, scorer)
        if changes:
            per_label.append((time.perf_counter() - began) / len(changes))

    LabelBook._teach = taught
    timed(Learner, "begin_training", begin)
    timed(Learner, "wait", wait)
    timed(Learner, "take_training", take, without=wait)
    take_news, heads = Learner.take_news, {}

    def look(learner, number, open_batches):
        take_news(learner, number, open_batches)
        if learner.scorer is None:
            return
        if not heads:
            heads[1, False] = learner.scorer.head.copy()
        version = learner.scorer.version
        many = labels if version == 1 else min(labels, KEPT)
        moment = version, learner.scorer.labels_applied >= many
        if moment[1] and moment not in heads:
            heads[moment] = learner.scorer.head
            if len(heads) == 2:  # by now there were attacks
                moves.append(moved(learner, heads[1, False], anomalous))
            moves.append(moved(learner, learner.scorer.head, anomalous))

    Learner.take_news = look
    with TemporaryDirectory(prefix="streamad-bench-") as name:
        folder = Path(name)
        (folder / "bench.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        (folder / "stream.csv").write_bytes(b"".join(lines))
        given, scored = WARM_UP, WARM_UP + 2

        def on_step(step):
            nonlocal given, scored
            if step == "commit.6":
                rows = [row for row in range(given, scored) if row % SPARED]
                live.store.add_labels(
                    {
                        "event_id": f"bench/stream.csv:{row + 1}",
                        "label": "anomaly" if anomalous[row] else "normal",
                        "analyst": "bench",
                    }
                    for row in rows
                )
                given, scored = scored, min(scored + BATCH, begins - BATCH)

        job = Job("replay", folder / "bench.yaml", changes, state=folder / "state", seed=1, on_step=on_step)
        with open_feed(job) as live:
            live.engine.run()
    told = {
        "labels": labels,
        "label_ms": [round(float(np.median(part)) * 1e3, 3) for part in (per_label[1:21], per_label[-20:])],
        "begin_ms": round(begin[-1] * 1e3, 1),
        "swap_ms": round(max(take) * 1e3, 1),
        "moved": moves,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, tuple(sys.argv[2:]))
