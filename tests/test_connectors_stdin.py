"""Standard input: pipes that are slow, compressed, or sent again."""

from __future__ import annotations

import gzip
import os
import threading

import pytest
import zstandard
from streamad_connectors.stdin import StdinSource, plugin

from streamad.errors import InputError
from streamad.ports import End, Idle, SourceContext

CONTENT = b"x\n" + b"".join(b"%d\n" % i for i in range(500))


def context(folder, *, bounded=True):
    return SourceContext(folder, 1 << 16, 0, bounded)


@pytest.fixture
def pipe(tmp_path):
    """Open a source on a pipe; returns it with the function that writes (None: close)."""
    ends = []

    def start(*, bounded=True, **options):
        reading, writing = os.pipe()
        ends.extend((reading, writing))

        def write(content):
            if content is not None:
                os.write(writing, content)
            else:
                os.close(writing)
                ends.remove(writing)

        options = plugin.options(type="stdin", **options)
        return StdinSource(options, context(tmp_path, bounded=bounded), reading), write

    yield start
    for end in ends:
        os.close(end)


def rows_of(block):
    return [(block.position(row), block.payload(row)) for row in range(len(block))]


def read_all(source, max_rows=100):
    rows = []
    while not isinstance(block := source.poll(max_rows, 1.0), End):
        rows += [] if isinstance(block, Idle) else rows_of(block)
    return rows


EXPECTED = [(f"-:{i + 2}", b"%d" % i) for i in range(500)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_pipe_is_read_to_its_end_whatever_its_compression(pipe, pack):
    source, write = pipe()
    packed = pack(CONTENT)
    writer = threading.Thread(target=lambda: [write(packed[:1]), write(packed[1:]), write(None)])
    writer.start()
    assert read_all(source) == EXPECTED
    writer.join()


def test_a_slow_pipe_gives_what_is_there_and_a_torn_line_waits(pipe):
    source, write = pipe(bounded=False, header=False)
    assert source.poll(10, 0.01) == Idle()
    write(b"a\nb\nto")
    assert rows_of(source.poll(10, 1.0)) == [("-:1", b"a"), ("-:2", b"b")]
    assert source.poll(10, 0.0) == Idle()
    write(b"rn\nlast")
    assert rows_of(source.poll(10, 1.0)) == [("-:3", b"torn")]
    write(None)
    assert rows_of(source.poll(10, 1.0)) == [("-:4", b"last")]
    assert source.poll(10, 1.0) == End()


def test_in_a_replay_blocks_are_full_however_slow_the_pipe(pipe):
    source, write = pipe(header=False)
    write(b"1\n2\n3\n")
    assert source.poll(4, 0.0) == Idle()
    write(b"4\n5\n")
    assert rows_of(source.poll(4, 1.0)) == [(f"-:{i}", b"%d" % i) for i in (1, 2, 3, 4)]
    write(None)
    assert rows_of(source.poll(4, 1.0)) == [("-:5", b"5")]


def test_after_a_restart_lines_that_come_again_are_passed_by(pipe):
    source, write = pipe()
    write(CONTENT)
    positions = source.poll(100, 1.0).cursors
    again, write_again = pipe()
    again.seek(positions)
    write_again(CONTENT)
    write_again(None)
    assert read_all(again) == EXPECTED[100:]


def test_lines_that_went_by_cannot_be_read_again(pipe):
    source, write = pipe()
    write(CONTENT)
    positions = source.poll(100, 1.0).cursors
    source.poll(100, 1.0)
    with pytest.raises(InputError, match="cannot be read again from line 102: line 201 went by"):
        source.seek(positions)


def test_a_cut_off_archive_is_named_after_its_good_rows(pipe):
    source, write = pipe(header=False)
    write(gzip.compress(b"1\n2\n3\n" + os.urandom(3000).hex().encode())[:-200])
    write(None)
    assert rows_of(source.poll(10, 1.0)) == [("-:1", b"1"), ("-:2", b"2"), ("-:3", b"3")]
    with pytest.raises(InputError, match="standard input is damaged or cut off behind line 3"):
        source.poll(10, 1.0)


def test_parquet_cannot_be_piped(tmp_path):
    with pytest.raises(InputError, match="standard input cannot be Parquet"):
        plugin.open(plugin.options(type="stdin", format="parquet"), context(tmp_path))
