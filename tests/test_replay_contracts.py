"""What the engine promises about commits, aborts, rebalances and batches, seen through the in-memory source."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from engines import Sink, engine, scored
from feeds import checkpoint, stored, stored_alerts, write_log
from streamad_connectors.memory import Assign, MemorySource, Pause, Records, Revoke

RECORDS, JUNK = 6000, 11
TRAINING = {
    "warm_up": {"records": 1260},
    "window": {"records": 1500},
    "every_records": 2048,
    "effect_after": 1024,
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Traffic with a service that the first model has seen, but not yet the first commit."""
    lines = write_log(tmp_path_factory.mktemp("lines"), RECORDS, junk=JUNK)
    return [*lines[:1100], *(line.replace(b",http,", b",new,") for line in lines[1100:1200]), *lines[1200:]]


def run(folder, lines, *, aborts=(), state="state", training=TRAINING, **options):
    """Everything that a run leaves: alerts, counters, scores, reference, window."""
    with engine(
        folder, [Records("p", lines)], state=state, scores=True, training=training, **options
    ) as live:
        sink = Sink(live, aborts)
        live.engine.run()
        assert live.engine.finished
        scorer, feed = live.engine._in_force.scorer, live.feed
        counters = checkpoint(folder / state, "engine")["counters"]
        return {
            "commits": sink.commits - len(aborts),
            "alerts": stored_alerts(folder / state),
            "rejected": [r for (r,) in stored(folder / state, "SELECT reason FROM rejected ORDER BY n")],
            "counters": {k: v for k, v in counters.items() if not k.endswith("seconds")},
            "scores": scored(live, folder).rows(),
            "reference": [part.tolist() for part in scorer.reference()],
            "window": feed.buffer.snapshot().records.tolist(),
            "versions": stored(folder / state, "SELECT number, status, created_record FROM versions"),
        }


def test_an_aborted_commit_leaves_no_trace(tmp_path, lines):
    plain = run(tmp_path, lines, state="plain")
    last = plain["commits"]
    again = run(tmp_path, lines, state="again", aborts=(1, 2, 5, last + 2, last + 4))
    assert plain["commits"] == 7
    assert len(plain["alerts"]) > 100
    assert len(plain["versions"]) == 3
    for name, found in plain.items():
        assert again[name] == found, name


def fail(folder, lines, failing, times, training=TRAINING):
    """A run that fails when it reaches a step for the n-th time."""
    seen = []

    def on_step(step):
        seen.append(step)
        if step == failing and seen.count(step) == times:
            raise RuntimeError(failing)

    source = [Records("p", lines)]
    with (
        engine(folder, source, state="failed", scores=True, training=training, on_step=on_step) as live,
        pytest.raises(RuntimeError),
    ):
        live.engine.run()


def test_a_run_that_failed_goes_on_to_the_result_of_one_that_did_not(tmp_path, lines):
    plain = run(tmp_path, lines, state="plain")
    for failing in ("store.begun", "store.versions", "training_begun", "store.positions"):
        fail(tmp_path, lines, failing, 2)
    found = run(tmp_path, lines, state="failed")
    del found["commits"], plain["commits"]
    assert found == plain


def test_a_value_that_was_read_ahead_of_one_commit_is_known_after_the_next(tmp_path, lines):
    training = {**TRAINING, "window": {"records": 3000}, "every_records": 4096}
    lines = (lines[:1000] * 6)[:RECORDS]  # no new value behind these but one
    lines[2060:2100] = [line.replace(b",http,", b",unheard,") for line in lines[2060:2100]]
    plain = run(tmp_path, lines, state="plain", training=training)
    fail(tmp_path, lines, "training_begun", 1, training)
    found = run(tmp_path, lines, state="failed", training=training)
    del found["commits"], plain["commits"]
    assert found == plain
    assert len(found["versions"]) == 2


