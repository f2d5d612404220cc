"""The generator as a source: blocks, positions, resuming, pace."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamad_connectors.synthetic import GeneratorOptions, GeneratorSource, generate_lines, plugin

from streamad.errors import InputError
from streamad.ports import End, Idle, SourceContext


def source(*, bounded=True, seed=1, clock=None, **options):
    context = SourceContext(folder=Path(), record_bytes=1 << 20, seed=seed, bounded=bounded)
    checked = plugin.options.model_validate({"type": "generator", **options})
    if clock is None:
        return plugin.open(checked, context)
    return GeneratorSource(checked, context, clock.now, clock.sleep)


class ManualClock:
    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def text(block):
    return b"".join(block.payload(row) + b"\n" for row in range(len(block)))


def read(reader, rows):
    blocks = []
    while not isinstance(block := reader.poll(rows, 0.0), End):
        blocks.append(block)
    return blocks


def test_a_bounded_stream_comes_in_full_blocks_and_then_ends():
    blocks = read(source(records=10_000), 4000)
    assert [len(block) for block in blocks] == [4000, 4000, 2000]
    assert b"".join(map(text, blocks)) == generate_lines(1, 0, 10_000)


def test_positions_count_the_records_from_one():
    first, second = read(source(records=5000), 4096)
    assert (first.position(0), first.position(4095), second.position(0)) == (
        "generator:1",
        "generator:4096",
        "generator:4097",
    )


def test_a_sought_source_goes_on_exactly_where_the_cursor_was_taken():
    reader = source(records=20_000)
    reader.poll(4096, 0.0)
    positions = reader.poll(1234, 0.0).cursors
    again = source(records=20_000)
    again.seek(positions)
    assert [text(block) for block in read(again, 777)] == [text(block) for block in read(reader, 777)]


def test_a_bare_offset_is_a_cursor_and_no_cursor_is_the_beginning():
    reader = source(records=100)
    reader.seek({"generator": {"offset": 90}})
    assert text(reader.poll(100, 0.0)) == generate_lines(1, 90, 10)
    reader.seek({})
    assert text(reader.poll(100, 0.0)) == generate_lines(1, 0, 100)


def test_a_cursor_of_other_traffic_is_refused():
    positions = source(records=100).poll(10, 0.0).cursors
    with pytest.raises(InputError, match=r"source\.seed was 1 and is now 2"):
        source(records=100, seed=2).seek(positions)


def test_its_own_seed_wins_over_the_runs():
    assert text(source(records=50, seed=9).poll(50, 0.0)) == generate_lines(9, 0, 50)
    context = SourceContext(folder=Path(), record_bytes=1 << 20, seed=9, bounded=True)
    own = plugin.open(GeneratorOptions(records=50, seed=4), context)
    assert text(own.poll(50, 0.0)) == generate_lines(4, 0, 50)


def test_an_endless_stream_is_no_replay():
    with pytest.raises(InputError, match=r"source\.records is not set"):
        source()


def test_an_endless_stream_never_ends_and_knows_no_progress():
    reader = source(bounded=False)
    reader.seek({"generator": {"offset": 10**12}})
    assert reader.poll(3, 0.0).position(2) == "generator:1000000000003"
    assert reader.progress() is None


def test_progress_is_the_share_that_was_given():
    reader = source(records=1000)
    assert reader.progress() == 0.0
    reader.poll(250, 0.0)
    assert reader.progress() == 0.25


def test_a_rate_is_kept_over_many_polls():
    clock = ManualClock()
    reader = source(bounded=False, rate=1000, clock=clock)
    given = 0
    while clock.time < 110.0:
        block = reader.poll(4096, 0.05)
        given += 0 if isinstance(block, Idle) else len(block)
        clock.sleep(0.02)
    assert given == pytest.approx(10_000, rel=0.01)


def test_a_slow_rate_waits_no_longer_than_the_timeout():
    clock = ManualClock()
    reader = source(bounded=False, rate=2, clock=clock)
    assert isinstance(reader.poll(10, 0.1), Idle)
    assert clock.time == pytest.approx(100.1)
    assert len(reader.poll(10, 5.0)) == 1
    assert clock.time == pytest.approx(100.5)


def test_a_replay_ignores_the_rate():
    assert len(source(records=5000, rate=1).poll(4096, 0.0)) == 4096
