"""The examples of what is usual that an artifact carries."""

from __future__ import annotations

import numpy as np
import pytest

from streamad.features.encoder import Encoder
from streamad.features.options import FeatureOptions
from streamad.features.usual import ROWS, Usual
from streamad.records.schema import Schema

SCHEMA = Schema(fields={"a": "numeric", "b": "numeric", "kind": "categorical"})
VALUES = (("", "udp", "tcp", "rare"),)
NUMBERS = np.array([[1, 10], [2, np.nan], [3, 30], [4, 40]] * 3, dtype=np.float64)
CODES = np.array([[2], [2], [1], [-1]] * 3, np.int32)
CODES[2] = 3


def encoder():
    return Encoder.fit(SCHEMA, NUMBERS, CODES, VALUES, FeatureOptions(min_count=2))


def rows(usual):
    """As comparable values, in order."""
    return sorted(map(str, np.hstack([usual.numbers, usual.codes]).tolist()))


def test_examples_are_the_windows_rows_in_the_codes_of_the_encoder_and_rare_values_are_named_nowhere():
    assert encoder().categories == (("tcp", "udp"),)
    usual = Usual.fit(encoder(), NUMBERS, CODES, VALUES, seed=1)
    own = np.array([1, 1, 2, -1] * 3)
    own[2] = 0
    assert rows(usual) == sorted(map(str, np.column_stack([NUMBERS, own]).tolist()))
    assert "rare" not in str(encoder().meta())


def test_examples_are_encoded_as_the_records_that_they_are():
    usual = Usual.fit(encoder(), NUMBERS, CODES, VALUES, seed=1)
    expected = encoder().bind(VALUES).encode(NUMBERS, CODES)
    assert sorted(usual.encoded(encoder()).tolist()) == sorted(expected.tolist())


def test_a_large_window_gives_so_many_examples_others_for_another_seed():
    numbers, codes = np.arange(6000.0).reshape(3000, 2), np.ones((3000, 1), np.int32)
    made = Encoder.fit(SCHEMA, numbers, codes, VALUES, FeatureOptions())
    one, again, other = (Usual.fit(made, numbers, codes, VALUES, seed) for seed in (1, 1, 2))
    assert len(one.numbers) == len(set(one.numbers[:, 0])) == ROWS
    assert one.numbers.tolist() == again.numbers.tolist() != other.numbers.tolist()


def test_tensors_bring_the_examples_back_and_an_artifact_without_any_gives_its_centre():
    usual = Usual.fit(encoder(), NUMBERS, CODES, VALUES, seed=1)
    assert rows(Usual.from_tensors(encoder(), usual.tensors())) == rows(usual)
    centre = Usual.from_tensors(encoder(), {})
    assert (centre.numbers.tolist(), centre.codes.tolist()) == ([[2.5, pytest.approx(80 / 3)]], [[1]])
    assert centre.encoded(encoder())[:, :2].tolist() == [[0, 0]]


def test_the_centre_of_a_heavy_tailed_number_is_told_in_its_own_unit():
    numbers = np.array([[0.0], [1], [3], [1e6]])
    made = Encoder.fit(
        Schema(fields={"a": "numeric"}), numbers, np.empty((4, 0), np.int32), (), FeatureOptions()
    )
    assert made.scaler.heavy.tolist() == [True]
    assert Usual.centre(made).numbers[0, 0] == pytest.approx(np.expm1(np.log1p(numbers).mean()))


@pytest.mark.parametrize(
    "tensors",
    [
        {"numbers": np.zeros((2, 3)), "codes": np.zeros((2, 1))},
        {"numbers": np.zeros((2, 2)), "codes": np.zeros((3, 1))},
        {"numbers": np.zeros((2, 2)), "codes": np.full((2, 1), 3)},
        {"numbers": np.zeros((2, 2)), "codes": np.full((2, 1), -2)},
        {"numbers": np.zeros((0, 2)), "codes": np.zeros((0, 1))},
        {"numbers": np.zeros(2), "codes": np.zeros(2)},
    ],
)
def test_examples_that_do_not_fit_the_encoder_are_refused(tensors):
    with pytest.raises(ValueError, match="do not fit"):
        Usual.from_tensors(encoder(), tensors)
