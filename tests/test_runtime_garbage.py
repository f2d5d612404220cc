"""While a feed runs Python searches for garbage in cycles rarely."""

from __future__ import annotations

import gc

import pytest

from streamad.runtime.garbage import searched_rarely


def made_of(count):
    return [[] for _ in range(count)]


@pytest.fixture
def searches():
    """One item for each search so far."""
    found = []
    gc.callbacks.append(lambda phase, _: found.append(phase) if phase == "start" else None)
    yield found
    gc.callbacks.pop()


def test_the_messages_of_two_batches_bring_no_search_about_and_many_more_do(searches):
    before = gc.get_threshold()
    made_of(16_384)
    assert searches
    with searched_rarely():
        searches.clear()
        kept = made_of(16_384)
        assert not searches
        kept += made_of(100_000)
        assert searches
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
