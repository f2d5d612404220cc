"""Short streams under the names of ``bench stream``, for its tests."""

from __future__ import annotations

import numpy as np

from streamad.bench.stream import analyst, peers, product
from streamad.bench.stream.streams import Stream, families, generated

RECORDS = 1500
WARM_UP = 400

QUICK = ("detector.members=1", "detector.min_steps=30", "detector.epochs=1")
"""What makes streamad fast rather than good."""


def short(name, seed, records=RECORDS):
    """The first records of generated traffic, 5 of which are attacks at least."""
    lines = generated(seed, records, drift=False, start=150_000)
    family = families(lines)
    family[np.random.default_rng(seed).choice(np.arange(WARM_UP, records), 5, replace=False)] = "rare"
    return Stream(name, lines, family, records)


def use_short_streams(monkeypatch, *names):
    """Let `bench stream` find these streams only, and take fewer records for its first models."""
    there = {name: lambda _folder, seed, name=name: short(name, seed) for name in names}
    for module in ("streamad.bench.stream.streams", "streamad.commands.bench_stream"):
        monkeypatch.setattr(f"{module}.STREAMS", there)
    for module in (analyst, peers, product):
        monkeypatch.setattr(module, "WARM_UP", WARM_UP)
    monkeypatch.setattr("streamad.bench.stream.forests.WARM_UP", WARM_UP)
    limits = product.CONFIG["limits"] | {"batch_records": 100}
    training = product.CONFIG["training"] | {"warm_up": {"records": WARM_UP}, "every_records": None}
    monkeypatch.setitem(product.CONFIG, "limits", limits)
    monkeypatch.setitem(product.CONFIG, "training", training)
    monkeypatch.setattr(peers, "STEP", 100)
