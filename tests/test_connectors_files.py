"""Bounded files: formats, compression, headers, resume, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import polars as pl
import pytest
import zstandard
from streamad_connectors.compression import CHUNK_BYTES
from streamad_connectors.files import plugin
from streamad_connectors.paths import name_files

from streamad.errors import InputError
from streamad.ports import End, SourceContext

HEADER = b"id,text\n"
LINES = [b"%d,row number %d" % (i, i) for i in range(1000)]
CONTENT = HEADER + b"".join(line + b"\n" for line in LINES)


_opened = []


def open_files(folder, *paths, record_bytes=1 << 20, bounded=True, **options):
    known = plugin.options(type="files", paths=paths, **options)
    _opened.append(plugin.open(known, SourceContext(Path(folder), record_bytes, 0, bounded)))
    return _opened[-1]


@pytest.fixture(autouse=True)
def _close_sources():
    yield
    while _opened:
        _opened.pop().close()


def blocks_of(source, max_rows=64):
    blocks = []
    while not isinstance(block := source.poll(max_rows, 0.0), End):
        blocks.append(block)
    return blocks


def rows_of(blocks):
    return [(block.position(row), block.payload(row)) for block in blocks for row in range(len(block))]


def rows_until_error(source, found):
    while not isinstance(block := source.poll(1000, 0.0), End):
        found += rows_of([block])


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        half = len(content) // 2
        content = gzip.compress(content[:half]) + gzip.compress(content[half:])
    if path.suffix == ".zst":
        half = len(content) // 2
        compressor = zstandard.ZstdCompressor(write_checksum=True)
        content = compressor.compress(content[:half]) + compressor.compress(content[half:])
    path.write_bytes(content)
    return path


def write_parquet(folder, rows=1000):
    ids = list(range(rows))
    frame = pl.DataFrame({"id": ids, "x": [None if i % 10 == 0 else i / 2 for i in ids]})
    frame.write_parquet(folder / "a.parquet", row_group_size=128)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst"])
def test_every_compression_gives_the_same_rows_headers_and_positions(tmp_path, name):
    write(tmp_path, name, CONTENT)
    blocks = blocks_of(open_files(tmp_path, name))
    assert rows_of(blocks) == [(f"{name}:{line}", text) for line, text in enumerate(LINES, 2)]
    assert {block.columns for block in blocks} == {("id", "text")}
    assert [len(block) for block in blocks] == [64] * 15 + [40]
    assert [cursor["end"] for cursor in blocks[-1].cursors.values()] == [True]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst", "a.parquet"])
def test_resuming_at_any_block_gives_exactly_the_rows_that_were_left(tmp_path, name):
    options = {"format": "parquet"} if name == "a.parquet" else {}
    write_parquet(tmp_path) if options else write(tmp_path, name, CONTENT)
    blocks = blocks_of(open_files(tmp_path, name, **options), 100)
    for done in range(len(blocks) + 1):
        source = open_files(tmp_path, name, **options)
        source.seek(json.loads(json.dumps(blocks[done - 1].cursors)) if done else {})
        rest = blocks_of(source, 100)
        assert rows_of(rest) == rows_of(blocks[done:])
        assert [block.cursors for block in rest] == [block.cursors for block in blocks[done:]]


def test_seeking_back_reads_the_window_again(tmp_path):
    write(tmp_path, "a.csv.gz", CONTENT)
    source = open_files(tmp_path, "a.csv.gz")
    blocks = blocks_of(source)
    source.seek(blocks[3].cursors)
    assert rows_of(blocks_of(source)) == rows_of(blocks[4:])


def test_files_are_read_in_order_each_with_its_own_header_and_no_block_mixes_two(tmp_path):
    write(tmp_path, "b.csv", b"x,y\n1,2\n")
    write(tmp_path, "a/1.csv", b"y,x\n3,4\n5,6")
    write(tmp_path, "a/2.csv", b"x\n")
    blocks = blocks_of(open_files(tmp_path, "b.csv", "a/*.csv"))
    assert [(block.columns, rows_of([block])) for block in blocks] == [
        (("x", "y"), [("b.csv:2", b"1,2")]),
        (("y", "x"), [("1.csv:2", b"3,4"), ("1.csv:3", b"5,6")]),
    ]


def test_resuming_between_files_skips_the_finished_ones(tmp_path):
    for name in ("1.csv", "2.csv", "3.csv"):
        write(tmp_path, name, CONTENT)
    blocks = blocks_of(open_files(tmp_path, "*.csv"), 600)
    for done in range(1, len(blocks)):
        source = open_files(tmp_path, "*.csv")
        source.seek({name: cursor for block in blocks[:done] for name, cursor in block.cursors.items()})
        assert rows_of(blocks_of(source, 600)) == rows_of(blocks[done:])


def test_a_header_loses_its_mark_blanks_and_quotes(tmp_path):
    write(tmp_path, "a.csv", b'\xef\xbb\xbf id , "the, text" ,b\r\n1,2,3\r\n')
    (block,) = blocks_of(open_files(tmp_path, "a.csv"))
    assert block.columns == ("id", "the, text", "b")
    assert rows_of([block]) == [("a.csv:2", b"1,2,3")]


def test_without_a_header_the_first_line_is_a_row_and_its_mark_is_gone(tmp_path):
    write(tmp_path, "a.csv", b"\xef\xbb\xbf1,2\n\n3,4")
    (block,) = blocks_of(open_files(tmp_path, "a.csv", header=False))
    assert block.columns is None
    assert rows_of([block]) == [("a.csv:1", b"1,2"), ("a.csv:2", b""), ("a.csv:3", b"3,4")]


def test_parquet_rows_are_json_lines_with_nan_as_null_and_infinity_refused(tmp_path):
    frame = pl.DataFrame({"x": [1.5, float("nan"), None, float("inf")], "s": ["a\nb", '"', None, "d"]})
    frame.with_columns(raw=pl.lit(b"\xff")).write_parquet(tmp_path / "a.parquet")
    (block,) = blocks_of(open_files(tmp_path, "a.parquet", format="parquet"))
    assert [(at, json.loads(payload)) for at, payload in rows_of([block])] == [
        ("a.parquet:1", {"x": 1.5, "s": "a\nb", "raw": "ff"}),
        ("a.parquet:2", {"x": None, "s": '"', "raw": "ff"}),
        ("a.parquet:3", {"x": None, "s": None, "raw": "ff"}),
        ("a.parquet:4", {"x": None, "s": "d", "raw": "ff"}),
    ]
    assert {row: fault[:2] for row, fault in block.faults.items()} == {3: ("not_finite", "x")}


def test_parquet_structs_are_treated_as_columns_at_any_depth(tmp_path):
    values = [1.5, float("nan"), None, float("inf"), -float("inf")]
    deep = [{"x": value, "raw": b"\xff", "in": {"y": -1.0}} for value in values]
    deep += [{"x": 2.0, "raw": None, "in": {"y": float("inf")}}, {"x": 3.0, "raw": b"", "in": None}, None]
    pl.DataFrame({"s": deep}).write_parquet(tmp_path / "a.parquet")
    (block,) = blocks_of(open_files(tmp_path, "a.parquet", format="parquet"))
    inner = {"y": -1.0}
    assert [json.loads(payload)["s"] for _, payload in rows_of([block])] == [
        {"x": 1.5, "raw": "ff", "in": inner},
        *[{"x": None, "raw": "ff", "in": inner}] * 4,
        {"x": 2.0, "raw": None, "in": {"y": None}},
        {"x": 3.0, "raw": "", "in": None},
        None,
    ]
    assert {row: fault[:2] for row, fault in block.faults.items()} == {
        3: ("not_finite", "s.x"),
        4: ("not_finite", "s.x"),
        5: ("not_finite", "s.in.y"),
    }


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst"])
def test_a_line_longer_than_allowed_is_reported_and_passed_by(tmp_path, name):
    write(tmp_path, name, b"1,2\n" + b"x" * (3 * CHUNK_BYTES) + b"\n3,4\n")
    source = open_files(tmp_path, name, header=False, record_bytes=1000)
    blocks = blocks_of(source)
    assert rows_of(blocks) == [(f"{name}:1", b"1,2"), (f"{name}:2", b"x" * 4096), (f"{name}:3", b"3,4")]
    (block,) = blocks
    assert block.lengths == {1: 3 * CHUNK_BYTES}
    assert {row: fault.reason for row, fault in block.faults.items()} == {1: "too_long"}
    source.seek(blocks_of(open_files(tmp_path, name, header=False, record_bytes=1000), 2)[0].cursors)
    assert rows_of(blocks_of(source)) == [(f"{name}:3", b"3,4")]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst"])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_damaged_file_gives_its_good_rows_and_then_says_where_it_broke(tmp_path, name, harm):
    content = HEADER + b"".join(os.urandom(30).hex().encode() + b",1\n" for _ in range(20_000))
    path = write(tmp_path, name, content)
    whole = rows_of(blocks_of(open_files(tmp_path, name), 1000))
    raw = bytearray(path.read_bytes())
    place = int(len(raw) * 0.8)
    if harm == "cut":
        del raw[place:]
    else:
        raw[place : place + 64] = bytes(64)
    path.write_bytes(raw)
    found = []
    with pytest.raises(
        InputError, match=rf"{name} is damaged or cut off behind line \d+, byte \d+"
    ) as caught:
        rows_until_error(open_files(tmp_path, name), found)
    assert len(found) > 8_000
    assert harm == "flip" or found == whole[: len(found)]
    assert f"line {len(found) + 1}," in str(caught.value)


def test_a_file_changed_or_cut_behind_the_position_is_named_and_not_resumed(tmp_path):
    path = write(tmp_path, "a.csv", CONTENT)
    (cursor,) = blocks_of(open_files(tmp_path, "a.csv"))[9].cursors.values()
    middle = cursor["offset"] - 20
    changes = [
        CONTENT[: cursor["offset"] - 1],
        b"X" + CONTENT[1:],
        CONTENT[:middle] + b"#" + CONTENT[middle + 1 :],
    ]
    for changed in changes:
        path.write_bytes(changed)
        with pytest.raises(InputError, match=r"a\.csv changed behind line 641"):
            open_files(tmp_path, "a.csv").seek({"a.csv": cursor})


def test_a_file_that_grew_since_it_was_read_to_its_end_is_not_finished_silently(tmp_path):
    path = write(tmp_path, "a.csv", b"x\n1\n2\n")
    positions = blocks_of(open_files(tmp_path, "a.csv"))[-1].cursors
    path.write_bytes(b"x\n1\n2\n3\n")
    source = open_files(tmp_path, "a.csv")
    source.seek(positions)
    assert rows_of(blocks_of(source)) == [("a.csv:4", b"3")]


def test_a_last_line_that_gets_its_newline_later_is_not_read_twice_and_one_that_goes_on_is_named(tmp_path):
    path = write(tmp_path, "a.csv", b"x\n1\n2")
    positions = blocks_of(open_files(tmp_path, "a.csv"))[-1].cursors
    path.write_bytes(b"x\n1\n2\r\n3\n")
    source = open_files(tmp_path, "a.csv")
    source.seek(positions)
    assert rows_of(blocks_of(source)) == [("a.csv:4", b"3")]
    path.write_bytes(b"x\n1\n27\n3\n")
    with pytest.raises(InputError, match="changed behind line 3: that line went on later"):
        open_files(tmp_path, "a.csv").seek(positions)


def test_a_file_that_was_left_half_read_must_still_be_in_the_feed(tmp_path):
    write(tmp_path, "a.csv", CONTENT)
    write(tmp_path, "b.csv", CONTENT)
    positions = blocks_of(open_files(tmp_path, "a.csv"))[0].cursors
    with pytest.raises(InputError, match=r"a\.csv was read up to line 65 but is not in source\.paths now"):
        open_files(tmp_path, "b.csv").seek(positions)


def test_equal_base_names_are_told_apart_by_the_shortest_end_of_their_paths():
    paths = [Path("/d/one/x/log"), Path("/d/two/x/log"), Path("/d/two/y/log"), Path("/d/other")]
    assert [file.partition for file in name_files(paths)] == ["one/x/log", "two/x/log", "y/log", "other"]


def test_a_file_named_twice_is_read_once(tmp_path):
    write(tmp_path, "a.csv", b"x\n1\n")
    assert rows_of(blocks_of(open_files(tmp_path, "a.csv", "*.csv", "./a.csv"))) == [("a.csv:2", b"1")]


def test_progress_goes_from_nothing_to_one(tmp_path):
    write(tmp_path, "a.csv.gz", CONTENT)
    write(tmp_path, "b.csv.gz", CONTENT)
    source = open_files(tmp_path, "*.gz")
    shares = [source.progress()]
    while not isinstance(source.poll(100, 0.0), End):
        shares.append(source.progress())
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert source.progress() == 1.0


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("a.csv", None, {}, "a.csv does not exist"),
        ("*.csv", None, {}, "no file matches"),
        ("a.csv", b"", {}, "a.csv is empty"),
        ("a.csv", b"\xef\xbb\xbf", {}, "a.csv is empty"),
        ("a.csv", b"ab\0c\n", {}, "a.csv holds NUL bytes"),
        ("a.csv", b"PAR1abc", {}, "a.csv is a Parquet file"),
        ("a.csv", b"x\n1\n", {"format": "parquet"}, "a.csv is not a .* Parquet file"),
        ("a.parquet", b"PAR1abc", {"format": "parquet"}, r"a.parquet is not a \(complete\) Parquet file"),
        (".", None, {}, "is a directory"),
    ],
)
def test_wrong_files_are_refused_when_the_source_is_opened(tmp_path, name, content, options, sentence):
    if content is not None:
        write(tmp_path, name, content)
    with pytest.raises(InputError, match=sentence):
        open_files(tmp_path, name, **options)


def test_a_gz_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(b"1,2\n")
    with pytest.raises(InputError, match=r"a\.csv\.gz is named \.gz but does not hold that format"):
        open_files(tmp_path, "a.csv.gz")


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"a\.csv is not a regular file"):
        open_files(tmp_path, "a.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_refused(tmp_path):
    write(tmp_path, "a.csv", b"x\n1\n").chmod(0)
    with pytest.raises(InputError, match=r"a\.csv cannot be read: Permission denied"):
        open_files(tmp_path, "a.csv")


def test_one_empty_file_among_others_is_fine(tmp_path):
    write(tmp_path, "a.csv", b"")
    write(tmp_path, "b.csv", b"x\n1\n")
    assert rows_of(blocks_of(open_files(tmp_path, "*.csv"))) == [("b.csv:2", b"1")]


def test_the_kdd_file_is_read_whole_in_full_blocks(kdd_path):
    blocks = blocks_of(open_files(kdd_path.parent, kdd_path.name, format="kdd", header=False), 4096)
    assert [len(block) for block in blocks] == [4096] * 120 + [494_021 - 120 * 4096]
    assert blocks[-1].position(len(blocks[-1]) - 1) == f"{kdd_path.name}:494021"
