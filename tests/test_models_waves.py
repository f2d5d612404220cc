"""Random Fourier features under the head."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.models.head import Head
from streamad.models.waves import COUNT, Waves

F = 41


@pytest.fixture
def rows():
    """200 rows of standardised features, the level included."""
    return np.random.default_rng(0).standard_normal((200, F))


def test_products_of_waves_are_the_kernel_of_the_latents_within_its_sampling_error(rows):
    waves = Waves.fresh(rows, 1).apply(rows)[:, :-1]
    apart = ((rows[:, None, :-1] - rows[None, :, :-1]) ** 2).sum(-1)
    kernel = np.exp(-apart / (2 * (F - 1)))
    assert np.abs(waves @ waves.T - kernel).mean() < 1 / np.sqrt(COUNT)


def test_before_any_label_a_head_on_waves_ranks_by_the_level(rows):
    odds = Head.with_waves(rows, 0.001, 1).log_odds(rows)
    assert (np.diff(odds[np.argsort(rows[:, -1])]) > -1e-9).all()


def test_with_few_labels_a_rows_doubt_is_that_of_the_whole_posterior_and_with_many_never_less(rows):
    head = Head.with_waves(rows, 0.01, 1)
    f = np.column_stack([head.waves.apply(rows), np.ones(len(rows))]).astype(float)
    for count in (20, 200):
        for row in rows[head.count_anomaly : count]:
            head.update(row, "anomaly")
        variance = np.einsum("nf,fg,ng->n", f, head.covariance, f)
        exact = f @ head.mean / np.sqrt(1 + np.pi / 8 * variance)
        found = head.log_odds(rows)
        assert (np.abs(found) <= np.abs(exact) + 1e-4).all()
        assert np.allclose(found, exact, atol=1e-4) == (count == 20)


def test_a_label_moves_its_own_kind_and_leaves_what_is_far_from_it_alone(rows):
    head, random = Head.with_waves(rows, 0.01, 1), np.random.default_rng(2)
    kind, other = (
        centre + 0.1 * random.standard_normal((50, F)) for centre in (4 * random.standard_normal(F), 0.0)
    )
    for row in kind[:5]:
        head.update(row, "anomaly")
    for row in other[:5]:
        head.update(row, "normal")
    assert head.log_odds(kind[5:]).min() > 0
    assert head.log_odds(other[5:]).max() < -2


def test_one_mistaken_label_among_many_right_ones_leaves_its_kind_what_it_is(rows):
    random = np.random.default_rng(3)
    for told, mistaken in (("normal", "anomaly"), ("anomaly", "normal")):
        head = Head.with_waves(rows, 0.01, 1)
        kind = 2 * random.standard_normal(F) + 0.1 * random.standard_normal((60, F))
        for row in kind[:20]:
            head.update(row, told)
        before = head.log_odds(kind[30:])
        head.update(kind[20], mistaken)
        after = head.log_odds(kind[30:])
        assert (np.sign(after) == np.sign(before)).all()
        assert np.abs(after - before).max() < 1


def test_a_kind_whose_first_label_was_a_mistake_is_known_after_two_right_ones(rows):
    rows[:, -1] = 0.0
    head, kind = Head.with_waves(rows, 0.01, 1), rows[:1] + 0.1 * rows[:30]
    for row, label in zip(kind, ("normal", "anomaly", "anomaly"), strict=False):
        head.update(row, label)
    assert head.log_odds(kind[5:]).min() > head.log_odds(rows[50:]).max()


def test_a_head_on_waves_that_was_saved_gives_the_same_bits(rows):
    head = Head.with_waves(rows, 0.001, 1)
    head.update(rows[0], "anomaly")
    again = Head.from_tensors(head.tensors())
    assert again.log_odds(rows).tobytes() == head.log_odds(rows).tobytes()
