"""Our detectors in the active protocol."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamad.bench.papers import asking
from streamad.bench.papers.active import ask_in_rounds
from streamad.bench.papers.datasets import DIGITS, DataSet, load


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(asking, "_EPOCHS", 3)
    monkeypatch.setattr(
        asking, "_PAPER", asking._PAPER.model_copy(update={"min_steps": 5, "hidden": (6, 4), "latent": 3})
    )
    monkeypatch.setattr(asking, "_PAPER_STEPS", 2)


def shifted(n=120, anomalies=12):
    """Anomalies that no base finds, since they lie within the rest, and one linear step apart from it."""
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 4))
    y = np.zeros(n, np.int8)
    y[np.argsort(-x[:, 0])[:anomalies]] = 1
    return DataSet("shifted", x, y)


def test_as_many_rows_are_asked_about_as_there_are_anomalies_each_once():
    asked = []
    rows = ask_in_rounds(120, 5, lambda: np.arange(119, -1, -1), asked.append, 12)
    assert list(rows) == list(range(119, 107, -1))
    assert [len(part) for part in asked] == [5, 5, 2]


def test_answers_lead_the_head_to_what_the_base_does_not_find():
    data = shifted()
    with_answers = asking.asking_head(data, (0, 1), 3)
    assert np.mean(with_answers) > np.mean(asking.asking_base(data, (0, 1), 3))
    assert asking.asking_head(data, (0,), 3) == with_answers[:1]


def test_ten_rounds_of_the_base_leave_nothing_to_learn_where_anomalies_are_few():
    data = shifted()
    (found,), (bound,) = asking.asking_jointly(data, (0,), 3), asking.upper_bound(data, (0,), 3)
    assert found == bound


def test_the_upper_bound_counts_what_the_rounds_of_the_base_left_unasked_as_found():
    data = shifted(anomalies=60)
    (bound,) = asking.upper_bound(data, (0,), 3)
    assert asking.asking_jointly(data, (0,), 3)[0] <= bound <= 1
    assert bound >= 0.5


def test_new_rows_are_scored_before_any_answer_and_after_some():
    data = shifted()
    before, after = asking.asking_on_new_rows(data, data.x[:20], 0, 5, (0, 10))
    assert before.shape == after.shape == (20,)
    assert (before != after).any()


def test_the_digits_recipe_keeps_a_tenth_of_the_zeros_under_other_classes(tmp_path):
    data = load(tmp_path, DIGITS)
    assert data.x.shape == (1637, 73)
    assert data.y.sum() == 18
    assert (data.x[:, 64:].sum(1) == 1).all()
    assert (data.x >= 0).all()
    assert (data.x <= 1).all()
