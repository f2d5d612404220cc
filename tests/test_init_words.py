"""What a column's values make of it."""

from __future__ import annotations

import random

import pytest

from streamad.records.infer import infer
from streamad.records.sample import sample_of
from streamad.records.schema import TimeSpec, TruthSpec

N = 400
FILLER = [f"{(k * 7919) % 1000 / 7:.3f}" for k in range(N)]


def shuffled(values, seed=0):
    values = [str(value) for value in values]
    random.Random(seed).shuffle(values)
    return values


def read(**columns):
    columns = {"filler": FILLER, **columns}
    lines = [",".join(f'"{name}"' for name in columns)]
    lines += [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    return infer(sample_of("\n".join(lines).encode(), "sample"))


def cycle(*values):
    return shuffled(values[k % len(values)] for k in range(N))


CASES = {
    "an integer column with three values is a category": ("x", cycle(0, 1, 2), "categorical"),
    "an integer column with two values other than 0 and 1 too": ("x", cycle(2, 8), "categorical"),
    "zeros and ones are a boolean": ("x", cycle(0, 1), "boolean"),
    "true and false are a boolean": ("x", cycle("True", "false"), "boolean"),
    "nothing but true is a boolean": ("x", ["true"] * N, "boolean"),
    "nothing but yes may be any word": ("x", ["yes"] * N, "categorical"),
    "nearly all 0 and 1 beside other numbers is a count": (
        "x",
        shuffled(["0"] * 390 + ["1"] * 6 + ["2", "2", "17", "300"]),
        "numeric",
    ),
    "so it is with one other number, or with marks too": (
        "x",
        shuffled(["0"] * 389 + ["1"] * 6 + ["2"] * 2 + ["-"] * 3),
        "numeric",
    ),
    "nearly all 0 and 1 beside marks is a boolean": ("x", shuffled(["0", "1"] * 198 + ["-"] * 4), "boolean"),
    "a number among many words of truth is a bad value": (
        "x",
        shuffled(["true", "false"] * 198 + ["7"] * 4),
        "boolean",
    ),
    "many integers are a number": ("x", cycle(*range(50)), "numeric"),
    "ten small integers are counts": ("x", cycle(*range(10)), "numeric"),
    "integers of one length that repeat are codes": ("x", cycle(200, 301, 404, 500), "categorical"),
    "a port that repeats is a category": ("dst_port", cycle(22, 80, 443, 8080, 53), "categorical"),
    "a port that hardly repeats is a number": ("src_port", shuffled(range(30000, 30000 + N)), "numeric"),
    "a number that is always the same stays a feature": ("x", ["7"] * N, "numeric"),
    "a column of nothing but 0 may hold more later": ("x", ["0"] * N, "numeric"),
    "unique text is an id": ("x", shuffled(f"u{k:x}" for k in range(N)), "id"),
    "unique integers with the name of an id are one": ("flow_id", shuffled(range(N)), "id"),
    "integers that count the rows are an id": ("x", range(N), "id"),
    "text of few values is a category": ("x", cycle("a", "b", "c"), "categorical"),
    "text of many values is ignored": (
        "x",
        shuffled(f"t{k // 2 * 2 if k < 100 else k}" for k in range(N)),
        "ignore",
    ),
    "a column without values is ignored": ("x", [""] * N, "ignore"),
    "two bad values in a hundred leave a number a number": ("x", ["-"] * 4 + FILLER[4:], "numeric"),
    "more than that make it text": ("x", ["-"] * 40 + FILLER[40:], "ignore"),
    "missing values do not count": ("x", ["", "1"] * 100 + ["0", ""] * 100, "boolean"),
    "exponents are numbers": ("x", [f"{k}e-3" for k in shuffled(range(N))], "numeric"),
    "not a number is no number": ("x", cycle("nan", "1.5", "2.5"), "categorical"),
}


@pytest.mark.parametrize(("name", "values", "word"), CASES.values(), ids=CASES)
def test_a_column_is_taken_for_what_its_values_are(name, values, word):
    found = read(**{name: values})
    assert found.schema.fields == {"filler": "numeric", name: word}
    assert found.notes[name]


def test_only_the_most_id_like_of_unique_columns_is_the_id():
    text = [f"t{k * 31 % 997}" for k in range(N)]
    found = read(comment=text, event_id=[f"e{k}" for k in range(N)])
    assert found.schema.fields == {"filler": "numeric", "comment": "ignore", "event_id": "id"}


def test_few_rows_prove_no_id_and_no_boolean():
    found = infer(sample_of(b"name,flag,value\na,0,1.5\nb,1,2.5\nc,0,3.5\n", "sample"))
    assert found.schema.fields == {"name": "categorical", "flag": "numeric", "value": "numeric"}


CLOCKS = {
    "iso": (lambda k: f"2026-01-01T00:{k // 60:02}:{k % 60:02}Z", TimeSpec(field="x", format="iso")),
    "iso without zone": (
        lambda k: f"2026-01-01 00:{k // 60:02}:{k % 60:02}.250",
        TimeSpec(field="x", format="iso", zone="UTC"),
    ),
    "seconds": (lambda k: f"{1_767_225_600 + k * 2}", TimeSpec(field="x", format="epoch_s")),
    "seconds with fraction": (
        lambda k: f"{1_767_225_600 + k * 0.37:.6f}",
        TimeSpec(field="x", format="epoch_s"),
    ),
    "milliseconds": (lambda k: f"{1_767_225_600_000 + k * 35}", TimeSpec(field="x", format="epoch_ms")),
    "microseconds": (lambda k: f"{1_767_225_600_000_000 + k * 9}", TimeSpec(field="x", format="epoch_us")),
    "web server log": (
        lambda k: f"01/Jan/2026:00:{k // 60:02}:{k % 60:02} +0100",
        TimeSpec(field="x", format="%d/%b/%Y:%H:%M:%S %z"),
    ),
    "day first": (
        lambda k: f"{k // 20 + 1:02}/03/2026 10:00:{k % 20:02}",
        TimeSpec(field="x", format="%d/%m/%Y %H:%M:%S", zone="UTC"),
    ),
    "packed": (
        lambda k: f"2026010100{k // 60:02}{k % 60:02}",
        TimeSpec(field="x", format="%Y%m%d%H%M%S", zone="UTC"),
    ),
}


@pytest.mark.parametrize(("written", "spec"), CLOCKS.values(), ids=CLOCKS)
def test_a_column_that_grows_like_a_clock_is_the_event_time(written, spec):
    found = read(x=[written(k) for k in range(N)])
    assert found.schema.fields["x"] == "time"
    assert found.schema.time == spec
    assert bool(found.remarks) == (spec.zone is not None)


def test_rows_out_of_order_and_a_few_bad_times_leave_a_clock_a_clock():
    times = [f"{1_767_225_600 + k + (k * 7 % 3)}" for k in range(N)]
    times[5] = times[77] = "never"
    assert read(x=times).schema.time == TimeSpec(field="x", format="epoch_s")


def test_the_steadier_clock_is_the_event_time_and_the_other_is_ignored():
    days = [f"19{k * 37 % 90 + 10}-0{k % 9 + 1}-11" for k in range(N)]
    found = read(birth_date=days, seen_time=[f"{1_767_225_600 + k}" for k in range(N)])
    assert found.schema.fields == {"filler": "numeric", "birth_date": "ignore", "seen_time": "time"}


def test_the_finer_of_two_clocks_is_the_event_time():
    days = [f"2026-01-0{k // 100 + 1}" for k in range(N)]
    found = read(date=days, time=[f"{day}T00:0{k // 60}:{k % 60:02}Z" for k, day in enumerate(days)])
    assert found.schema.fields == {"filler": "numeric", "date": "ignore", "time": "time"}


def test_a_clock_from_a_zero_of_its_own_is_a_time_when_it_is_named_so():
    found = read(Time=[f"{k // 3}" for k in range(N)], x=[f"{k // 3}" for k in range(N)])
    assert found.schema.fields == {"filler": "numeric", "Time": "time", "x": "numeric"}
    assert found.schema.time == TimeSpec(field="Time", format="epoch_s")
    assert "counts from a zero of its own" in found.remarks[0]


@pytest.mark.parametrize(
    ("name", "values", "normal"),
    [
        ("label", ("normal.", "smurf.", "neptune."), ("normal.",)),
        ("Class", ("0", "1"), ("0",)),
        ("is_fraud", ("False", "True"), ("False",)),
        ("Attack", ("BENIGN", "DoS"), ("BENIGN",)),
        ("label", ("usual", "usual", "odd"), ("usual",)),
    ],
)
def test_a_column_named_like_the_truth_is_no_feature(name, values, normal):
    found = read(**{name: cycle(*values)})
    assert found.schema.fields == {"filler": "numeric", name: "label"}
    assert found.schema.truth == TruthSpec(normal=normal)


def test_a_second_truth_column_would_give_the_answer_away():
    found = read(attack_cat=cycle("Fuzzers", "Normal"), label=cycle(0, 1))
    assert found.schema.fields == {"filler": "numeric", "attack_cat": "ignore", "label": "label"}


def test_a_column_named_like_the_truth_with_many_values_is_judged_by_its_values():
    assert read(label=shuffled(f"v{k}" for k in range(N))).schema.fields["label"] == "id"
