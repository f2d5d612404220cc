"""Conditions: what people may write, what it means on a record, and what they are told where it is wrong."""

from __future__ import annotations

import math
import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records_help import block, decoder

from streamad.features.condition_tree import And, Compare, In, Missing, Not, Or
from streamad.features.conditions import ConditionError, read_condition
from streamad.records.schema import PayloadFormat, Schema, TimeSpec

SCHEMA = Schema(
    fields={
        "at": "time",
        "user": "id",
        "bytes": "numeric",
        "src.rate": "numeric",
        "is new": "boolean",
        "service": "categorical",
        "not": "categorical",
        "src_ip": "ignore",
        "truth": "label",
    },
    time=TimeSpec(field="at"),
)
RECORD = {
    "at": "2026-01-01T00:00:00Z",
    "user": "ann",
    "bytes": 54540,
    "src.rate": 0.5,
    "is new": True,
    "service": "ftp",
    "not": None,
    "src_ip": "10.0.0.9",
    "truth": "attack",
}


def read(text):
    return read_condition(text, SCHEMA)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("src_ip == 10.0.0.9", Compare("src_ip", "==", "10.0.0.9")),
        ("bytes>=1e3", Compare("bytes", ">=", 1000.0)),
        ("src.rate != -.5", Compare("src.rate", "!=", -0.5)),
        ("'is new' == true", Compare("is new", "==", True)),
        ("user == 42", Compare("user", "==", "42")),
        (r"""service == "a \"b\" \\ 'c'" """, Compare("service", "==", "a \"b\" \\ 'c'")),
        ("service in (http, 'in', ftp)", In("service", ("http", "in", "ftp"))),
        ("bytes not in (1,2)", Not(In("bytes", (1.0, 2.0)))),
        ('"not" is missing', Missing("not")),
        ("user is not missing", Not(Missing("user"))),
        (
            "user == a or bytes < 1 and not user == b",
            Or(
                (
                    Compare("user", "==", "a"),
                    And((Compare("bytes", "<", 1.0), Not(Compare("user", "==", "b")))),
                )
            ),
        ),
        (
            "(user == a or user == b) and (user is missing)",
            And((Or((Compare("user", "==", "a"), Compare("user", "==", "b"))), Missing("user"))),
        ),
        ("user == ünïcode\n", Compare("user", "==", "ünïcode")),
    ],
)
def test_a_condition_is_read_into_its_tree(text, tree):
    assert read(text) == tree


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("src_ip = 10.0.0.9", 7, "equality is written =="),
        ("src_ip ! 1", 7, "inequality is written !=, and its word is not"),
        ("scr_ip == 1", 0, "the schema has no field scr_ip, did you mean src_ip?"),
        ("qqqqqq == 1", 0, "the schema has no field qqqqqq"),
        ("", 0, "expected a field's name"),
        ("bytes", 5, "expected ==, !=, <, <=, > or >=, or in, not in, or is missing"),
        ("bytes == ", 9, "expected a value"),
        ("bytes == many", 9, "bytes is numeric: expected a number"),
        ("bytes == nan", 9, "bytes is numeric: expected a number"),
        ("bytes == 1e999", 9, "bytes is numeric: expected a number"),
        ('bytes == "1"', 9, "bytes is numeric: expected a number"),
        ("'is new' == 1", 12, "is new is boolean: expected true or false"),
        ("'is new' < true", 9, "is new is boolean, which has only == and !="),
        ("service < b", 8, "service is categorical, which has only == and !="),
        ("user > b", 5, "user is text, which has only == and !="),
        ("at > 2026-01-01", 0, "at is the feed's time, on which there are no conditions"),
        ("truth == normal.", 0, "truth is the feed's label, on which there are no conditions"),
        ("user == missing", 8, "expected a value; write user is missing, or put quotes around it"),
        ("user == and", 8, "expected a value; one that is and has quotes around it"),
        ("user is here", 8, "expected missing or not missing"),
        ("user is not here", 12, "expected missing"),
        ("user not == a", 9, "expected in"),
        ("user in a", 8, "expected ("),
        ("user in ()", 9, "expected a value"),
        ("user in (a b)", 11, "expected )"),
        ("(user == a", 10, "expected )"),
        ("user == a)", 9, "expected and, or, or the end"),
        ("user == a user == b", 10, "expected and, or, or the end"),
        ("user == 'a", 8, "a quote is opened and never closed"),
        ("__import__('os')", 0, "the schema has no field __import__"),
        ("not " * 40 + "user == a", 128, "it nests deeper than 32"),
        ("(" * 10_000, 2000, "it is longer than 2000 characters"),
        ("(" * 1999, 32, "it nests deeper than 32"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, position, problem):
    with pytest.raises(ConditionError) as refused:
        read(text)
    assert (refused.value.problem, refused.value.position) == (problem, position)
    assert refused.value.exit_code == 2


