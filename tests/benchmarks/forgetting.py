"""Whether labeled families of attacks are still found after a long time without them, or after one that creeps towards them.

    python tests/benchmarks/forgetting.py [quiet|creeping] [--seeds N …] [--labels N] [--set KEY=VALUE …]

The generator's stationary traffic through the engine as in ``streamad bench stream``, whose analyst answers questions in the
first 80,000 records; the last 40,000 have attacks again, and are told: of each family of which an attack was labeled and
20 come again, the share that has a higher probability than all but 1 % of the normal records there.

`quiet`: between them 200,000 records without an attack, beside nothing between them. `creeping`: between them 125,000
records, five retrainings, every fiftieth of which moves from a normal record to an attack of one family, a little further each
time and unlabeled, beside the same records without these. One JSON object a seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

import numpy as np

from streamad.bench.stream.analyst import Analyst
from streamad.bench.stream.judge import BUDGET
from streamad.bench.stream.product import play
from streamad.bench.stream.streams import NORMAL, Stream, families, generated
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions

FIRST, QUIET, CREEPING, LAST = 80_000, 200_000, 125_000, 40_000
SPARE, START, LEAST, EVERY, FURTHEST, DELAY = 10_000, 150_000, 20, 50, 0.9, 1000


def between(normal, attack, way, random):
    """A record so far on the way from a normal one to an attack."""
    fields = zip(normal.split(b","), attack.split(b","), strict=True)
    moved = []
    for usual, odd in fields:
        try:
            value = (1 - way) * float(usual) + way * float(odd)
        except ValueError:
            moved.append(odd if random.random() < way else usual)
        else:
            moved.append(f"{value:.2f}".rstrip("0").rstrip(".").encode())
    return b",".join([*moved[:-1], f"{NORMAL}.\n".encode()])


def creep(lines, attacks, seed):
    random = np.random.default_rng((seed, 1))
    moved = list(lines)
    for row in range(0, len(lines), EVERY):
        attack = attacks[random.integers(len(attacks))]
        moved[row] = between(lines[row], attack, FURTHEST * row / len(lines), random)
    return moved


def played(name, lines, seed, labels, changes):
    """Recall by family over the last records, the labels in force and the families that they are of."""
    stream = Stream(name, tuple(lines), families(lines), FIRST)
    analyst = Analyst(stream, labels, DELAY, 0.0, seed)
    score = play(stream, analyst, seed, changes).score[-LAST:]
    family, truth = stream.family[-LAST:], stream.truth[-LAST:]
    caught = score > np.quantile(score[~truth], 1 - BUDGET)
    labeled = {str(stream.family[row]) for row in analyst.asked} - {NORMAL}
    counts = Counter(family[truth].tolist())
    return {one: float(caught[family == one].mean()) for one in sorted(labeled) if counts[one] >= LEAST}


def run(kind, seed, labels, changes):
    lines = generated(seed, FIRST + QUIET + SPARE + LAST, drift=False, start=START)
    first, rest, last = lines[:FIRST], lines[FIRST:-LAST], lines[-LAST:]
    normal = [line for line, one in zip(rest, families(rest), strict=True) if one == NORMAL]
    told = {"kind": kind, "seed": seed}
    if kind == "quiet":
        normal = normal[:QUIET]
        without, given = [*first, *last], [*first, *normal, *last]
    else:
        of = families(first)
        target = Counter(of[of != NORMAL].tolist()).most_common()[seed % 3][0]
        normal, told["towards"] = normal[:CREEPING], target
        attacks = [line for line, one in zip(first, of, strict=True) if one == target]
        without, given = [*first, *normal, *last], [*first, *creep(normal, attacks, seed), *last]
    recalls = [played(kind, lines, seed, labels, changes) for lines in (without, given)]
    both = sorted(recalls[0].keys() & recalls[1].keys())
    told["families"] = {one: [round(found[one], 3) for found in recalls] for one in both}
    means = [round(float(np.mean([found[one] for one in both])), 3) for found in recalls]
    return told | {"mean": means}


def main():
    parser = argparse.ArgumentParser(description="Labeled families after a long time.")
    parser.add_argument("kind", choices=["quiet", "creeping"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes")
    told = parser.parse_args()
    configure_logs(LogOptions(level="error"))
    for seed in told.seeds:
        sys.stdout.write(json.dumps(run(told.kind, seed, told.labels, tuple(told.changes))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
