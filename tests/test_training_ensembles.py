"""Every detector, trained for a few steps: with its members and sets together or alone, and on the least data."""

from __future__ import annotations

import math

import pytest
import torch
from detectors_help import DETECTORS, OPTIONS, SEEDS, rows, trained, weights

from streamad.errors import TrainingError
from streamad.models.base import make_detector
from streamad.training.loop import TrainingRows

CLOSE = {"rtol": 1e-3, "atol": 2e-5}
"""Products of five networks at once are rounded otherwise than those of one, and Adam carries that on."""


def each_alone(name, data, seeds, **changes):
    """The weights [K, P] of the members trained one by one, each on its own set."""
    times = len(seeds) // len(data.rows)
    found = []
    for member, seed in enumerate(seeds):
        own = slice(member // times, member // times + 1)
        part = TrainingRows(data.rows[own], data.labels[own])
        found.append(weights(trained(name, part, seeds=(seed,), **changes)[0]))
    return torch.cat(found)


@pytest.mark.parametrize("norm", [0, 1])
@pytest.mark.parametrize("name", DETECTORS)
def test_five_members_trained_together_are_five_trained_alone_with_the_same_seeds(name, norm):
    data = rows(40, anomalies=4, normals=4)
    together, losses = trained(name, data, seeds=SEEDS, settings={"norm": norm})
    assert torch.allclose(weights(together), each_alone(name, data, SEEDS, settings={"norm": norm}), **CLOSE)
    assert all(map(math.isfinite, losses))


@pytest.mark.parametrize("name", DETECTORS)
def test_members_of_two_sets_at_once_are_those_of_each_set_alone(name):
    data = rows(40, anomalies=4, normals=4, sets=2)
    data.labels[1] = data.labels[1].flip(0)
    together, _ = trained(name, data, seeds=SEEDS[:4])
    assert torch.allclose(weights(together), each_alone(name, data, SEEDS[:4]), **CLOSE)


@pytest.mark.parametrize("name", ["deep_sad", "dp_vae", "supervised"])
def test_members_of_unlabeled_sets_and_of_ensembles_without_a_head_are_trained_as_if_alone_too(name):
    for data, changes in (
        (rows(33, sets=2), {}),
        (rows(33, anomalies=1, sets=2), {"head": False, "labeled_share": 0.0}),
    ):
        together, _ = trained(name, data, seeds=SEEDS[:2], **changes)
        assert torch.allclose(weights(together), each_alone(name, data, SEEDS[:2], **changes), **CLOSE)


def test_deep_sad_without_labels_is_one_class_deep_svdd_weight_for_weight():
    data = rows(50)
    deep_sad, deep_svdd = (trained(name, data)[0] for name in ("deep_sad", "deep_svdd"))
    assert torch.equal(weights(deep_sad), weights(deep_svdd))
    labeled = trained("deep_sad", rows(50, anomalies=3))[0]
    assert not torch.equal(weights(labeled), weights(deep_sad))


def test_pretraining_can_be_left_out_and_moves_the_centre():
    data = rows(50)
    with_it, without = (trained("deep_sad", data, settings={"pretraining": length}) for length in (2, 0))
    assert (len(with_it[1]), len(without[1])) == (6, 2)
    assert not torch.equal(with_it[0].centre, without[0].centre)
    fresh = make_detector("deep_sad", 6, OPTIONS, SEEDS[:3])
    assert torch.equal(
        torch.cat([p.flatten() for p in without[0].decoder.parameters()]),
        torch.cat([p.flatten() for p in fresh.decoder.parameters()]),
    )


@pytest.mark.parametrize("name", ["deep_sad", "deep_svdd"])
def test_members_of_deep_sad_score_on_one_scale(name):
    data = rows(200, anomalies=3)
    made, _ = trained(name, data, seeds=SEEDS)
    scores, codes = made.score(data.rows[0])
    assert scores[:, data.labels[0] != 1].mean(1).tolist() == pytest.approx([1.0] * 5, rel=1e-4)
    distances = made.distance(codes)[:, data.labels[0] != 1].mean(1)
    assert distances.max() > 1.1 * distances.min()  # without their scale they would not


COUNTS = [
    (n, a, m) for n in (1, 2, 15, 17, 33) for a, m in ((0, 0), (1, 0), (0, 1), (n, 0), (0, n)) if a + m <= n
]


@pytest.mark.parametrize("name", DETECTORS)
def test_any_number_of_rows_and_labels_of_one_class_or_none_trains_and_scores(name):
    other = rows(5, seed=3).rows[0]
    for count, anomalies, normals in COUNTS:
        data = rows(count, anomalies=anomalies, normals=normals)
        made, losses = trained(name, data, seeds=SEEDS[:2], epochs=1, min_steps=2)
        assert all(map(math.isfinite, losses))
        assert weights(made).isfinite().all()
        scores, latents = made.score(other)
        assert scores.isfinite().all()
        assert (scores >= 0).all()
        assert latents.isfinite().all()


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_learns_something_without_any_label(name):
    fresh = make_detector(name, 6, OPTIONS, SEEDS[:3])
    assert not torch.equal(weights(trained(name, rows(20))[0]), weights(fresh))


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("label", [-1, 1])
def test_a_value_that_is_no_number_stops_the_training_with_one_sentence(name, label):
    data = rows(20, anomalies=2)
    data.labels[0, 7] = label
    data.rows[0, 7, 2] = float("nan")
    with pytest.raises(TrainingError) as error:
        trained(name, data)
    assert str(error.value) == "the training diverged: the loss of epoch 1 is not finite"


@pytest.mark.parametrize("name", DETECTORS)
def test_normalised_detectors_score_by_running_statistics_and_prepared_ones_say_the_same(name):
    data = rows(60, anomalies=4, normals=4)
    made, _ = trained(name, data, settings={"norm": 1})
    assert not made.training
    x = rows(9, seed=5).rows[0]
    scores, latents = made.score(x)
    alone = torch.cat([made.score(row)[0] for row in x.split(1)], 1)
    assert torch.allclose(scores, alone, rtol=1e-4, atol=1e-6)
    assert any(buffer.sub(1).abs().max() > 0.01 for key, buffer in made.named_buffers() if "variance" in key)
    made.prepare()
    again, codes = made.score(x)
    assert torch.allclose(scores, again, rtol=1e-4, atol=1e-5)
    assert torch.allclose(latents, codes, rtol=1e-4, atol=1e-5)
