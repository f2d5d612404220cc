"""How fast five Deep SAD members train and score, beside DeepOD's single one: the same net, on one core.

    pip install 'streamad[bench]'
    python tests/benchmarks/training_speed.py [RUNS]

Both train a 118-32-16-8 network without biases, with batch normalisation, by Adam in batches of 256, on the same rows,
one after the other in each run. Pre-training, which DeepOD does not have, is off. A network-row is one row that
one network has seen.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import statistics
import sys
import time

import numpy as np
import torch
from deepod.core.base_networks import MLPnet
from deepod.models import dsad

from streamad import DeepSAD

ROWS, WIDTH, LABELED, EPOCHS, MEMBERS = 50_000, 118, 500, 3, 5


def data():
    """Rows [n, D] and labels: 1 anomaly, 0 for all others."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    y = np.zeros(ROWS, dtype=np.int64)
    y[random.choice(ROWS, LABELED, replace=False)] = 1
    return x, y


def deepod(x, y):
    """Network-rows a second of training and of scoring, by DeepOD."""
    dsad.MLPnet = functools.partial(MLPnet, batch_norm=True)
    model = dsad.DeepSAD(
        epochs=EPOCHS,
        batch_size=256,
        rep_dim=8,
        hidden_dims="32,16",
        act="LeakyReLU",
        device="cpu",
        verbose=0,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        model.train_data, model.train_label = x, y
        model.n_samples, model.n_features = x.shape
        model.train_loader, model.net, model.criterion = model.training_prepare(x, y)
        began = time.perf_counter()
        model._training()
        trained = EPOCHS * ROWS / (time.perf_counter() - began)
        began = time.perf_counter()
        model.decision_function(x)
        return trained, ROWS / (time.perf_counter() - began)


def ours(x, y):
    """Network-rows a second of training and of scoring, by five members together."""
    known = np.where(y == 1, 1, -1)
    model = DeepSAD(
        hidden=(32, 16, 8), members=MEMBERS, epochs=EPOCHS, pretraining=0.0, batch_size=256, device="cpu"
    )
    began = time.perf_counter()
    model.fit(x, known)
    trained = MEMBERS * EPOCHS * ROWS / (time.perf_counter() - began)
    began = time.perf_counter()
    model.decision_function(x)
    return trained, MEMBERS * ROWS / (time.perf_counter() - began)


def main(runs):
    torch.set_num_threads(1)
    x, y = data()
    found = []
    for run in range(runs):
        theirs, own = deepod(x, y), ours(x, y)
        found.append([*theirs, *own])
        sys.stderr.write(
            f"run {run + 1}: training {own[0]:,.0f} against {theirs[0]:,.0f} network-rows/s, "
            f"scoring {own[1]:,.0f} against {theirs[1]:,.0f}\n"
        )
    training = statistics.median(own / theirs for theirs, _, own, _ in found)
    scoring = statistics.median(own / theirs for _, theirs, _, own in found)
    sys.stdout.write(
        json.dumps({"training_ratio": round(training, 2), "scoring_ratio": round(scoring, 2)}) + "\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
