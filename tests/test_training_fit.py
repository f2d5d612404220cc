from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from detectors_help import DETECTORS

from streamad.errors import TrainingError
from streamad.features.encoder import Encoder
from streamad.features.options import FeatureOptions
from streamad.models.base import find_detector
from streamad.models.head import Head, Site
from streamad.models.options import DetectorOptions
from streamad.models.scoring_model import ScoringModel, part
from streamad.records.schema import Schema
from streamad.state.holdout import held_out
from streamad.training.fit import fit
from streamad.training.snapshot import Snapshot

SCHEMA = Schema(fields={"a": "numeric", "b": "numeric", "proto": "categorical"})
VALUES = (("", "tcp", "udp"),)
OPTIONS = DetectorOptions(members=3, hidden=(6,), latent=2, epochs=2, min_steps=30, batch=32)
FOR_FEEDS = tuple(name for name in DETECTORS if find_detector(name).FEEDS)


def snapshot(rows=200, labels=0, seed=1, version=4, name="dp_vae", **detector):
    generator = np.random.default_rng(0)
    return Snapshot(
        numbers=generator.normal(size=(rows, 2)),
        codes=generator.integers(1, 3, (rows, 1)).astype(np.int32),
        records=np.arange(1000, 1000 + rows),
        values=VALUES,
        labeled_numbers=generator.normal(size=(labels, 2)) + 4 * (np.arange(labels) % 2)[:, None],
        labeled_codes=np.ones((labels, 1), np.int32),
        labeled_verdict=(np.arange(labels) % 2).astype(np.int8),
        labeled_events=tuple(f"feed/file:{i}" for i in range(labels)),
        label_position=labels + 3,
        schema=SCHEMA,
        features=FeatureOptions(),
        detector=OPTIONS.model_copy(update={"name": name, **detector}),
        seed=seed,
        version=version,
        parent=version - 1,
        feed="feed",
        prior_rate=0.001,
    )


def same(one, other):
    return one.keys() == other.keys() and all(one[key].tobytes() == other[key].tobytes() for key in one)


@pytest.mark.parametrize("name", FOR_FEEDS)
def test_fitting_twice_gives_equal_artifacts_and_the_version_changes_the_weights(name):
    manifest, tensors = fit(snapshot(labels=6, name=name))
    again, equal = fit(snapshot(labels=6, name=name))
    _, other = fit(snapshot(labels=6, name=name, version=5))
    assert manifest == again
    assert same(tensors, equal)
    assert not same(part(tensors, "model."), part(other, "model."))


def test_the_manifest_says_where_the_model_comes_from():
    shot = snapshot(labels=6)
    manifest, _ = fit(shot)
    assert json.loads(json.dumps(manifest)) == manifest
    encoder, losses = manifest.pop("encoder"), manifest.pop("loss")
    trained = 200 - int(held_out(shot.records, 1).sum())
    assert manifest == {
        "format": 1,
        "version": 4,
        "parent": 3,
        "feed": "feed",
        "schema": SCHEMA.model_dump(mode="json"),
        "columns": ["a", "b", "proto"],
        "features": FeatureOptions().model_dump(mode="json"),
        "detector": OPTIONS.model_dump(mode="json"),
        "seed": 1,
        "label_position": 9,
        "labeled_events": [f"feed/file:{i}" for i in range(6)],
        "labeled_verdicts": [0, 1, 0, 1, 0, 1],
        "labels": {"anomaly": 3, "normal": 3},
        "data": {
            "first_record": 1000,
            "last_record": 1199,
            "rows": 200,
            "trained_rows": trained,
            "past_rows": 0,
            "labeled_rows": 6,
        },
    }
    assert sorted(encoder["categories"][0]) == ["tcp", "udp"]
    assert losses["epochs"] == 5
    assert losses["first"] > 0
    assert losses["last"] > 0


def test_rows_of_the_past_are_trained_on_and_never_part_of_the_reference():
    shot = snapshot(rows=260)
    held = held_out(shot.records, 1)
    past = np.flatnonzero(~held)[:60]
    order = np.concatenate([past, np.setdiff1d(np.arange(260), past)])
    mixed = replace(
        shot, past=60, **{name: getattr(shot, name)[order] for name in ("numbers", "codes", "records")}
    )
    manifest, tensors = fit(mixed)
    assert manifest["data"] == {
        "first_record": int(shot.records[order[60]]),
        "last_record": 1259,
        "rows": 200,
        "trained_rows": 200 - int(held.sum()),
        "past_rows": 60,
        "labeled_rows": 0,
    }
    assert len(tensors["reference.score"]) == held.sum()
    assert same(part(tensors, "model."), part(fit(shot)[1], "model."))  # as if all were of the window


