from __future__ import annotations

import numpy as np
import pytest

from streamad.models.head import Head

F = 9  # eight latents and the level of the score
RATE = 0.001


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, F))


def taught(labels=40, seed=0):
    head = Head.fresh(F, RATE)
    features = rows(labels, seed)
    verdicts = ["anomaly" if row[0] > 0 else "normal" for row in features]
    sites = [head.update(row, verdict) for row, verdict in zip(features, verdicts, strict=True)]
    return head, features, verdicts, sites


def test_without_labels_the_score_alone_decides_and_the_usual_record_is_rare():
    head = Head.fresh(F, RATE)
    levels = np.zeros((3, F))
    levels[:, -1] = [0, 2, 8]
    probability = head.probability(levels)
    assert (np.diff(probability) > 0).all()
    assert probability[0] < 0.01
    latents = np.zeros((2, F))
    latents[:, 0] = [-1, 1]
    assert head.probability(latents)[0] == pytest.approx(head.probability(latents)[1])


@pytest.mark.parametrize(("verdict", "sign"), [("anomaly", 1), ("normal", -1)])
def test_a_label_moves_its_own_record_towards_itself_and_hardly_an_ordinary_one(verdict, sign):
    head, before = Head.fresh(F, RATE), Head.fresh(F, RATE)
    strange, ordinary = np.full((1, F), 4.0), np.zeros((1, F))
    head.update(strange[0], verdict)
    own = (head.log_odds(strange) - before.log_odds(strange))[0]
    other = (head.log_odds(ordinary) - before.log_odds(ordinary))[0]
    assert sign * own > 0
    assert abs(other) < 0.3 * abs(own)
    assert head.probability(ordinary)[0] < 0.01


def test_the_most_surprising_label_of_the_most_extreme_record_does_not_overshoot():
    head = Head.fresh(F, 1e-6)
    extreme = np.full((1, F), 8.0)
    extreme[0, -1] = -8.0
    head.update(extreme[0], "anomaly")
    assert 0.2 < head.probability(extreme)[0] < 0.99
    assert np.abs(head.mean[: F - 1]).max() < 3


def test_a_withdrawn_label_leaves_no_trace():
    head, *_ = taught()
    expected = head.tensors()
    extra = rows(1, seed=5)[0]
    site = head.update(extra, "anomaly")
    head.remove(extra, site, "anomaly")
    for name, tensor in head.tensors().items():
        assert tensor == pytest.approx(expected[name], rel=1e-9, abs=1e-9)


def test_labels_can_be_withdrawn_in_any_order_until_the_prior_is_left():
    head, features, verdicts, sites = taught()
    for i in np.random.default_rng(1).permutation(len(sites)):
        head.remove(features[i], sites[i], verdicts[i])
    fresh = Head.fresh(F, RATE)
    assert head.mean == pytest.approx(fresh.mean, abs=1e-8)
    assert (head.count_anomaly, head.count_normal) == (0, 0)


def test_labels_that_agree_in_one_pass_of_the_rule_are_learned():
    head, *_ = taught(labels=100)
    fresh = rows(400, seed=7)
    truth = fresh[:, 0] > 0
    logits = head.log_odds(fresh)
    assert logits[truth].mean() - logits[~truth].mean() > 1


def test_learning_many_at_once_finds_the_mode_of_their_posterior():
    _, features, verdicts, _ = taught(labels=30)
    head = Head.fresh(F, RATE)
    head.fit(features, verdicts, sweeps=30)
    f = np.column_stack([features, np.ones(30)])
    y = np.array([verdict == "anomaly" for verdict in verdicts])
    prior = Head.fresh(F, RATE)
    gradient = f.T @ (y - 1 / (1 + np.exp(-f @ head.mean))) - np.linalg.solve(
        prior.covariance, head.mean - prior.mean
    )
    assert np.abs(gradient).max() < 0.1


@pytest.mark.parametrize("verdict", ["anomaly", "normal"])
def test_a_long_run_of_one_class_does_not_collapse_the_head(verdict):
    head = Head.fresh(F, RATE)
    for row in rows(3000):
        head.update(row, verdict)
    assert np.isfinite(head.mean).all()
    assert (np.linalg.eigvalsh(head.covariance) > 0).all()
    other = "normal" if verdict == "anomaly" else "anomaly"
    strange = np.full((1, F), 5.0)
    before = head.log_odds(strange)[0]
    for _ in range(3):
        head.update(strange[0], other)
    moved = head.log_odds(strange)[0] - before
    assert (moved > 1) if other == "anomaly" else (moved < -1)


def test_the_same_label_for_ever_stays_finite():
    head = Head.fresh(F, RATE)
    for _ in range(5000):
        head.update(np.full(F, 8.0), "anomaly")
    assert np.isfinite(head.mean).all()
    assert head.probability(np.full((1, F), 8.0))[0] > 0.9


def test_a_probability_does_not_depend_on_its_neighbours():
    head, *_ = taught()
    features = rows(1500, seed=3)
    whole = head.probability(features)
    for size in (1, 3, 64, 255, 256, 257, 1000):
        parts = [head.probability(features[i : i + size]) for i in range(0, 1500, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_a_head_survives_its_artifact_bit_for_bit_and_a_copy_is_its_own():
    head, *_ = taught()
    again, copy = Head.from_tensors(head.tensors()), head.copy()
    features = rows(50, seed=4)
    expected = head.probability(features)
    assert again.probability(features).tobytes() == expected.tobytes()
    copy.update(features[0], "anomaly")
    assert head.probability(features).tobytes() == expected.tobytes()
    assert copy.count_anomaly == head.count_anomaly + 1


def test_labels_are_counted_by_verdict():
    head, _, verdicts, _ = taught()
    assert (head.count_anomaly, head.count_normal) == (verdicts.count("anomaly"), verdicts.count("normal"))


def test_no_rows_have_no_probabilities():
    assert Head.fresh(F, RATE).probability(np.empty((0, F))).shape == (0,)