def test_in_is_scored_rejected_held_and_in_flight_at_every_commit(tmp_path, lines):
    flows = []
    script = [Records("a", lines[:2500]), Records("b", lines[2500:]), Records("a", lines[:500])]
    with engine(tmp_path, script, training=TRAINING) as live:

        def look(commit):
            status = live.engine.status()
            assert status["records_in"] == sum(
                status[name] for name in ("scored", "rejected", "held", "in_flight")
            )
            flows.append((sum(cursor["offset"] for cursor in commit.positions.values()), commit.records))
            assert status["records_in"] == commit.records

        Sink(live, look=look)
        live.engine.run()
        summary = live.engine.summary()
    assert all(read == records for read, records in flows)
    assert flows[-1] == (RECORDS + 500, RECORDS + 500)
    rejected = stored(tmp_path / "state", "SELECT count(*) FROM rejected")[0][0]
    assert rejected == RECORDS // JUNK + 500 // JUNK
    assert (summary["rejected"], summary["scored"]) == (rejected, RECORDS + 500 - rejected)


def test_a_revoked_partition_keeps_only_what_was_committed_and_the_others_lose_nothing(tmp_path, lines):
    a, b = lines[:3000], lines[3000:]
    script = [
        Records("a", a[:2000]),
        Records("b", b[:700]),
        Revoke(("b",)),
        Records("b", b[700:]),
        Records("a", a[2000:]),
    ]
    with engine(tmp_path, script, made_by="run", scores=True, limits={"commit_ms": 3_600_000}) as live:
        live.engine.run()
        positions = scored(live, tmp_path)["position"].to_list()
    assert positions == [f"a:{n}" for n in range(3000)]

    source = MemorySource(script)
    with engine(tmp_path, source, state="two", made_by="run", scores=True, limits={"commit_ms": 1}) as live:
        live.engine.run()
        positions = scored(live, tmp_path)["position"].to_list()
        kept = live.feed.sink.restore()[0].get("b", {"offset": 0})["offset"]
    assert sorted(positions) == sorted([f"a:{n}" for n in range(3000)] + [f"b:{n}" for n in range(kept)])
    source.add(Assign("b", kept))
    with engine(tmp_path, source, state="two", made_by="run", scores=True) as live:
        live.engine.run()
        positions = scored(live, tmp_path)["position"].to_list()
    assert sorted(positions) == sorted([f"a:{n}" for n in range(3000)] + [f"b:{n}" for n in range(3000)])


def test_the_reader_runs_ahead_of_scoring_and_never_further_than_it_may(tmp_path, lines):
    ahead = []

    class Counted(MemorySource):
        def poll(self, max_rows, timeout):
            got = super().poll(max_rows, timeout)
            behind = self._next.get("p", 0) - live.engine._next
            if max_rows:  # else the queue was full, and nothing was read
                ahead.append((live.engine.state, behind, len(live.feed.reader._items)))
            return got

    with engine(
        tmp_path,
        Counted([Records("p", lines)]),
        training={"warm_up": {"records": 512}, "every_records": None},
        limits={"read_ahead": 3, "batch_records": 128, "commit_batches": 1},
        on_step=lambda step: time.sleep(0.02 if step == "commit.1" else 0),
    ) as live:
        live.engine.run()
    scoring = [(rows, items) for state, rows, items in ahead if state == "scoring"]
    # one more batch than the queue holds is in the engine's hands, and not yet counted as taken
    assert 3 * 128 <= max(rows for rows, _ in scoring[6:]) <= 4 * 128
    assert max(items for _, items in scoring[6:]) == 2


@pytest.mark.parametrize("paused", [False, True])
def test_a_score_does_not_depend_on_how_the_records_are_cut_into_batches(tmp_path, lines, paused):
    some = lines[:3000]
    if paused:
        cuts = np.sort(np.random.default_rng(1).choice(np.arange(1261, 3000), 40, replace=False)).tolist()
        edges = [0, *cuts, 3000]
        script = [
            item
            for start, end in itertools.pairwise(edges)
            for item in (Records("p", some[start:end]), Pause())
        ]
        sizes = [1260]
    else:
        script = [Records("p", some)]
        sizes = [1260, 630, 420, 315, 252, 180, 140, 105, 84, 63]
    found = []
    for size in [1260, *sizes]:
        training = {
            "warm_up": {"records": len([1 for n in range(1260) if (n + 1) % JUNK])},
            "every_records": None,
        }
        with engine(
            tmp_path,
            script if found else [Records("p", some)],
            state=f"{len(found)}",
            scores=True,
            training=training,
            limits={"batch_records": size},
        ) as live:
            live.engine.run()
            found.append(scored(live, tmp_path)["score"].to_list())
    assert all(scores == found[0] for scores in found[1:])
    assert len(set(found[0])) > 2000
