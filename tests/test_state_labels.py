"""Labels: which one counts, when it is ready, and the order in which it was applied."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_state_store import NOW, alert, open_store, pooled

from streamad.ports import Commit
from streamad.state.labels import LabelChange, LogEntry
from streamad.state.queries import Reader
from streamad.state.times import format_time

EVENT = "kdd/k.csv:1"


def label(verdict="anomaly", *, event=EVENT, at=None, analyst="ann", **more):
    given = {} if at is None else {"labeled_at": format_time(NOW + at * 1_000_000)}
    return {"event_id": event, "label": verdict, "analyst": analyst, **given, **more}


def outcomes(store, *labels):
    return [(found.outcome, found.event_id) for found in store.add_labels(labels)]


def verdicts(news):
    return [(change.event_id, change.verdict) for change in news.changes]


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as opened:
        opened.commit(Commit({}, 1, pool=[pooled(1, key="k1"), pooled(2, key="twin"), pooled(3, key="twin")]))
        yield opened


def test_the_same_label_twice_changes_nothing(store):
    timed, timeless = label(at=-5), label(event="kdd/k.csv:2")
    assert outcomes(store, timed, timeless) == [("added", EVENT), ("added", "kdd/k.csv:2")]
    assert outcomes(store, timed, timeless, timed) == [
        ("known", EVENT),
        ("known", "kdd/k.csv:2"),
        ("known", EVENT),
    ]
    assert store.counts().labels == 2


def test_the_same_verdict_of_another_analyst_or_time_is_another_label_of_one_event(store):
    outcomes(store, label(at=-5), label(at=-4), label(at=-5, analyst="bob"))
    assert (len(store.labels_of(EVENT)), store.counts().labels) == (3, 1)


@pytest.mark.parametrize(
    ("labels", "verdict"),
    [
        ([label("anomaly", at=-9), label("normal", at=-5)], "normal"),
        ([label("normal", at=-5), label("anomaly", at=-9)], "normal"),
        ([label("anomaly", at=-5), label("normal", at=-5, analyst="bob")], "normal"),
        ([label("anomaly", at=999_999), label("normal", at=0)], "normal"),
        ([label("anomaly", at=-5), label("withdrawn", at=-4)], "withdrawn"),
        ([label("anomaly", at=-5), label("withdrawn", at=-4), label("normal", at=-3)], "normal"),
        ([label("anomaly", at=-5), label("normal"), label("anomaly", at=-1)], "normal"),
    ],
    ids=[
        "later",
        "late arrival",
        "tie by arrival",
        "future is capped",
        "withdrawn",
        "given again",
        "timeless",
    ],
)
def test_of_several_labels_the_latest_counts(store, labels, verdict):
    store.add_labels(labels)
    assert store.verdict(EVENT) == verdict
    assert verdicts(store.news()) == ([] if verdict == "withdrawn" else [(EVENT, verdict)])


def test_a_label_can_name_its_event_by_a_key_that_is_unique(store):
    found = store.add_labels([label(event="k1"), label(event="twin"), label(event="nobody")])
    assert [(one.outcome, one.event_id) for one in found] == [
        ("added", EVENT),
        ("ambiguous", "twin"),
        ("unknown", "nobody"),
    ]
    assert found[1].detail == "the key 'twin' names several events: kdd/k.csv:2, kdd/k.csv:3"


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        (label("maybe"), "label is 'maybe', expected anomaly, normal or withdrawn"),
        (
            label() | {"labeled_at": "noon"},
            "labeled_at is 'noon', expected a time such as 2026-01-01T00:00:00Z",
        ),
        (
            label() | {"labeled_at": "2026-01-01T00:00:00"},
            "labeled_at is '2026-01-01T00:00:00', expected a time such as 2026-01-01T00:00:00Z",
        ),
        (label() | {"labeled_at": 3}, "labeled_at is 3, expected a time such as 2026-01-01T00:00:00Z"),
        (label(record="text"), "record is no object"),
        (label(event=None), "a label needs event_id or key"),
    ],
)
def test_what_is_no_label_is_refused_in_words_and_the_good_ones_are_taken(store, bad, detail):
    refused, taken = store.add_labels([bad, label()])
    assert (refused.outcome, refused.detail, taken.outcome) == ("invalid", detail, "added")
    assert store.counts().labels == 1


def test_a_label_takes_its_record_from_itself_then_the_pool_then_the_alert(store):
    store.commit(Commit({}, 5, alerts=[alert(4)], alert_numbers=[4]))
    store.add_labels([label(record={"own": 1}), label(event="kdd/k.csv:2"), label(event="kdd/k.csv:4")])
    assert [(change.record, change.number) for change in store.news().changes] == [
        ({"own": 1}, 1),
        ({"bytes": 2}, 2),
        (alert(4)["record"], 4),
    ]


def test_a_label_of_an_unknown_event_waits_and_becomes_ready_with_its_record(store):
    assert outcomes(
        store, label("normal", event="kdd/k.csv:9"), label(event="kdd/k.csv:9", at=-9), label()
    ) == [
        ("waiting", "kdd/k.csv:9"),
        ("waiting", "kdd/k.csv:9"),
        ("added", EVENT),
    ]
    first = store.news()
    assert (verdicts(first), first.waiting) == ([(EVENT, "anomaly")], ["kdd/k.csv:9"])
    assert store.counts().waiting == 2
    store.commit(
        Commit({}, 9, attached=[{"event_id": "kdd/k.csv:9", "record": {"a": 1}, "record_number": 8}])
    )
    second = store.news(first.cursor)
    assert second.changes == [LabelChange(2, "kdd/k.csv:9", "normal", {"a": 1}, 8)]
    assert (second.waiting, store.counts().waiting) == ([], 0)
    assert store.news(second.cursor) is None


def test_in_a_replay_a_label_with_its_record_still_waits_until_the_replay_has_met_it(tmp_path):
    with open_store(tmp_path, made_by="replay") as store:
        assert outcomes(store, label(record={"own": 1})) == [("waiting", EVENT)]
        assert store.news().waiting == [EVENT]
        store.commit(
            Commit({}, 78, attached=[{"event_id": EVENT, "record": {"met": 1}, "record_number": 77}])
        )
        assert store.news().changes == [LabelChange(1, EVENT, "anomaly", {"own": 1}, 77)]


def test_a_withdrawal_is_news_even_if_the_label_was_never_applied(store):
    store.add_labels([label(at=-5)])
    first = store.news()
    store.add_labels([label("withdrawn", at=-4)])
    assert verdicts(store.news(first.cursor)) == [(EVENT, "withdrawn")]
    assert verdicts(store.news()) == []


def test_the_log_holds_the_changes_in_the_order_of_their_application_and_ends_the_news(store):
    store.add_labels([label(at=-5), label("normal", event="kdd/k.csv:2", at=-5)])
    two, one = reversed(store.news().changes)
    for number, change in ((10, two), (20, one)):
        applied = {"label_id": change.label_id, "event_id": change.event_id, "verdict": change.verdict}
        store.commit(Commit({}, number, applied=[applied | {"record_number": number}]))
    assert store.log_after(0) == [
        LogEntry(1, 2, "kdd/k.csv:2", "normal", 10, '{"bytes":2}'),
        LogEntry(2, 1, EVENT, "anomaly", 20, '{"bytes":1}'),
    ]
    assert store.log_after(1) == store.log_after(0)[1:]
    assert store.news().changes == []
    store.add_labels([label("withdrawn", at=-1)])
    assert verdicts(store.news()) == [(EVENT, "withdrawn")]


def test_labels_given_by_another_process_are_seen_at_the_next_poll(store, tmp_path):
    since = store.news().cursor
    assert store.news(since) is None
    with open_store(tmp_path) as command:
        command.add_labels([label()])
    news = store.news(since)
    assert verdicts(news) == [(EVENT, "anomaly")]
    assert store.news(news.cursor) is None


def test_an_idle_poll_costs_less_than_fifty_microseconds(store):
    store.add_labels([label(event=f"kdd/x:{number}", record={}) for number in range(2000)])
    since = store.news().cursor
    store.news(since)
    best = min(_seconds(lambda: store.news(since), 200) for _ in range(10))
    assert best < 50e-6


def test_a_poll_for_one_new_label_does_not_cost_more_with_many_labels_given(tmp_path):
    def cost(given):
        folder = tmp_path / str(given)
        folder.mkdir()
        with open_store(folder) as store:
            store.add_labels([label(event=f"kdd/x:{number}", record={}) for number in range(given)])
            since = store.news().cursor
            costs = []
            for number in range(15):
                store.add_labels([label(event=f"kdd/y:{number}", record={})])
                costs.append(_seconds(lambda since=since: store.news(since), 1))
                since = store.news(since).cursor if number % 2 else since
            return min(costs)

    assert cost(5000) < 5 * cost(50) + 1e-3


def _seconds(call, times):
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begun) / times


def test_a_labeled_event_leaves_the_queue_and_a_withdrawn_one_comes_back(store, tmp_path):
    def queue():
        with Reader(tmp_path / "store.db") as reader:
            return [row.event_id for row in reader.queue_rows()]

    assert queue() == ["kdd/k.csv:3", "kdd/k.csv:2", "kdd/k.csv:1"]
    store.add_labels([label(at=-5), label(event="kdd/k.csv:8", record={})])
    store.commit(Commit({}, 9, pool=[pooled(8)]))
    assert queue() == ["kdd/k.csv:3", "kdd/k.csv:2"]
    store.add_labels([label("withdrawn", at=-4)])
    assert queue() == ["kdd/k.csv:3", "kdd/k.csv:2", "kdd/k.csv:1"]


# ---- the pool's bounds ------------------------------------------------------------------------------------------

KINDS = ("alert", "candidate", "random")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from(KINDS), st.booleans()), max_size=12), max_size=6))
def test_the_pool_drops_the_oldest_of_the_largest_kind_and_never_a_labeled_row(tmp_path_factory, commits):
    limit, naive, number = 10, [], 0
    with open_store(tmp_path_factory.mktemp("pool"), pool_rows=limit) as store:
        for commit in commits:
            rows = [(number + place, *row) for place, row in enumerate(commit)]
            number += len(rows)
            store.add_labels([label(event=f"kdd/k.csv:{n}", record={}) for n, _, given in rows if given])
            store.commit(Commit({}, number, pool=[pooled(n, kind) for n, kind, _ in rows]))
            naive += rows
            if rows:
                naive = _trimmed(naive, limit)
            held = [row.record_number for row in store.queue_rows()]
            assert held == [n for n, _, given in reversed(naive) if not given]
            assert store.counts().pool == len(naive)


def _trimmed(rows, limit):
    def size(kind, among):
        return sum(k == kind and not given for _, k, given in among)

    left = list(rows)
    while sum(not given for _, _, given in left) > limit:
        # Of kinds that are equally large by now, the one that was smaller at first gives.
        largest = min(KINDS, key=lambda kind: (-size(kind, left), size(kind, rows), kind))
        left.remove(next(row for row in left if row[1] == largest and not row[2]))
    return left
