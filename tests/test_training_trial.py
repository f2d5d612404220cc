"""A challenger is held against the champion before it takes over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamad.features.options import FeatureOptions
from streamad.models.options import DetectorOptions
from streamad.records.schema import Schema
from streamad.training.fit import fit
from streamad.training.planting import plant
from streamad.training.snapshot import Snapshot
from streamad.training.trial import on_trial

SCHEMA = Schema(fields={"a": "numeric", "b": "numeric", "c": "numeric", "kind": "categorical"})
VALUES = (("", "x", "y", "z"),)
OPTIONS = DetectorOptions(name="dae", members=2, hidden=(16,), latent=2, epochs=4)


def rows(count, seed, shift=0.0):
    """Correlated numbers; x twice as often as y, z seldom."""
    random = np.random.default_rng(seed)
    first = random.standard_normal((count, 1)) + shift
    numbers = np.hstack(
        [first, first + 0.1 * random.standard_normal((count, 1)), random.standard_normal((count, 1))]
    )
    return numbers, random.choice([1, 2, 3], (count, 1), p=[0.65, 0.3, 0.05]).astype(np.int32)


def snapshot(numbers, codes, version=2, parent=1):
    return Snapshot(
        numbers=numbers,
        codes=codes,
        records=np.arange(len(numbers)),
        values=VALUES,
        labeled_numbers=numbers[:0],
        labeled_codes=codes[:0],
        labeled_verdict=np.empty(0, np.int8),
        labeled_events=(),
        label_position=0,
        schema=SCHEMA,
        features=FeatureOptions(),
        detector=OPTIONS,
        seed=1,
        version=version,
        parent=parent,
        feed="f",
        prior_rate=0.01,
    )


@pytest.fixture(scope="module")
def recent():
    """What the feed was like lately."""
    return snapshot(*rows(6000, 2))


@pytest.fixture(scope="module")
def honest(recent):
    """A version trained on that."""
    return fit(recent)


def test_another_seed_on_the_same_records_does_not_take_over(recent, honest):
    trial = on_trial(honest, fit(replace(recent, version=5)), recent)
    assert not trial.promoted
    assert trial.reason.startswith("of planted anomalies it finds ")


def test_a_version_that_knows_what_goes_together_takes_over_from_one_that_does_not(recent, honest):
    mixed = np.random.default_rng(3).permuted(recent.numbers, axis=0)
    trial = on_trial(fit(replace(recent, numbers=mixed, version=1)), honest, recent)
    assert trial.promoted
    assert trial.numbers["planted_found"] > trial.numbers["planted_found_before"] + 0.02


def test_weights_that_are_no_numbers_are_refused(recent, honest):
    manifest, tensors = honest
    name = next(name for name in tensors if name.startswith("model."))
    broken = {**tensors, name: np.full_like(tensors[name], np.nan)}
    assert (
        on_trial(honest, (manifest, broken), recent).reason == "the weights hold values that are not finite"
    )


def test_a_version_that_would_alert_twice_as_often_is_refused(recent, honest):
    manifest, tensors = honest
    order = np.argsort(tensors["reference.score"])
    kept = order[: -len(order) // 50]
    fewer = {name: tensors[name][kept] for name in ("reference.score", "reference.features")}
    trial = on_trial(honest, (manifest, {**tensors, **fewer}), recent)
    assert not trial.promoted
    assert trial.reason.startswith("it would alert on ")


def test_a_version_that_is_wrong_about_labels_that_the_one_in_force_knows_is_refused(recent):
    numbers, codes = rows(40, 4)
    numbers[:20] += [3.0, -3.0, 0.0]
    verdict = np.repeat(np.array([1, 0], np.int8), 20)
    events = tuple(f"f/log:{row}" for row in range(40))
    told = replace(
        recent, labeled_numbers=numbers, labeled_codes=codes, labeled_verdict=verdict, labeled_events=events
    )
    wrong = replace(told, labeled_verdict=1 - verdict, version=3)
    trial = on_trial(fit(told), fit(wrong), told)
    assert not trial.promoted
    assert "labeled" in trial.reason


def test_a_version_made_of_few_records_does_not_take_over_from_one_made_of_many(recent, honest):
    few = replace(
        recent, numbers=recent.numbers[:900], codes=recent.codes[:900], records=recent.records[:900]
    )
    trial = on_trial(honest, fit(few), recent)
    assert not trial.promoted
    assert trial.reason.startswith("it has seen ")


def test_a_flood_is_not_taken_for_normal_until_some_of_it_is_labeled_so(recent, honest):
    numbers = recent.numbers.copy()
    numbers[::3] = [0.3, -0.3, 0.1] + 1e-4 * np.random.default_rng(4).standard_normal((2000, 3))
    flooded = replace(recent, numbers=numbers)
    challenger = fit(flooded)
    trial = on_trial(honest, challenger, flooded)
    assert not trial.promoted
    assert "% of recent records are of kinds that the version in force had not seen" in trial.reason
    labeled = replace(
        flooded,
        labeled_numbers=numbers[:90:3],
        labeled_codes=flooded.codes[:90:3],
        labeled_verdict=np.zeros(30, np.int8),
        labeled_events=tuple(f"f/{row}" for row in range(30)),
    )
    assert on_trial(honest, challenger, labeled).numbers["suspicious_share"] < 0.1


def test_what_is_planted_depends_on_its_seed_alone_and_keeps_to_the_values_that_there_are():
    numbers, codes = rows(500, 5)
    one, again, other = (plant(numbers, codes, 50, seed) for seed in (1, 1, 2))
    assert one.numbers.tobytes() == again.numbers.tobytes() != other.numbers.tobytes()
    assert one.numbers.shape == (150, 3)
    assert np.isin(one.codes, codes).all()


def test_a_feed_of_categories_alone_and_one_of_missing_numbers_can_be_planted_in():
    numbers, codes = rows(500, 5)
    assert plant(numbers[:, :0], codes, 50, 1).numbers.shape == (50, 0)
    assert np.isfinite(plant(np.full((500, 1), np.nan), codes, 50, 1).numbers[:50]).any()
