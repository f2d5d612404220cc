"""How often records alert, whatever the model: realised rates and p-values beside what they promise, and bursts.

    python tests/benchmarks/alert_rates.py [normal|usual] [SEEDS] [RECORDS] [KEY=VALUE …]

The engine replays the generator's stationary traffic (a daily cycle of 50,000 records, sessions of like records, episodes of
legitimate oddities; `normal` without its attacks, `usual` with the 2 % of them that come in episodes), configured by
default but for batches of 512, as the daemon has them and not larger, and no labels; changes are those of ``--set``. A version
takes over every 100,000 records. SEEDS is a number, or a range such as 4-8.

Windows: 20,000 records, one from every 5,000th record on and one from each swap on, after the warm-up, whose records the first
version was trained on. Of each the alerts over the expected ones; what is allowed is 25 % or 3 * sqrt(expected), the
wider. `after_swaps`: those that begin within 20,000 records of one. `hindsight` alerts on the score that a share
of the version's own records exceeds that is the budget: no threshold that knows only earlier records can be expected to be
steadier without following the stream.

Bursts: in the same traffic 5,000 records, a tenth of them attacks of one of the generator's families, from the records 130,000,
180,000 … on. Recall of the alerts beside that of a score fixed before, which as many of the 20,000 records before the
burst exceed as the budget says.
One JSON object a budget.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import yaml

from streamad.bench.stream.product import CONFIG
from streamad.bench.stream.streams import NORMAL, families, generated
from streamad.job import Job
from streamad.runtime import retraining
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions
from streamad.state.queries import Reader
from streamad.training.trainer import ARTIFACT, Done
from streamad.wiring.local import open_feed

BUDGETS = (0.001, 0.01, 0.05)
SHARES = (0.001, 0.01, 0.1)
START, WINDOW, STEP = 150_000, 20_000, 5_000
WARM_UP = 10_240
FIRST_BURST, BURSTS_EVERY, BURST, ANOMALOUS = 130_000, 50_000, 5_000, 0.1
DEFAULT = {**CONFIG, "training": {"every_labels": None}}


class Again:
    """A trainer that was there before: other budgets train the same versions."""

    kept: Path

    def __init__(self, *, timeout):
        self._limit, self._done = timeout, None

    def start(self, directory):
        if (self.kept / directory.name).exists():  # not the last one, which nothing waited for
            shutil.copytree(self.kept / directory.name, directory / ARTIFACT)
            self._done = Done(directory / ARTIFACT, 0.0, 0.0, 0.0)

    def wait(self, _timeout):
        return self._done

    def kill(self):
        pass


def replayed(lines, seed, changes):
    """What each record scored (score, p_value, version) at the first budget, and at each which rows [n] alerted."""
    with TemporaryDirectory(prefix="streamad-bench-") as name:
        folder = Path(name)
        (folder / "stream.csv").write_bytes(b"".join(lines))
        own, Again.kept = retraining.Trainer, folder / "versions"
        alerted = {}
        try:
            for budget in BUDGETS:
                frame, alerted[budget] = at_budget(folder, budget, seed, changes, len(lines))
                if retraining.Trainer is own:
                    retraining.Trainer, scores = Again, frame
        finally:
            retraining.Trainer = own
    return scores, alerted


def at_budget(folder, budget, seed, changes, records):
    config, scores = folder / "bench.yaml", folder / "scores.parquet"
    config.write_text(
        yaml.safe_dump(DEFAULT | {"alerts": {"budget": budget}}, sort_keys=False), encoding="utf-8"
    )
    changes = ("keep.versions=100", *changes)
    job = Job("replay", config, changes, state=folder / f"{budget}.state", seed=seed, scores=scores)
    with open_feed(job) as live, Reader(live.state.store) as reader:
        live.engine.run()
        live.scores.finish(scores)
        rows, after = np.zeros(records, bool), 0
        while lines := reader.alerts(after):
            positions = [json.loads(line.text)["event_id"].rpartition(":")[2] for line in lines]
            rows[np.array(positions, int) - 1] = True
            after = lines[-1].n
        if not Again.kept.exists():
            shutil.copytree(live.state.artifacts, Again.kept)
    return pl.read_parquet(scores, columns=["score", "p_value", "version"]), rows


# ---- windows -------------------------------------------------------------------------------------


def swaps(version):
    return np.flatnonzero(np.diff(version)) + 1


def windows(alerted, version, budget):
    """Of each window: its alerts over the expected ones, and whether it begins soon after a swap."""
    last, at = len(alerted) - WINDOW, swaps(version)
    first = np.union1d(np.arange(WARM_UP, last + 1, STEP), at[at <= last])
    alerts = np.append(0, np.cumsum(alerted))
    ratio = (alerts[first + WINDOW] - alerts[first]) / (WINDOW * budget)
    return ratio, ((first[:, None] >= at) & (first[:, None] < at + WINDOW)).any(axis=1)


def hindsight(frame, budget):
    score, version = frame["score"].to_numpy(), frame["version"].to_numpy()
    rows = np.arange(len(score)) >= WARM_UP
    alerted = np.zeros(len(score), bool)
    for one in np.unique(version):
        own = rows & (version == one)
        alerted[own] = score[own] > np.quantile(score[own], 1 - budget)
    return alerted


def told(pairs, allowed, *, swapped=False):
    """What the windows of all seeds say."""
    runs = [ratio[soon] if swapped else ratio for ratio, soon in pairs]
    off = [float((np.abs(ratio - 1) <= allowed).mean()) for ratio in runs if len(ratio)]
    ratio = np.concatenate(runs)
    return {
        "windows": len(ratio),
        "held": round(float((np.abs(ratio - 1) <= allowed).mean()), 3),
        "held_median_seed": round(float(np.median(off)), 3),
        "least_and_most": [round(float(ratio.min()), 2), round(float(ratio.max()), 2)],
    }


# ---- bursts --------------------------------------------------------------------------------------


def with_bursts(lines, attacks, seed):
    """The lines with a tenth of each burst's replaced, and of each burst its kind, its first record and those rows."""
    random = np.random.default_rng((seed, 5))
    made, places, names = list(lines), [], families(attacks)
    kinds = np.unique(names).tolist()
    for number, at in enumerate(range(FIRST_BURST, len(lines) - BURST + 1, BURSTS_EVERY)):
        kind = kinds[(seed * 3 + number) % len(kinds)]
        rows = at + np.sort(random.choice(BURST, int(BURST * ANOMALOUS), replace=False))
        for row in rows.tolist():
            made[row] = random.choice(attacks[names == kind])
        places.append((kind, at, rows))
    return made, places


