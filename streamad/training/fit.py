"""One fit: from a snapshot to the manifest and the tensors of an artifact."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from streamad.errors import TrainingError
from streamad.features.encoder import Encoder
from streamad.features.usual import Usual
from streamad.models.base import Detector, make_detector
from streamad.models.head import Head, Label
from streamad.models.head_features import FeatureStats
from streamad.models.randomness import member_seeds
from streamad.models.scoring_model import ScoringModel, choose_device
from streamad.state.holdout import split
from streamad.training.loop import Progress, TrainingRows, train
from streamad.training.snapshot import Snapshot

Tensors = dict[str, NDArray[Any]]


def fit(snapshot: Snapshot, progress: Progress | None = None) -> tuple[dict[str, Any], Tensors]:
    """Train on the window and the past but for held-out rows, and describe the result.

    The tensors are ``encoder.*``, ``model.*``, ``stats.*``, ``usual.*``, ``head.*`` (with ``head.sites`` [m, 2] and
    ``head.features`` [m, F], one row a labeled record in the snapshot's order), and ``reference.score``
    [R] with ``reference.features`` [R, F] of the held-out rows in record order.

    Raises `TrainingError` where the window is empty or the training diverges.
    """
    if not len(snapshot.records):
        raise TrainingError("the window holds no records to train on")
    held = split(snapshot.records, snapshot.seed)
    trained = ~held if len(held) > 1 else held  # a single row has to serve as both
    encoder, x, labeled = _encode(snapshot, trained)
    fresh = ~_repeats(x, labeled, snapshot.labeled_verdict)
    kept = trained & fresh
    detector, losses = _train(snapshot, encoder.width, x[kept], labeled, progress)
    model = _model(encoder, detector, x[held])
    reference = model.score(x[held])
    head, head_tensors = _head(snapshot, reference.features, model.score(labeled).features)
    usual = _usual(snapshot, encoder, fresh if fresh.any() else trained)
    tensors: Tensors = {
        **{f"encoder.{name}": tensor for name, tensor in encoder.tensors().items()},
        **{f"model.{name}": t.cpu().contiguous().numpy() for name, t in detector.state_dict().items()},
        **{f"stats.{name}": tensor for name, tensor in model.stats.tensors().items()},
        **{f"usual.{name}": tensor for name, tensor in usual.tensors().items()},
        **head_tensors,
        "reference.score": reference.score,
        "reference.features": reference.features,
    }
    return _manifest(snapshot, encoder, head, losses, kept), tensors


def _encode(
    snapshot: Snapshot, trained: NDArray[np.bool_]
) -> tuple[Encoder, NDArray[np.float32], NDArray[np.float32]]:
    """The encoder of the trained rows, and the window [n, D] and the labeled rows [m, D] under it."""
    encoder = Encoder.fit(
        snapshot.schema,
        snapshot.numbers[trained],
        snapshot.codes[trained],
        snapshot.values,
        snapshot.features,
    )
    bound = encoder.bind(snapshot.values)
    return (
        encoder,
        bound.encode(snapshot.numbers, snapshot.codes),
        bound.encode(snapshot.labeled_numbers, snapshot.labeled_codes),
    )


def _usual(snapshot: Snapshot, encoder: Encoder, rows: NDArray[np.bool_]) -> Usual:
    """Examples out of some rows [n] of the window, others at each version."""
    return Usual.fit(
        encoder,
        snapshot.numbers[rows],
        snapshot.codes[rows],
        snapshot.values,
        snapshot.seed + snapshot.version,
    )


def _repeats(
    x: NDArray[np.float32], labeled: NDArray[np.float32], verdict: NDArray[np.int8]
) -> NDArray[np.bool_]:
    """Which rows [n] look exactly like a labeled anomaly, and like no labeled normal record.

    A flood repeats one record thousands of times: once it is labeled, its copies are no normal traffic.
    """
    keys, known = _keys(x), _keys(labeled)
    found: NDArray[np.bool_] = np.isin(keys, known[verdict == 1]) & ~np.isin(keys, known[verdict == 0])
    return found


def _keys(x: NDArray[np.float32]) -> NDArray[np.void]:
    """The bytes of each row [n], as one comparable value."""
    rows = np.ascontiguousarray(x + np.float32(0))  # adding zero makes -0 and 0 the same bytes
    return rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).reshape(len(rows))


def _train(
    snapshot: Snapshot,
    width: int,
    rows: NDArray[np.float32],
    labeled: NDArray[np.float32],
    progress: Progress | None,
) -> tuple[Detector, list[float]]:
    """A trained detector and the loss of each epoch."""
    options = snapshot.detector
    seeds = member_seeds(snapshot.seed + snapshot.version, options.members)
    device = choose_device(options.device)
    detector = make_detector(options.name, width, options, seeds).to(device)
    labels = np.concatenate([np.full(len(rows), -1, np.int8), snapshot.labeled_verdict])
    data = TrainingRows(
        torch.from_numpy(np.concatenate([rows, labeled])).to(device).unsqueeze(0),
        torch.from_numpy(labels).to(device).unsqueeze(0),
    )
    return detector, train(detector, data, options, seeds, progress=progress)


def _model(encoder: Encoder, detector: Detector, held: NDArray[np.float32]) -> ScoringModel:
    """The detector, ready to score, its feature statistics taken from the held-out rows [R, D]."""
    device = next(detector.parameters()).device
    width = detector.members * detector.latent + 1
    plain = FeatureStats(torch.zeros(width, device=device), torch.ones(width, device=device))
    raw = ScoringModel(encoder, detector, plain).raw_features(held)
    return ScoringModel(encoder, detector, FeatureStats.fit(raw))


def _head(
    snapshot: Snapshot, held: NDArray[np.float64], features: NDArray[np.float64]
) -> tuple[Head, Tensors]:
    """The head of the snapshot's labels, in the new latent space [m, F] beside the held-out rows [R, F]; its tensors."""
    head = Head.with_waves(held, snapshot.prior_rate, snapshot.seed)
    labels: list[Label] = ["anomaly" if verdict == 1 else "normal" for verdict in snapshot.labeled_verdict]
    sites = head.fit(features, labels)
    tensors = {f"head.{name}": tensor for name, tensor in head.tensors().items()}
    table = np.array(sites, dtype=np.float64).reshape(len(sites), 2)
    return head, {**tensors, "head.sites": table, "head.features": features}


def _manifest(
    snapshot: Snapshot, encoder: Encoder, head: Head, losses: list[float], trained: NDArray[np.bool_]
) -> dict[str, Any]:
    """The JSON-able half of the artifact; `trained` [n] says on which of the snapshot's rows."""
    past = snapshot.past
    return {
        "format": 1,
        "version": snapshot.version,
        "parent": snapshot.parent,
        "feed": snapshot.feed,
        "schema": snapshot.schema.model_dump(mode="json"),
        "columns": [*snapshot.schema.features],  # a manifest's keys are sorted: it would not tell their order
        "features": snapshot.features.model_dump(mode="json"),
        "detector": snapshot.detector.model_dump(mode="json"),
        "seed": snapshot.seed,
        "label_position": snapshot.label_position,
        "labeled_events": list(snapshot.labeled_events),
        "labeled_verdicts": snapshot.labeled_verdict.tolist(),
        "labels": {"anomaly": head.count_anomaly, "normal": head.count_normal},
        "data": {
            "first_record": int(snapshot.records[past]),
            "last_record": int(snapshot.records[-1]),
            "rows": len(snapshot.records) - past,
            "trained_rows": int(trained[past:].sum()),
            "past_rows": int(trained[:past].sum()),
            "labeled_rows": len(snapshot.labeled_verdict),
        },
        "encoder": encoder.meta(),
        "loss": {"first": losses[0], "last": losses[-1], "epochs": len(losses)},
    }
