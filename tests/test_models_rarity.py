"""How rare a level is."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.models.rarity import LIMIT, Rarity


@pytest.fixture
def levels():
    """1,000 levels that are exponentially distributed."""
    return np.random.default_rng(0).exponential(size=1000)


def test_the_rarity_of_exponential_levels_is_the_level_also_beyond_all_of_them(levels):
    at = np.array([0.1, 1.0, 3.0, 5.0, 9.0])
    assert Rarity.fit(levels).apply(at) == pytest.approx(at, rel=0.25)


def test_a_monotone_change_of_the_levels_changes_no_rarity_among_them(levels):
    assert Rarity.fit(np.tanh(levels)).apply(np.tanh(levels)) == pytest.approx(
        Rarity.fit(levels).apply(levels), abs=0.02
    )


def test_no_level_is_rarer_than_the_limit_and_none_below_all_is_rare(levels):
    assert Rarity.fit(levels).apply(np.array([-1e9, 1e9])) == pytest.approx([0, LIMIT], abs=1e-3)


def test_levels_that_are_all_the_same_are_alike_rare():
    assert Rarity.fit(np.full(5, 2.0)).apply(np.array([1.0, 2.0, 3.0])) == pytest.approx([np.log(2)] * 3)


def test_a_rarity_that_was_saved_gives_the_same_bits(levels):
    rarity = Rarity.fit(levels)
    assert Rarity.from_tensors(rarity.tensors()).apply(levels).tobytes() == rarity.apply(levels).tobytes()
