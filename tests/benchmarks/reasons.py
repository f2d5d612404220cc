"""Do reasons name the field that does not belong? On records with one planted field, for every detector of feeds.

    python tests/benchmarks/reasons.py [kdd|generator] [DETECTOR...]

A model is fitted on 20,000 normal records. Anomalies of three kinds are planted in others that are ordinary to the
detector (p-value at least 0.05), and explained where they alert (under 0.01). Each line tells how many of the
plants alert, how often the planted field, or a near duplicate told with it, is the first reason and among the
first three, how often it has the largest |z|, and how often the record is no alert any more once the first field alone
is set to its expected value. Twice: without labels, and with a head that has learned 150 labels of such plants and 150
of normal records. Supervised is trained on these labels.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from planted import KINDS, SCHEMA, Rows, largest_z, read

from streamad.features.options import FeatureOptions
from streamad.models.base import find_detector
from streamad.models.options import DetectorOptions
from streamad.scoring.scorer import Scorer
from streamad.training.fit import fit
from streamad.training.snapshot import Snapshot

DETECTORS = (
    "dp_vae", "vae", "mml_vae", "mml_dp_vae", "ae", "dae", "ae_sad", "deep_sad", "deep_svdd", "supervised",
)  # fmt: skip
WINDOW, PLANTS, LABELS, EXPLAINED = 20_000, 15_000, 50, 400
ORDINARY, THRESHOLD = 0.05, 0.01
NUMBERS = len(SCHEMA.numbers)
HEAD = f"{'detector':16} {'kind':18} {'n':>4} {'alert':>6} {'first':>6} {'three':>6} {'|z|':>6} {'below':>6} {'us':>5}"


def joined(parts):
    return Rows(*(np.concatenate(tables) for tables in zip(*parts, strict=True)))


def fitted(name, window, values, labels):
    """A scorer for the dictionary's codes; `labels` are those of supervised."""
    rows, verdict = labels if name == "supervised" else (window.take(slice(0)), np.empty(0, np.int8))
    snapshot = Snapshot(
        numbers=window.numbers,
        codes=window.codes,
        records=np.arange(len(window.numbers)),
        values=values,
        labeled_numbers=rows.numbers,
        labeled_codes=rows.codes,
        labeled_verdict=verdict,
        labeled_events=tuple(map(str, range(len(verdict)))),
        label_position=len(verdict),
        schema=SCHEMA,
        features=FeatureOptions(scaling=find_detector(name).SCALING or "robust"),
        detector=DetectorOptions(name=name, device="cpu"),
        seed=1,
        version=1,
        parent=None,
        feed="planted",
        prior_rate=0.001,
    )
    scorer = Scorer(*fit(snapshot), device="cpu", threads=1, reference_rows=WINDOW)
    scorer.bind(values)
    return scorer


def teach(scorer, labels):
    rows, verdict = labels
    features = scorer.features(*rows)
    for row, anomaly in enumerate(verdict):
        scorer.learn(f"{row}", features[row], "anomaly" if anomaly else "normal")
    scorer.recalibrate()


def restored(rows, reasons, values):
    """The rows, each with its first reason's field set to what is expected."""
    numbers, codes = rows.numbers.copy(), rows.codes.copy()
    for row, (first, *_) in enumerate(reasons):
        if first.field < NUMBERS:
            numbers[row, first.field] = np.nan if first.expected is None else first.expected
        else:
            field = first.field - NUMBERS
            codes[row, field] = values[field].index(first.expected) if first.expected else 0
    return numbers, codes


def measure(scorer, window, values, plants, ordinary):
    """n, shares of: alerting, first, among three, largest |z|, no alert any more; microseconds a row."""
    p_value = scorer.score(*plants.rows).p_value
    base = scorer.score(*ordinary).p_value[plants.base] >= ORDINARY
    at = np.flatnonzero(base & (p_value < THRESHOLD))[:EXPLAINED]
    alerting = (p_value[base] < THRESHOLD).mean()
    if not len(at):
        return 0, alerting
    rows, field = plants.rows.take(at), plants.field[at]
    began = time.process_time()
    reasons = scorer.explain(*rows, THRESHOLD, 3)
    spent = (time.process_time() - began) / len(at) * 1e6
    named = [[f in {r.field, *r.alike} for r in row] for f, row in zip(field, reasons, strict=True)]
    return (
        len(at),
        alerting,
        np.mean([row[0] for row in named]),
        np.mean([any(row) for row in named]),
        np.mean(largest_z(window, rows).argmax(axis=1) == field),
        np.mean(scorer.score(*restored(rows, reasons, values)).p_value >= THRESHOLD),
        spent,
    )


def main(data, names):
    torch.set_num_threads(1)
    rows, values = read(data, 3 * WINDOW, seed=3)
    window, others = rows.take(slice(0, WINDOW)), rows.take(slice(WINDOW, None))
    random = np.random.default_rng(7)
    bases = {kind: others.take(random.integers(len(others.numbers), size=PLANTS)) for kind in KINDS}
    plants = {kind: plant(window, bases[kind], random) for kind, plant in KINDS.items()}
    known = others.take(random.integers(len(others.numbers), size=20 * LABELS))
    taught = [plant(window, known, random).rows.take(slice(0, LABELS)) for plant in KINDS.values()]
    anomalies, normal = joined(taught), known.take(slice(0, 3 * LABELS))
    verdict = np.repeat(np.array([1, 0], np.int8), [len(anomalies.numbers), len(normal.numbers)])
    labels = joined([anomalies, normal]), verdict
    sys.stdout.write(f"{data}\n{HEAD}\n")
    for name in names:
        scorer = fitted(name, window, values, labels)
        for told in (name, f"{name}+uai"):
            if name not in {told, "supervised"}:
                teach(scorer, labels)
            for kind in KINDS if told != "supervised" else ():
                n, alerting, *shares = measure(scorer, window, values, plants[kind], bases[kind])
                cells = [f"{share:6.3f}" for share in (alerting, *shares[:-1])] + [
                    f"{s:5.0f}" for s in shares[-1:]
                ]
                sys.stdout.write(f"{told:16} {kind:18} {n:4} {' '.join(cells)}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "kdd", sys.argv[2:] or DETECTORS)
