"""How fast a replay of KDDCUP99 is, beside a bare loop of its three hot stages; without a sink beside the store.

    python tests/benchmarks/replay_speed.py [RUNS]

The bare loop decodes, encodes and scores on one core and keeps nothing. The replay does all that a user gets:
reading, calibration, alerts with reasons, pool, store and commits, on the cores it finds. Both in turn, in the
same process, with the same first model; trainings after it are off, since they are another process's work.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from streamad.config import load_config
from streamad.job import Job
from streamad.models.scoring_model import ScoringModel
from streamad.ports import End
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.records.infer import infer
from streamad.records.sample import read_sample
from streamad.records.template import config_text
from streamad.state.artifacts import read_artifact
from streamad.wiring.local import open_feed
from streamad.wiring.plugins import open_source

DATA = Path(os.environ.get("STREAMAD_DATA", "../shared/data")) / "kddcup99/kddcup.data_10_percent.gz"


def write_config(folder):
    source = {"type": "files", "paths": [str(DATA.absolute())], "format": "kdd"}
    tree = yaml.safe_load(config_text(infer(read_sample(DATA)), "kdd", source))
    del tree["sinks"]
    tree["training"] = {"every_records": None, "every_labels": None, "drift": {"retrain": False}}
    path = folder / "kdd.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def replay(config, folder):
    with open_feed(Job("replay", config, state=folder)) as live:
        live.engine.run()
        return live.engine.summary()


def bare_loop(config, artifact):
    """Records a second of decode + encode + score, on one core, the blocks already in memory."""
    options, source = open_source(Job("replay", config), load_config(config))
    blocks = []
    while not isinstance(block := source.poll(4096, 1.0), End):
        blocks.append(block)
    schema = load_config(config).schema_
    dictionary = Dictionary(schema.categories)
    decoder = Decoder(schema, options, dictionary)
    decoder.warm_up()
    model = ScoringModel.from_parts(*read_artifact(artifact), "cpu", 1)
    for block in blocks:  # the dictionary is filled before the clock runs, as it is for most of a replay
        decoder.decode(block, 0)
    bound = model.encoder.bind([dictionary.values(field) for field in range(len(schema.categories))])
    began, records = time.perf_counter(), 0
    for block in blocks:
        batch = decoder.decode(block, records)
        model.score(bound.encode(batch.numbers, batch.codes))
        records += len(batch)
    return records / (time.perf_counter() - began)


def main(runs):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder)
        rows = []
        for run in range(runs):
            state = folder / f"{run}.state"
            summary = replay(config, state)
            bare = bare_loop(config, state / "artifacts/000001")
            rows.append((summary["records_per_second"], bare, summary["alerts"]))
            sys.stderr.write(f"run {run + 1}: replay {rows[-1][0]:,} records/s, bare loop {bare:,.0f}\n")
    speeds, bares, alerts = zip(*rows, strict=True)
    ratio = statistics.median(np.divide(speeds, bares))
    sys.stdout.write(
        json.dumps(
            {
                "replay_records_per_second": statistics.median(speeds),
                "bare_loop_records_per_second": round(statistics.median(bares)),
                "ratio": round(float(ratio), 3),
                "alerts": alerts[0],
                "runs": runs,
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
