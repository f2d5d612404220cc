from __future__ import annotations

import numpy as np
import pytest

from streamad.state.holdout import chosen, compared, held_out, split


def test_a_tenth_of_the_records_is_held_out_whatever_the_seed():
    records = np.arange(100_000)
    for seed in (0, 1, 2**63):
        assert held_out(records, seed).mean() == pytest.approx(0.1, abs=0.005)
    assert (held_out(records, 0) & held_out(records, 1)).mean() == pytest.approx(0.01, abs=0.003)


def test_a_record_is_held_out_whichever_window_it_is_in():
    records = np.arange(1000)
    assert (held_out(records, 3)[500:] == held_out(records[500:], 3)).all()
    assert held_out(records, 3).sum() == held_out(records[::-1], 3)[::-1].sum()


def test_the_first_records_held_out_never_change():
    assert np.flatnonzero(held_out(np.arange(60), 1)).tolist() == [1, 5, 7, 9, 23, 26, 40, 42, 57]


@pytest.mark.parametrize("rows", range(2, 40))
def test_the_smallest_windows_have_rows_on_either_side(rows):
    for seed in range(20):
        held = split(np.arange(rows), seed)
        assert 0 < held.sum() < rows


def test_a_single_row_is_held_out_and_no_rows_are_no_trouble():
    assert split(np.array([0]), 1).tolist() == [True]
    assert split(np.arange(0), 1).tolist() == []


def test_a_sample_has_its_share_and_is_apart_from_the_hold_out():
    records = np.arange(100_000)
    sample = chosen(records, 1, 0.1)
    assert sample.mean() == pytest.approx(0.1, abs=0.005)
    assert (sample & held_out(records, 1)).mean() == pytest.approx(0.01, abs=0.003)
    assert not chosen(records, 1, 0.0).any()
    assert chosen(records, 1, 1.0).all()


def test_half_of_all_records_are_compared_with_those_held_out_among_them():
    records = np.arange(100_000)
    half = compared(records, 7)
    assert half.mean() == pytest.approx(0.5, abs=0.01)
    assert half[held_out(records, 7)].all()
