"""The in-memory source and sink: what a broker would do, on command."""

from __future__ import annotations

import threading

import pytest
from streamad_connectors.memory import (
    Assign,
    MemorySink,
    MemorySource,
    Pause,
    Records,
    Revoke,
    source_plugin,
)

from streamad.errors import CommitAbortedError, StoreError
from streamad.ports import Commit, End, Idle, Revoked, SourceContext
from streamad.records.batch import Block


def seen(source, max_rows=2):
    """What the polls return until the end, blocks as their positions, payloads and cursor."""
    found = []
    while not isinstance(answer := source.poll(max_rows, 0.0), End):
        found.append(plain(answer))
    return found


def plain(answer):
    if not isinstance(answer, Block):
        return answer
    rows = range(len(answer))
    return (
        [answer.position(row) for row in rows],
        [answer.payload(row) for row in rows],
        *answer.cursors.values(),
    )


def test_a_script_is_played_in_order_and_blocks_keep_to_one_partition():
    script = [Records("a", [b"1", b"2"]), Records("a", [b"3"]), Pause(), Records("b", [b"4"]), Revoke(("a",))]
    assert seen(MemorySource(script)) == [
        (["a:0", "a:1"], [b"1", b"2"], {"offset": 2}),
        (["a:2"], [b"3"], {"offset": 3}),
        Idle(),
        (["b:0"], [b"4"], {"offset": 1}),
        Revoked(("a",)),
    ]


def test_after_a_seek_records_come_again_but_marks_do_not():
    source = MemorySource([Records("a", [b"1", b"2"]), Pause(), Records("b", [b"3"]), Records("a", [b"4"])])
    seen(source)
    source.seek({"a": {"offset": 1}})
    assert seen(source) == [
        (["a:1"], [b"2"], {"offset": 2}),
        (["b:0"], [b"3"], {"offset": 1}),
        (["a:2"], [b"4"], {"offset": 3}),
    ]


def test_a_revoked_partition_is_silent_until_it_is_assigned_again():
    source = MemorySource(
        [
            Records("a", [b"1"]),
            Revoke(("a",)),
            Records("a", [b"2"]),
            Records("b", [b"3"]),
            Assign("a", 0),
            Records("a", [b"4"]),
        ]
    )
    assert seen(source, 10) == [
        (["a:0"], [b"1"], {"offset": 1}),
        Revoked(("a",)),
        (["b:0"], [b"3"], {"offset": 1}),
        Idle(),
        (["a:0", "a:1"], [b"1", b"2"], {"offset": 2}),
        (["a:2"], [b"4"], {"offset": 3}),
    ]


def test_an_unbounded_source_is_idle_until_more_is_added_and_ends_when_told():
    source = MemorySource(bounded=False)
    assert source.poll(10, 0.0) == Idle()
    adder = threading.Timer(0.05, source.add, [Records("a", [b"1"])])
    adder.start()
    assert plain(source.poll(10, 10.0)) == (["a:0"], [b"1"], {"offset": 1})
    adder.join()
    source.finish()
    assert source.poll(10, 10.0) == End()


def test_progress_counts_the_script_of_a_bounded_source():
    source = MemorySource([Records("a", [b"1", b"2", b"3", b"4"])])
    source.poll(1, 0.0)
    assert source.progress() == 0.25
    assert MemorySource(bounded=False).progress() is None


def test_the_header_in_force_is_on_every_block():
    assert MemorySource([Records("a", [b"1"])], columns=("x",)).poll(1, 0.0).columns == ("x",)


def test_the_source_can_be_named_in_a_config(tmp_path):
    options = source_plugin.options(type="memory", records={"a": ["1", "2"]})
    source = source_plugin.open(options, SourceContext(tmp_path, 1 << 20, 0, bounded=True))
    assert seen(source) == [(["a:0", "a:1"], [b"1", b"2"], {"offset": 2})]


def test_a_sink_gives_back_its_last_commit_and_lists_all_it_got():
    sink = MemorySink()
    assert sink.restore() is None
    sink.commit(Commit({"a": {"offset": 1}}, 1, alerts=[{"n": 1}], checkpoint={"c": 1}))
    sink.commit(Commit({"a": {"offset": 2}}, 2, alerts=[{"n": 2}], rejected=[{"r": 1}], checkpoint={"c": 2}))
    assert sink.restore() == ({"a": {"offset": 2}}, {"c": 2})
    assert (sink.alerts, sink.rejected) == ([{"n": 1}, {"n": 2}], [{"r": 1}])


def test_a_refused_commit_leaves_no_trace_and_the_next_one_goes_through():
    sink, commit = MemorySink(), Commit({"a": {"offset": 1}}, 1)
    sink.abort_next()
    sink.fail_next("disk full")
    with pytest.raises(CommitAbortedError):
        sink.commit(commit)
    with pytest.raises(StoreError, match="disk full"):
        sink.commit(commit)
    sink.commit(commit)
    assert sink.commits == [commit]