def test_an_error_is_one_sentence_that_points_at_the_place():
    with pytest.raises(ConditionError) as refused:
        read("src_ip = 10.0.0.9")
    assert str(refused.value) == "condition, character 8: equality is written ==: src_ip -->= 10.0.0.9"
    with pytest.raises(ConditionError) as refused:
        read("user == a and " * 50 + "scr_ip == 1" + " and user == a" * 50)
    assert str(refused.value) == (
        "condition, character 701: the schema has no field scr_ip, did you mean src_ip?: "
        "…er == a and user == a and user == a and -->scr_ip == 1 and user == a and user == a …"
    )


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("src_ip == 10.0.0.9", True),
        ("src_ip == 10.0.0.8", False),
        ("bytes == 54540.0", True),
        ("bytes > 54539 and bytes < 54541", True),
        ("bytes <= 54539 or bytes >= 54541", False),
        ("'is new' == true", True),
        ("'is new' != true", False),
        ("service in (http, ftp)", True),
        ("service not in (http, ftp)", False),
        ("'not' == x", False),
        ("'not' != x", True),
        ("'not' in (x)", False),
        ("'not' is missing and user is not missing", True),
    ],
)
def test_a_record_meets_a_condition_or_does_not(text, met):
    assert read(text).holds(RECORD) is met


@pytest.mark.parametrize("text", ["bytes < 1", "bytes > 1", "bytes == 1", "bytes in (1)", "not bytes != 1"])
def test_a_missing_value_equals_nothing_and_is_neither_above_nor_below_anything(text):
    assert [read(text).holds(record) for record in ({}, {"bytes": None}, {"bytes": "odd"})] == [False] * 3


def test_values_of_json_are_compared_as_decoders_spell_them():
    reader = decoder(PayloadFormat(format="ndjson"), SCHEMA)
    payload = (
        b'{"at": "2026-01-01T00:00:00Z", "user": 7, "bytes": 12345678901234567890.5, "src": {"rate": -0.0},'
        b' "is new": "no", "service": 443, "not": true, "src_ip": 1.50}'
    )
    record = reader.record_of(block([payload]), 0)
    for text in (
        "user == 7",
        "bytes > 1e19 and bytes < 1.3e19",
        "src.rate == 0",
        "'is new' == false",
        "service == 443",
        "'not' == true",
        "src_ip == 1.5",
    ):
        assert read(text).holds(record), text


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
FIELDS = {
    "bytes": st.floats(allow_nan=False, allow_infinity=False),
    "is new": st.booleans(),
    "service": TEXTS,
    "not": TEXTS,
}


@st.composite
def leaves(draw):
    field = draw(st.sampled_from(list(FIELDS)))
    values = FIELDS[field]
    match draw(st.integers(0, 2)):
        case 0:
            return Missing(field)
        case 1:
            return In(field, tuple(draw(st.lists(values, min_size=1, max_size=3))))
    operators = ["==", "!="] + ["<", "<=", ">", ">="] * (field == "bytes")
    return Compare(field, draw(st.sampled_from(operators)), draw(values))


def joined(part):
    parts = st.lists(part, min_size=2, max_size=3).map(tuple)
    return part.map(Not) | parts.map(And) | parts.map(Or)


TREES = st.recursive(leaves(), joined, max_leaves=8)
RECORDS = st.fixed_dictionaries({field: st.none() | values for field, values in FIELDS.items()})


@settings(deadline=None)  # the machine may be busy
@given(TREES)
def test_what_a_tree_is_written_as_is_read_as_the_same_tree(tree):
    assert read(str(tree)) == tree


COMPARED = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def meant(tree, record):
    """The same meaning, told another way: by NaN, as columns will."""
    match tree:
        case Missing(field):
            return record[field] in (None, "") or not str(record[field]).strip(" \t\n\v\f\r")
        case Not(part):
            return not meant(part, record)
        case And(parts):
            return min(meant(part, record) for part in parts)
        case Or(parts):
            return max(meant(part, record) for part in parts)
        case In(field, values):
            return max(meant(Compare(field, "==", value), record) for value in values)
    found = math.nan if meant(Missing(tree.field), record) else record[tree.field]
    found = found.strip(" \t\n\v\f\r") if isinstance(found, str) else found
    return COMPARED[tree.operator](found, tree.value)


@settings(deadline=None)  # the machine may be busy
@given(TREES, RECORDS)
def test_a_tree_means_the_same_on_a_record_as_on_columns_where_missing_is_nan(tree, record):
    assert tree.holds(record) is meant(tree, record)


WORDS = ["bytes", "service", "(", ")", ",", "==", "<", "in", "not", "or", "is", "missing", "1", "'a'"]


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_is_a_condition_or_is_refused_within_itself(text):
    try:
        again = str(read(text))
    except ConditionError as error:
        place = error.position
    else:
        place = 0
        assert str(read(again)) == again
    assert 0 <= place <= len(text)