def recalls(frame, alerted, places, budget):
    """Of each burst: its kind, how many alert, and how many are above the score fixed before."""
    score = frame["score"].to_numpy()
    for kind, at, rows in places:
        fixed = np.quantile(score[at - WINDOW : at], 1 - budget)
        yield kind, int(alerted[rows].sum()), int((score[rows] > fixed).sum())


# ---- the report ----------------------------------------------------------------------------------


def main(traffic, seeds, records, changes):
    configure_logs(LogOptions(level="error"))
    runs, bursts = [], {budget: [] for budget in BUDGETS}
    for seed in seeds:
        lines = np.array(generated(seed, round(records * 1.05), drift=False, start=START), dtype=object)
        normal = families(lines) == NORMAL
        stream = (lines[normal] if traffic == "normal" else lines)[:records]
        runs.append(replayed(stream, seed, changes))
        made, places = with_bursts(lines[normal][:records], lines[~normal], seed)
        frame, alerted = replayed(made, seed, changes)
        for budget in BUDGETS:
            bursts[budget] += recalls(frame, alerted[budget], places, budget)
        sys.stderr.write(f"seed {seed}\n")
    shares = [[float((f["p_value"].to_numpy()[WARM_UP:] < x).mean()) / x for x in SHARES] for f, _ in runs]
    sys.stdout.write(
        json.dumps({"p_values_below": SHARES, "over_stated_by_seed": np.round(shares, 2).tolist()}) + "\n"
    )
    for budget in BUDGETS:
        sys.stdout.write(json.dumps(summary(runs, bursts[budget], budget)) + "\n")


def summary(runs, bursts, budget):
    allowed = max(0.25, 3 / np.sqrt(WINDOW * budget))
    versions = [frame["version"].to_numpy() for frame, _ in runs]
    ours = [
        windows(alerted[budget], version, budget)
        for (_, alerted), version in zip(runs, versions, strict=True)
    ]
    known = [windows(hindsight(frame, budget), frame["version"].to_numpy(), budget) for frame, _ in runs]
    return {
        "budget": budget,
        "allowed": round(float(allowed), 2),
        "all": told(ours, allowed),
        "after_swaps": told(ours, allowed, swapped=True),
        "hindsight": told(known, allowed),
        "bursts_alerts_and_fixed": bursts,
    }


if __name__ == "__main__":
    given = [*sys.argv[1:], *("normal", "5", "320000")[len(sys.argv) - 1 :]]
    ends = [int(end) for end in given[1].split("-")]
    span = range(ends[0], ends[-1] + 1) if "-" in given[1] else range(1, ends[0] + 1)
    main(given[0], span, int(given[2]), given[3:])
