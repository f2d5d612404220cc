"""Dictionaries: codes of category values, bounded and exactly repeatable."""

from __future__ import annotations

import json

import numpy as np
import pytest
from records_help import CSV, block

from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary, remap
from streamad.records.schema import Schema

SCHEMA = Schema(fields={"c": "categorical", "d": "categorical"})


def decode(
    dictionary: Dictionary, words: list[str], first: int, *, learn: bool = True, compiled: bool = True
):
    rows = [f"{word},x".encode() for word in words]
    batch = Decoder(SCHEMA, CSV, dictionary, compiled=compiled).decode(block(rows), first, learn=learn)
    return batch.codes[:, 0].tolist()


@pytest.mark.parametrize("compiled", [True, False])
def test_codes_count_up_in_the_order_of_first_sight(compiled):
    dictionary = Dictionary(SCHEMA.categories)
    assert decode(dictionary, ["b", "a", "b", "", "c"], 0, compiled=compiled) == [1, 2, 1, -1, 3]
    assert dictionary.values(0) == ["", "b", "a", "c"]
    assert dictionary.values(1) == ["", "x"]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_full_field_gives_other_and_stays_within_its_memory(compiled):
    dictionary = Dictionary(SCHEMA.categories, capacity=4)
    words = [f"v{i}" for i in range(2_000)]
    assert decode(dictionary, words, 0, compiled=compiled) == [1, 2, 3] + [0] * 1_997
    assert dictionary.values(0) == ["", "v0", "v1", "v2"]
    assert decode(dictionary, ["v2", "v3"], 2_000, compiled=compiled) == [3, 0]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_field_is_also_full_when_its_values_are_long(compiled):
    dictionary = Dictionary(SCHEMA.categories, capacity=8)  # 512 bytes
    words = ["a" * 256, "b" * 257, "c" * 200, "d" * 57, "e" * 56, "f"]
    assert decode(dictionary, words, 0, compiled=compiled) == [1, 0, 2, 0, 3, 0]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_second_reading_gives_each_record_the_codes_of_the_first(compiled):
    dictionary = Dictionary(SCHEMA.categories)
    decode(dictionary, ["a", "b"], 100, compiled=compiled)
    decode(dictionary, ["c", "a"], 102, compiled=compiled)
    # Record 99 came before the dictionary knew "a": then it was dropped since, and is other.
    read = decode(dictionary, ["a", "a", "c", "b", "a"], 99, learn=False, compiled=compiled)
    assert read == [0, 1, 0, 2, 1]
    assert decode(dictionary, ["c", "new"], 102, learn=False, compiled=compiled) == [3, 0]
    assert dictionary.values(0) == ["", "a", "b", "c"]


@pytest.mark.parametrize("compiled", [True, False])
def test_the_values_of_a_rejected_row_are_not_admitted(compiled):
    dictionary = Dictionary(SCHEMA.categories)
    schema = Schema(fields={"c": "categorical", "n": "numeric", "d": "categorical"})
    batch = Decoder(schema, CSV, dictionary, compiled=compiled).decode(
        block([b"a,x,b", b"c,1,d,e", b"f,1,g"]), 0
    )
    assert (dictionary.values(0), dictionary.values(1)) == (["", "f"], ["", "g"])
    assert batch.codes.tolist() == [[-1, -1], [-1, -1], [1, 1]]


def test_both_decoders_share_one_dictionary():
    dictionary = Dictionary(SCHEMA.categories)
    words = ["a", '"b"', "c", "é", "b", "a", '"c"']
    assert decode(dictionary, words, 0) == [1, 2, 3, 4, 2, 1, 3]
    assert decode(dictionary, words, 7, compiled=False) == [1, 2, 3, 4, 2, 1, 3]


def test_a_rebuild_keeps_what_was_fitted_on_and_what_is_frequent():
    dictionary = Dictionary(SCHEMA.categories, capacity=10)
    words = ["rare", "often", "kept", "some", "often", "some", "often"]
    codes = np.array([[code, 1] for code in decode(dictionary, words, 0)] + [[-1, 0]], np.int32)
    tables = dictionary.rebuild(codes, [["new", "kept"], []], min_count=2)
    assert dictionary.generation == 1
    assert dictionary.values(0) == ["", "new", "kept", "often", "some"]
    assert remap(codes, tables)[:, 0].tolist() == [0, 3, 2, 4, 3, 4, 3, -1]
    assert dictionary.state(100)["fields"]["c"]["first_seen"] == [0, 2, 1, 3]
    assert decode(dictionary, ["rare", "often", "new", "other"], 10) == [5, 3, 1, 6]


def test_a_rebuild_leaves_room_for_new_values():
    dictionary = Dictionary(SCHEMA.categories, capacity=8)
    codes = np.array([[code, 1] for code in decode(dictionary, list("abcdefg"), 0)], np.int32)
    tables = dictionary.rebuild(codes, [[], []], min_count=1)
    assert dictionary.values(0) == ["", "a", "b", "c", "d"]
    assert remap(codes, tables)[:, 0].tolist() == [1, 2, 3, 4, 0, 0, 0]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_saved_dictionary_goes_on_as_the_one_it_was_taken_from(compiled):
    dictionary = Dictionary(SCHEMA.categories, capacity=6)
    decode(dictionary, ["a", "b", "c"], 0, compiled=compiled)
    saved = json.loads(json.dumps(dictionary.state(2)))
    restored = Dictionary.from_state(SCHEMA.categories, saved, capacity=6)
    assert restored.values(0) == ["", "a", "b"]
    assert decode(restored, ["c", "a", "d", "e", "f"], 2, compiled=compiled) == [3, 1, 4, 5, 0]


def test_the_extent_moves_with_every_value_that_a_saved_state_would_newly_hold():
    dictionary = Dictionary(SCHEMA.categories)
    decode(dictionary, ["a", "b", "a", "c"], 0)
    alone = [dictionary.extent(before)[1] - dictionary.extent(0)[1] for before in range(5)]
    values = [sum(len(f["values"]) for f in dictionary.state(n)["fields"].values()) for n in range(5)]
    assert alone == [count - values[0] for count in values]
    assert alone[1:] == [alone[1], alone[1] + 1, alone[1] + 1, alone[1] + 2]
    dictionary.rebuild(np.zeros((0, 2), np.int32), [[], []], 1)
    assert dictionary.extent(4) == (1, 0)
