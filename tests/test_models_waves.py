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
    waves = Waves.fresh(F, 1).apply(rows)[:, :-1]
    apart = ((rows[:, None, :-1] - rows[None, :, :-1]) ** 2).sum(-1)
    kernel = np.exp(-apart / (2 * (F - 1)))
    assert np.abs(waves @ waves.T - kernel).mean() < 1 / np.sqrt(COUNT)


def test_before_any_label_a_head_on_waves_ranks_by_the_level(rows):
    odds = Head.with_waves(F, 0.001, 1).log_odds(rows)
    assert np.corrcoef(odds, rows[:, -1])[0, 1] > 0.99


def test_a_label_moves_its_own_kind_and_leaves_what_is_far_from_it_alone():
    head, random = Head.with_waves(F, 0.001, 1), np.random.default_rng(2)
    kind, other = (
        centre + 0.1 * random.standard_normal((50, F)) for centre in (4 * random.standard_normal(F), 0.0)
    )
    for row in kind[:5]:
        head.update(row, "anomaly")
    for row in other[:5]:
        head.update(row, "normal")
    assert head.log_odds(kind[5:]).min() > 0
    assert head.log_odds(other[5:]).max() < -2


def test_a_head_on_waves_that_was_saved_gives_the_same_bits(rows):
    head = Head.with_waves(F, 0.001, 1)
    head.update(rows[0], "anomaly")
    again = Head.from_tensors(head.tensors())
    assert again.log_odds(rows).tobytes() == head.log_odds(rows).tobytes()
