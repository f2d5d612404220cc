from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from streamad.features.encoder import Encoder
from streamad.features.options import FeatureOptions
from streamad.records.schema import Schema

SCHEMA = Schema(fields={"size": "numeric", "proto": "categorical", "up": "boolean"})
VALUES = (("", "tcp", "udp", "icmp"),)
OPTIONS = FeatureOptions(min_count=1)


def fit(numbers, codes, values=VALUES, options=OPTIONS, schema=SCHEMA):
    return Encoder.fit(
        schema, np.array(numbers, float), np.array(codes, np.int32).reshape(len(codes), -1), values, options
    )


def test_numbers_are_standardised_and_categories_get_one_slot_each_and_one_for_unseen():
    encoder = fit([[1, 0], [3, 1], [1, 1], [3, 0]], [1, 1, 1, 2])
    assert encoder.categories == (("tcp", "udp"),)
    assert encoder.width == 5
    assert encoder.column_field.tolist() == [0, 1, 2, 2, 2]
    encoded = encoder.bind(VALUES).encode(np.array([[1.0, 1.0], [5.0, 0.0]]), np.array([[2], [3]], np.int32))
    assert encoded.tolist() == [[-1, 1, 0, 1, 0], [3, -1, 0, 0, 1]]
    assert encoded.dtype == np.float32


def test_reasons_are_grouped_by_the_schemas_features_numbers_first():
    schema = Schema(fields={"kind": "categorical", "b": "boolean", "a": "numeric", "city": "categorical"})
    encoder = fit(
        [[1, 0], [np.nan, 1]],
        [[1, -1], [1, 1]],
        (("", "x"), ("", "here")),
        FeatureOptions(min_count=1),
        schema,
    )
    assert schema.features == ("a", "b", "kind", "city")
    # two numbers, the indicator of a, "x" and unseen, "here", unseen and missing
    assert encoder.column_field.tolist() == [0, 1, 0, 2, 2, 3, 3, 3]


def test_the_encoder_does_not_depend_on_the_codes_that_the_values_happened_to_have():
    numbers = np.zeros((6, 2))
    one = fit(numbers, [1, 1, 2, 2, 3, 3])
    other = fit(numbers, [3, 3, 1, 1, 2, 2], (("", "udp", "icmp", "tcp"),))
    assert one.meta() == other.meta()
    assert one.categories == (("icmp", "tcp", "udp"),)


def test_rare_values_and_values_beyond_the_limit_share_the_unseen_slot():
    codes = [1] * 5 + [2] * 3 + [3] * 2
    assert fit(np.zeros((10, 2)), codes, options=FeatureOptions()).categories == (("tcp", "udp"),)
    assert fit(np.zeros((10, 2)), codes, options=FeatureOptions(max_categories=1)).categories == (("tcp",),)


def test_codes_admitted_after_binding_and_the_other_code_are_unseen():
    bound = fit(np.zeros((2, 2)), [1, 2]).bind(VALUES)
    encoded = bound.encode(np.zeros((4, 2)), np.array([[0], [3], [4], [100]], np.int32))
    assert encoded[:, 2:].tolist() == [[0, 0, 1]] * 4


def test_a_missing_category_has_its_own_slot_where_the_window_had_some_and_is_unseen_elsewhere():
    some = fit(np.zeros((2, 2)), [1, -1]).bind(VALUES)
    none = fit(np.zeros((2, 2)), [1, 1]).bind(VALUES)
    missing = np.array([[-1]], np.int32)
    assert some.encode(np.zeros((1, 2)), missing)[0, 2:].tolist() == [0, 0, 1]
    assert none.encode(np.zeros((1, 2)), missing)[0, 2:].tolist() == [0, 1]


def test_a_missing_number_is_the_centre_and_says_so_where_the_window_had_some():
    encoder = fit([[2, np.nan], [4, 1]], [1, 1])
    encoded = encoder.bind(VALUES).encode(np.array([[np.nan, np.nan]]), np.array([[1]], np.int32))
    assert encoder.column_field.tolist() == [0, 1, 1, 2, 2]
    assert encoded.tolist() == [[0, 0, 1, 1, 0]]


def test_a_constant_column_passes_differences_on_as_they_are():
    encoder = fit([[7, 1], [7, 0]], [1, 1])
    assert encoder.bind(VALUES).encode(np.array([[9.0, 1.0]]), np.array([[1]], np.int32))[0, 0] == 2


