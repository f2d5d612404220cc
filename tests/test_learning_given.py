"""A cluster's labels in their order: which verdict counts, whoever adds the records and whenever they do."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from streamad.errors import InputError, StoreError, UserError
from streamad.learning.given import GivenLabels, said
from streamad.ports import GivenLabel
from streamad.runtime.completion import Completion
from streamad.state.labels import LabelChange

VERDICTS = ("anomaly", "normal", "withdrawn")


def label(event, verdict, record=None, **more):
    return {"event_id": f"net/{event}", "label": verdict, "record": record, **more}


def taken(*labels):
    """What labels, said in this order, change: the events' verdicts with their records."""
    labels_of_net = GivenLabels("net")
    changes = [labels_of_net.take(GivenLabel(number, one)) for number, one in enumerate(labels)]
    return [change and (change.event_id, change.verdict, change.record) for change in changes]


def test_a_label_without_its_record_counts_from_where_the_record_is_known():
    assert taken(label("a", "anomaly"), label("a", "anomaly", {"x": 1}, completes=0)) == [
        None,
        ("net/a", "anomaly", {"x": 1}),
    ]


def test_a_completed_label_does_not_undo_a_verdict_that_was_given_meanwhile():
    completed = label("a", "anomaly", {"x": 1}, completes=0)
    assert taken(label("a", "anomaly"), label("a", "normal"), completed) == [
        None,
        None,
        ("net/a", "normal", {"x": 1}),
    ]
    assert taken(label("a", "anomaly"), label("a", "withdrawn"), completed) == [None, None, None]
    corrected = label("a", "normal", {"x": 2})
    assert taken(label("a", "anomaly"), corrected, completed) == [None, ("net/a", "normal", {"x": 2}), None]


def test_a_record_that_is_known_is_known_for_later_labels_too():
    assert taken(
        label("a", "anomaly"),
        label("a", "withdrawn"),
        label("a", "anomaly", {"x": 1}, completes=0),
        label("a", "normal"),
        label("a", "withdrawn"),
    ) == [None, None, None, ("net/a", "normal", {"x": 1}), ("net/a", "withdrawn", {"x": 1})]


@pytest.mark.parametrize(
    "odd",
    [
        {"event_id": "net/a", "label": "bad"},
        {"event_id": "other/a", "label": "normal"},
        {"key": "k", "label": "normal"},
        {"event_id": "net/a", "label": "normal", "record": []},
    ],
)
def test_what_is_no_label_of_the_feed_changes_nothing(odd):
    labels = GivenLabels("net")
    with pytest.raises(UserError):
        labels.take(GivenLabel(0, odd))
    assert labels.incomplete == {}
    assert [*said("net", [odd])] == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(VERDICTS), st.booleans()), max_size=12),
    st.data(),
)
def test_the_last_verdict_of_each_event_counts_whenever_the_records_come(spoken, data):
    labels = [label(event, verdict, {"of": event} if known else None) for event, verdict, known in spoken]
    order = [*range(len(labels))]
    for number, one in enumerate(labels):  # each label without a record is completed somewhere behind it
        if one["record"] is None:
            place = data.draw(st.integers(order.index(number) + 1, len(order)))
            order.insert(place, -number - 1)
    topic, numbers = [], {}
    for place, entry in enumerate(order):
        number = entry if entry >= 0 else -entry - 1
        numbers.setdefault(number, place)
        one = labels[number]
        topic.append(
            one
            if entry >= 0
            else {**one, "record": {"of": one["event_id"][-1]}, "completes": numbers[number]}
        )
    verdicts = {}
    for change in filter(None, taken(*topic)):
        verdicts[change[0]] = change[1]
    wanted = {one["event_id"]: one["label"] for one in labels}
    assert {event: verdicts.get(event, "withdrawn") for event in wanted} == wanted
    assert {event: verdict for event, verdict, _ in said("net", topic)} == wanted


class Clock:
    def __init__(self):
        self.now = 0.0

    def seconds(self):
        return self.now


class Records:
    """A lookup and a decoder in one: what is there by position; None for what is yet to come."""

    def __init__(self, **records):
        self.records, self.asked = records, []

    def payload(self, position):
        self.asked.append(position)
        if position not in self.records:
            raise InputError("gone")
        return self if self.records[position] is not None else None

    def record_of(self, _block, _row):
        return self.records[self.asked[-1]]

    faults = ()


class Completing:
    def __init__(self, **records):
        self.labels, self.clock, self.records = GivenLabels("net"), Clock(), Records(**records)
        self.completion = Completion("net", self.labels.incomplete, self.records, self.records, self.clock)
        self.numbers, self.completed = itertools.count(), []

    def say(self, event, verdict="anomaly", **more):
        one = GivenLabel(next(self.numbers), label(event, verdict, **more))
        assert not isinstance(self.labels.take(one), LabelChange)
        self.completion.add([one])

    def step(self, seconds=0.0):
        """What is completed then."""
        self.clock.now += seconds
        before = len(self.completed)
        self.completion.step(self.completed.append)
        return [(one["event_id"], one["record"], one["completes"]) for one in self.completed[before:]]


def test_each_label_is_completed_once_and_those_to_come_when_they_are_there():
    it = Completing(a={"x": 1}, b=None)
    it.say("a")
    it.say("b")
    assert it.step() == [("net/a", {"x": 1}, 0)]
    it.records.records["b"] = {"x": 2}
    assert it.step(0.1) == []
    assert it.step(10) == [("net/b", {"x": 2}, 1)]
    assert it.step(10) == []
    assert it.records.asked == ["a", "b", "b"]


def test_a_label_that_another_one_has_replaced_is_not_completed():
    it = Completing(a=None)
    it.say("a")
    assert it.step() == []
    it.say("a", "normal")
    it.records.records["a"] = {"x": 1}
    assert it.step(10) == [("net/a", {"x": 1}, 1)]


def test_labels_whose_record_is_nowhere_are_counted_and_told_of_once():
    it = Completing(a={"x": 1}, junk={})
    with capture_logs() as logs:
        for event in ("lost", "junk", "gone"):
            it.say(event)
        assert it.step() == []
        it.say("a")
        assert it.step(10) == [("net/a", {"x": 1}, 3)]
        assert it.step(100) == []
    assert it.completion.lost == 3
    assert [(one["event"], one["count"], one["of"]) for one in logs] == [
        ("labels_without_record", 1, "net/lost")
    ]


def test_a_label_that_is_too_large_with_its_record_is_lost_and_the_others_are_not():
    it = Completing(a={"x": 1}, b={"x": 2})
    it.say("a")
    it.say("b")

    def refuse(one):
        if one["event_id"] == "net/a":
            raise StoreError("too large")
        it.completed.append(one)

    it.completion.step(refuse)
    assert ([one["event_id"] for one in it.completed], it.completion.lost) == (["net/b"], 1)
