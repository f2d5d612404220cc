"""The line splitter: rows must not depend on where chunks are cut."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamad_connectors import lines
from streamad_connectors.lines import CUT_BYTES, Splitter


def rows_of(content, cuts=(), *, limit=1 << 20, delimiter=None, take=1000):
    """Every row as (first line, payload, true length), read in chunks cut at these places."""
    splitter = Splitter(limit, delimiter)
    edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    found = []
    for start, stop in pairwise(edges):
        splitter.feed(content[start:stop])
        while splitter.ready(take):
            found += unpack(splitter.take(take))
    splitter.finish()
    while splitter.rows:
        found += unpack(splitter.take(take))
    return found


def unpack(rows):
    return [
        (int(line), rows.data[start:end].tobytes(), rows.lengths.get(row, int(end - start)))
        for row, (line, start, end) in enumerate(zip(rows.lines, rows.starts, rows.ends, strict=True))
    ]


def reference(content):
    """Rows by the book: split at newlines, drop one carriage return and the byte-order mark."""
    pieces = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    stripped = [piece.removesuffix(b"\r") for piece in pieces]
    return [(line, piece, len(piece)) for line, piece in enumerate(stripped, 1)]


pieces = st.sampled_from([b"a", b"bc,d", b"\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b"", b"x" * 30])
contents = st.lists(pieces, max_size=40).map(b"".join)
cuts = st.lists(st.integers(0, 10_000), max_size=12)


@given(contents, cuts, st.integers(1, 5))
@settings(deadline=None)
def test_any_content_in_any_chunks_gives_the_lines_of_a_plain_split(content, where, take):
    assert rows_of(content, where, take=take) == reference(content)


quoted = st.lists(
    st.sampled_from([b"a", b",", b'"', b'""', b"\n", b"\r\n", b',"', b'",', b"x" * 5000]), max_size=40
).map(b"".join)


@given(quoted, cuts, st.sampled_from([10, 40, 6000]))
@settings(max_examples=300, deadline=None)
def test_quoted_and_too_long_rows_do_not_depend_on_the_chunks(content, where, limit):
    whole = rows_of(content, limit=limit, delimiter=",")
    assert rows_of(content, where, limit=limit, delimiter=",", take=2) == whole


@given(quoted, cuts)
@settings(deadline=None)
def test_joined_rows_cover_every_line_once_and_in_order(content, where):
    found = rows_of(content, where, delimiter=",")
    text = b"\n".join(re.sub(rb"\r\Z", b"", payload) for _, payload, _ in found)
    expected = b"\n".join(payload for _, payload, _ in reference(content))
    assert text.replace(b"\r\n", b"\n") == expected.replace(b"\r\n", b"\n")


def test_a_quoted_field_with_newlines_is_one_row():
    content = b'1,"two\nlines",3\r\n4,"a ""quoted"" word",5\n6,"x\r\ny\n\nz"\n7,8,9'
    assert rows_of(content, delimiter=",") == [
        (1, b'1,"two\nlines",3', 15),
        (3, b'4,"a ""quoted"" word",5', 23),
        (4, b'6,"x\r\ny\n\nz"', 11),
        (8, b"7,8,9", 5),
    ]


def test_a_quote_that_never_closes_costs_one_row_only():
    content = b'1,2\n3,"open\n' + b"5,6\n" * 3
    assert rows_of(content, delimiter=",") == [
        (1, b"1,2", 3),
        (2, b'3,"open', 7),
        (3, b"5,6", 3),
        (4, b"5,6", 3),
        (5, b"5,6", 3),
    ]


def test_a_quote_that_closes_more_than_a_thousand_lines_later_is_a_stray_one():
    near = b'1,"a\n' + b"x\n" * 998 + b'b"\n'
    far = b'1,"a\n' + b"x\n" * 999 + b'b"\n'
    assert [len(rows_of(content, (7, 900), delimiter=",")) for content in (near, far)] == [1, 1001]


def test_stray_quotes_inside_text_join_nothing():
    content = b'1,5" disk\n2,3\n3,7" disk\n'
    assert [payload for _, payload, _ in rows_of(content, delimiter=",")] == content.split(b"\n")[:-1]


def test_quotes_mean_nothing_without_a_delimiter():
    assert rows_of(b'{"a\nb":1}\n') == [(1, b'{"a', 3), (2, b'b":1}', 5)]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [101, 5000, 70_000])
def test_a_too_long_line_is_cut_to_its_first_bytes_and_keeps_its_true_length(size, end):
    content = b"first\n" + b"y" * size + end + (b"last\n" if end else b"")
    expected = [(1, b"first", 5), (2, b"y" * min(size, CUT_BYTES), size)]
    expected += [(3, b"last", 4)] if end else []
    for step in (1000, 4096, len(content)):
        assert rows_of(content, range(0, len(content), step), limit=100) == expected


def test_a_very_long_line_is_passed_by_in_bounded_memory():
    splitter = Splitter(1 << 20)
    for _ in range(50):
        splitter.feed(b"z" * (1 << 20))
        assert len(splitter._data) <= 2 << 20
    splitter.feed(b"end\nnext\n")
    assert unpack(splitter.take(10)) == [(1, b"z" * CUT_BYTES, (50 << 20) + 3)]
    assert unpack(splitter.take(10)) == [(2, b"next", 4)]


def test_a_block_of_long_rows_ends_at_a_place_that_only_the_data_decides(monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1000)
    content = b"".join(b"%d" % i * (i % 7 * 50) + b"\n" for i in range(100))

    def sizes(step):
        splitter = Splitter(1 << 20)
        taken = []
        for at in range(0, len(content), step):
            splitter.feed(content[at : at + step])
            while splitter.ready(64):
                taken.append(len(splitter.take(64).starts))
        splitter.finish()
        while splitter.rows:
            taken.append(len(splitter.take(64).starts))
        return taken

    assert sizes(10) == sizes(333) == sizes(1 << 20)
    assert sum(sizes(10)) == 100
