"""Whether the fused ranking is behind the detector's score, or behind the head alone, after few labels and after many.

    python tests/benchmarks/fusion.py [--streams NAME …] [--labels N …] [--seeds N …] [--set KEY=VALUE …]

The engine plays streams of ``streamad bench stream``, whose analyst answers what `queue` asks. Beside each scorer a second
head learns the same labels from the latents only: its prior gives the score no weight. One JSON object a run: average
precision over the second half of the ranking as it was emitted, of the detector's p-values and of the second head's
log odds, all as they were when the record came, and by how much the first is behind the better of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import wraps
from itertools import product
from pathlib import Path

import numpy as np

from streamad.bench.stream.analyst import Analyst
from streamad.bench.stream.judge import BUDGET, Emitted, judge
from streamad.bench.stream.product import play
from streamad.bench.stream.streams import STREAMS, load
from streamad.models.head import WAVES_DEVIATION, Head
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions
from streamad.scoring.calibration import Calibration
from streamad.scoring.scorer import Scorer

DELAY = 1000


def instead(name, method):
    """Have a method of `Scorer` called as the first argument of another one."""
    own = getattr(Scorer, name)
    setattr(Scorer, name, wraps(own)(lambda scorer, *args, **named: method(own, scorer, *args, **named)))


class Beside:
    """What the detector, and a head that does not see its score, say of each record when it is scored."""

    def __init__(self):
        self.forget()
        for name in ("__init__", "score", "learn", "unlearn", "recalibrate"):
            instead(name, getattr(self, name.strip("_")))

    def forget(self):
        self.p_value, self.base, self.alone = [], [], []

    def init(self, own, scorer, manifest, tensors, **named):
        own(scorer, manifest, tensors, **named)
        waves = scorer.head.waves
        scorer.second = Head.fresh(
            waves.width, BUDGET, latent_deviation=WAVES_DEVIATION, level_weight=0.0, level_deviation=1e-6
        )
        scorer.second.waves = waves
        verdicts = ["anomaly" if one else "normal" for one in manifest["labeled_verdicts"]]
        features = np.asarray(tensors["head.features"], np.float64)
        sites = scorer.second.fit(features, verdicts)
        known = zip(manifest["labeled_events"], zip(features, sites, verdicts, strict=True), strict=True)
        scorer.taught = dict(known)

    def learn(self, own, scorer, event, features, verdict):
        own(scorer, event, features, verdict)
        scorer.taught[event] = features, scorer.second.update(features, verdict), verdict

    def unlearn(self, own, scorer, event):
        own(scorer, event)
        if event in scorer.taught:
            scorer.second.remove(*scorer.taught.pop(event))

    def recalibrate(self, own, scorer):
        own(scorer)
        rows, settled = scorer.reference(), scorer._reference._settled()
        scorer.unmoved = Calibration.fit(rows.base[:settled], rows.weights[:settled])

    def score(self, own, scorer, numbers, codes):
        found = own(scorer, numbers, codes)
        self.base.append(found.base)
        self.p_value.append(scorer.unmoved.p_values(found.base))
        self.alone.append(scorer.second.log_odds(found.features))
        return found


def run(beside, name, labels, seed, folder, changes):
    stream = load(name, folder, seed)
    analyst = Analyst(stream, labels, DELAY, 0.0, seed)
    beside.forget()
    emitted = play(stream, analyst, seed, changes)
    p_value, base, alone = (
        np.concatenate(found)[-len(stream) :] for found in (beside.p_value, beside.base, beside.alone)
    )
    pad = np.zeros(len(stream) - len(base))  # for those of the warm-up
    rankings = {
        "fused": emitted,
        "base": Emitted.by_p_value(np.append(pad + 1, p_value), np.append(pad, base), []),
        "alone": Emitted(np.append(pad, alone)),
    }
    told = {what: judge(stream, one, analyst.asked).average_precision for what, one in rankings.items()}
    behind = max(told["base"], told["alone"]) - told["fused"]
    return {"stream": name, "labels": labels, "seed": seed} | {
        what: round(value, 3) for what, value in (told | {"behind": behind}).items()
    }


def options():
    parser = argparse.ArgumentParser(description="The fused ranking beside its parts.")
    parser.add_argument("--streams", nargs="+", default=list(STREAMS))
    parser.add_argument("--labels", nargs="+", type=int, default=[1, 3, 10, 30, 100, 300])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes")
    return parser.parse_args()


def main(told):
    configure_logs(LogOptions(level="error"))
    data, beside = Path(os.environ.get("STREAMAD_DATA", "../shared/data")), Beside()
    for seed, stream, labels in product(told.seeds, told.streams, told.labels):
        found = run(beside, stream, labels, seed, data, tuple(told.changes))
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(options())