def test_a_column_missing_everywhere_is_encoded_as_nothing():
    encoder = fit([[np.nan, 1], [np.nan, 0]], [1, 1])
    encoded = encoder.bind(VALUES).encode(
        np.array([[np.nan, 1.0], [3.0, 1.0]]), np.array([[1], [1]], np.int32)
    )
    assert encoded[:, [0, 2]].tolist() == [[0, 1], [3, 0]]


def test_columns_over_many_decades_are_read_on_a_logarithmic_scale_and_others_are_not():
    size = np.repeat(10.0 ** np.arange(10), 10)
    encoder = fit(np.stack([size, np.arange(100) % 2], axis=1), [1] * 100)
    assert encoder.scaler.heavy.tolist() == [True, False]
    rows = np.array([[-1e3, 0], [0, 0], [10, 0], [1e4, 0], [1e6, 0]])
    encoded = encoder.bind(VALUES).encode(rows, np.ones((5, 1), np.int32))[:, 0]
    assert (np.diff(encoded) > 0.3).all()


def test_tiny_numbers_get_a_logarithm_that_is_not_flat():
    size = 1e-12 * np.concatenate([np.full(98, 1.0), [1e3, 1e6]])
    encoder = fit(np.stack([size, size], axis=1), [1] * 100)
    encoded = encoder.bind(VALUES).encode(np.array([[1e-12, 0], [1e-9, 0]]), np.ones((2, 1), np.int32))
    assert encoded[1, 0] - encoded[0, 0] > 1


@pytest.mark.parametrize(("scaling", "limit"), [("robust", 3), ("minmax", 1e6)])
def test_extreme_numbers_stay_extreme_and_finite(scaling, limit):
    encoder = fit([[0, 0], [1, 1]], [1, 1], options=FeatureOptions(scaling=scaling, min_count=1))
    rows = np.array([[1e308, -1e308], [np.inf, -np.inf]])
    encoded = encoder.bind(VALUES).encode(rows, np.ones((2, 1), np.int32))[:, :2]
    assert encoded.tolist() == [[limit, -limit]] * 2


def test_a_window_of_the_largest_doubles_gives_a_finite_encoder():
    encoder = fit([[1e308, 0], [-1e308, 1], [1e308, 0]], [1, 1, 1])
    encoded = encoder.bind(VALUES).encode(np.array([[1e308, 0], [-1e308, 0]]), np.ones((2, 1), np.int32))
    assert np.isfinite(encoded).all()


def test_minmax_maps_the_window_to_zero_and_one_and_does_not_clip_beyond():
    encoder = fit([[10, 0], [30, 1]], [1, 1], options=FeatureOptions(scaling="minmax", min_count=1))
    encoded = encoder.bind(VALUES).encode(np.array([[10.0, 0], [30, 1], [110, 0]]), np.ones((3, 1), np.int32))
    assert encoded[:, 0].tolist() == [0, 1, 5]


def test_a_row_is_encoded_alike_however_a_batch_is_cut():
    generator = np.random.default_rng(1)
    numbers = generator.standard_cauchy((3000, 2)) * 1e4
    numbers[generator.random((3000, 2)) < 0.1] = np.nan
    codes = generator.integers(-1, 4, (3000, 1)).astype(np.int32)
    bound = fit(numbers, codes).bind(VALUES)
    whole = bound.encode(numbers, codes)
    for size in (1, 2, 3, 7, 64, 100, 1023, 1024, 1025, 2999):
        parts = [bound.encode(numbers[i : i + size], codes[i : i + size]) for i in range(0, 3000, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_an_encoder_survives_its_artifact_bit_for_bit():
    generator = np.random.default_rng(2)
    numbers = generator.standard_cauchy((200, 2))
    numbers[3, 0] = np.nan
    codes = generator.integers(-1, 4, (200, 1)).astype(np.int32)
    encoder = fit(numbers, codes)
    again = Encoder.from_state(json.loads(json.dumps(encoder.meta())), encoder.tensors())
    assert (
        again.bind(VALUES).encode(numbers, codes).tobytes()
        == encoder.bind(VALUES).encode(numbers, codes).tobytes()
    )
    assert again.meta() == encoder.meta()


def test_rows_that_do_not_fit_the_schema_are_refused():
    with pytest.raises(ValueError, match="do not fit the schema"):
        fit(np.zeros((2, 3)), [1, 1])


def test_encoding_needs_neither_torch_nor_numba():
    code = "import sys, streamad.features.encoder; print({'torch', 'numba'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