@pytest.mark.parametrize("name", FOR_FEEDS)
def test_the_reference_is_the_held_out_rows_in_record_order_as_the_model_scores_them(name):
    shot = snapshot(labels=6, name=name, settings={"norm": 1}, min_steps=4)
    manifest, tensors = fit(shot)
    held = held_out(shot.records, 1)
    model = ScoringModel.from_parts(manifest, tensors, "cpu", 1)
    scored = model.score(model.encoder.bind(VALUES).encode(shot.numbers[held], shot.codes[held]))
    assert tensors["reference.score"].tobytes() == scored.score.tobytes()
    assert tensors["reference.features"].tobytes() == scored.features.tobytes()


def test_what_is_held_out_changes_nothing_but_the_reference():
    shot = snapshot()
    held = held_out(shot.records, 1)
    shot.numbers[held] += 100.0
    _, tensors = fit(shot)
    _, plain = fit(snapshot())
    for prefix in ("encoder.", "model."):
        assert same(part(tensors, prefix), part(plain, prefix))
    assert not same(part(tensors, "reference."), part(plain, "reference."))


def test_the_head_knows_the_labels_and_can_forget_them_one_by_one():
    _, tensors = fit(snapshot(labels=6))
    head = Head.from_tensors(part(tensors, "head."))
    assert (head.count_anomaly, head.count_normal) == (3, 3)
    features = tensors["head.features"]
    assert head.log_odds(features)[1::2].min() > head.log_odds(features)[::2].max()
    for i, (precision, shift) in enumerate(tensors["head.sites"]):
        head.remove(features[i], Site(precision, shift), "anomaly" if i % 2 else "normal")
    fresh = Head.with_waves(tensors["reference.features"], 0.001, snapshot().seed)
    assert head.mean == pytest.approx(fresh.mean, abs=1e-9)


def test_without_labels_the_head_is_the_prior():
    _, tensors = fit(snapshot())
    assert same(part(tensors, "head."), {
        **Head.with_waves(tensors["reference.features"], 0.001, snapshot().seed).tensors(),
        "sites": np.empty((0, 2)),
        "features": np.empty((0, 7)),
    })  # fmt: skip


@pytest.mark.parametrize("rows", [1, 2, 3, 20])
@pytest.mark.parametrize("labels", [0, 1, 2])
@pytest.mark.parametrize("name", FOR_FEEDS)
def test_the_smallest_windows_give_a_model_that_scores(name, rows, labels):
    manifest, tensors = fit(snapshot(rows, labels, name=name, min_steps=4))
    assert len(tensors["reference.score"]) >= 1
    assert manifest["data"]["trained_rows"] >= 1
    for tensor in tensors.values():
        assert np.isfinite(tensor).all()


def test_rows_that_repeat_a_labeled_anomaly_are_not_trained_on_as_normal():
    shot = snapshot(labels=2)
    copies = ~held_out(shot.records, 1)
    copies[100:] = False
    shot.numbers[copies], shot.codes[copies] = shot.labeled_numbers[1], shot.labeled_codes[1]
    manifest, _ = fit(shot)
    assert manifest["data"]["trained_rows"] == int((~held_out(shot.records, 1)).sum() - copies.sum())


def test_a_window_that_only_repeats_one_labeled_anomaly_still_gives_a_model():
    shot = snapshot(labels=2)
    shot.numbers[:], shot.codes[:] = shot.labeled_numbers[1], shot.labeled_codes[1]
    manifest, tensors = fit(shot)
    assert manifest["data"]["trained_rows"] == 0
    assert np.isfinite(tensors["reference.score"]).all()


def test_an_empty_window_is_a_training_error():
    with pytest.raises(TrainingError, match="no records"):
        fit(snapshot(0))


def test_a_snapshot_survives_its_directory(tmp_path):
    shot = snapshot(labels=3)
    shot.save(tmp_path)
    again = Snapshot.load(tmp_path)
    for name in Snapshot.__dataclass_fields__:
        one, other = getattr(shot, name), getattr(again, name)
        if isinstance(one, np.ndarray):
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
        else:
            assert one == other
    assert not list(tmp_path.glob("*.pkl"))


def test_a_snapshot_with_a_pickle_in_it_is_refused(tmp_path):
    snapshot().save(tmp_path)
    np.save(tmp_path / "records.npy", np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        Snapshot.load(tmp_path)


def test_the_encoder_of_an_artifact_reads_another_processes_codes():
    manifest, tensors = fit(snapshot())
    encoder = Encoder.from_state(manifest["encoder"], part(tensors, "encoder."))
    numbers = np.zeros((2, 2))
    one = encoder.bind(VALUES).encode(numbers, np.array([[1], [2]], np.int32))
    other = encoder.bind((("", "sctp", "udp", "tcp"),)).encode(numbers, np.array([[3], [2]], np.int32))
    assert one.tobytes() == other.tobytes()
