"""Followed files: growth, rotation, truncation, and all of it while nobody was looking."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamad_connectors.files import plugin

from streamad.errors import InputError
from streamad.ports import Idle, SourceContext


class Log:
    """A log file and its rotations, each file with a date of its own."""

    def __init__(self, folder):
        self.path = folder / "conn.log"
        self.clock = 1_000_000_000

    def write(self, text, path=None):
        with (path or self.path).open("ab") as file:
            file.write(text)
        self.stamp(path or self.path)

    def stamp(self, path):
        self.clock += 1
        os.utime(path, (self.clock, self.clock))

    def rotate(self, *, copy=False, compress=False):
        """Shift conn.log.1 to .2 and so on, then move (or copy and truncate) conn.log to conn.log.1."""
        for number in range(8, 0, -1):
            for end in ("", ".gz"):
                old = self.path.with_name(f"conn.log.{number}{end}")
                if old.exists():
                    old.rename(self.path.with_name(f"conn.log.{number + 1}{end}"))
        first = self.path.with_name("conn.log.1")
        if copy:
            shutil.copy2(self.path, first)
            os.truncate(self.path, 0)
        else:
            self.path.rename(first)
        if compress:
            packed = first.with_name("conn.log.1.gz")
            packed.write_bytes(gzip.compress(first.read_bytes()))
            shutil.copystat(first, packed)
            first.unlink()

    def redate(self, number, *, compress):
        """Put a copy with a new date, compressed or not, in the place of a rotated file."""
        old = next(self.path.parent.glob(f"conn.log.{number}*"))
        packed = compress and old.suffix != ".gz"
        content = gzip.compress(old.read_bytes()) if packed else old.read_bytes()
        old.unlink()
        new = self.path.with_name(f"conn.log.{number}.gz") if packed else old
        self.write(content, new)


class Follower:
    """A source that can be killed and started again where its last commit was."""

    def __init__(self, folder, **options):
        options = {"header": False, "paths": ("conn.log",)} | options
        self.options = plugin.options(type="files", follow=True, **options)
        self.context = SourceContext(folder, 1 << 16, 0, bounded=False)
        self.committed = {}
        self.source = plugin.open(self.options, self.context)

    def read(self, max_rows=1000):
        rows = []
        while not isinstance(block := self.source.poll(max_rows, 0.0), Idle):
            rows += [(block.position(row), block.payload(row).decode()) for row in range(len(block))]
            self.committed |= json.loads(json.dumps(block.cursors))
        return rows

    def restart(self):
        self.source.close()
        self.source = plugin.open(self.options, self.context)
        self.source.seek(self.committed)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


@pytest.fixture
def follow(tmp_path):
    made = []

    def start(**options):
        made.append(Follower(tmp_path, **options))
        return made[-1]

    yield start
    for follower in made:
        follower.source.close()


def test_lines_are_read_as_they_come_and_a_torn_one_waits(log, follow):
    follower = follow()
    assert follower.read() == []
    log.write(b"a\nb\nto")
    assert follower.read() == [("conn.log:1", "a"), ("conn.log:2", "b")]
    assert follower.read() == []
    log.write(b"rn\nc\n")
    assert follower.read() == [("conn.log:3", "torn"), ("conn.log:4", "c")]


def test_of_many_rotations_the_youngest_cursors_are_needed_and_reading_goes_on_with_them(log, follow):
    follower = follow()
    for number in range(15):
        log.write(f"{number}\n".encode())
        assert len(follower.read()) == 1
        log.rotate()
    follower.committed = follower.source.needed(follower.committed | {"other.log": {}})
    assert [*follower.committed] == [*(f"conn.log~{number}" for number in range(10, 15)), "other.log"]
    del follower.committed["other.log"]
    follower.restart()
    log.write(b"new\n")
    assert follower.read() == [("conn.log~15:1", "new")]


def test_poll_waits_no_longer_than_it_may(follow):
    assert isinstance(follow().source.poll(10, 0.12), Idle)


def test_a_renamed_file_is_finished_first_then_the_new_one_begins_a_generation(log, follow):
    follower = follow()
    log.write(b"a\nb\n")
    assert follower.read() == [("conn.log:1", "a"), ("conn.log:2", "b")]
    log.rotate()
    log.write(b"late\nlast", log.path.with_name("conn.log.1"))
    assert follower.read() == [("conn.log:3", "late")]
    log.write(b"new\n")
    assert follower.read() == [("conn.log:4", "last"), ("conn.log~1:1", "new")]
    log.rotate()
    log.write(b"newer\n")
    assert follower.read() == [("conn.log~2:1", "newer")]


def test_a_writer_that_has_not_noticed_the_rotation_is_waited_for(log, follow):
    follower = follow()
    log.write(b"a\n")
    follower.read()
    log.rotate()
    log.path.touch()
    assert follower.read() == []
    log.write(b"b\n", log.path.with_name("conn.log.1"))
    assert follower.read() == [("conn.log:2", "b")]


def test_each_generation_has_its_own_header(log, follow):
    follower = follow(header=True)
    log.write(b"x,y\n1,2\n")
    assert follower.source.poll(10, 0.0).columns == ("x", "y")
    log.rotate()
    log.write(b"y,z\n")
    assert follower.read() == []
    log.write(b"3,4\n")
    block = follower.source.poll(10, 0.0)
    assert (block.columns, block.position(0)) == (("y", "z"), "conn.log~1:2")


def test_truncation_in_place_begins_a_generation_from_the_start(log, follow):
    follower = follow()
    log.write(b"aaaa\nbbbb\n")
    follower.read()
    os.truncate(log.path, 0)
    log.write(b"c\n")
    assert follower.read() == [("conn.log~1:1", "c")]


def test_truncation_is_seen_even_when_the_file_has_outgrown_its_old_size(log, follow):
    follower = follow()
    log.write(b"aaaa\n")
    follower.read()
    os.truncate(log.path, 0)
    log.write(b"cccccc\ndddddd\n")
    assert follower.read() == [("conn.log~1:1", "cccccc"), ("conn.log~1:2", "dddddd")]


def test_a_copy_made_before_truncation_gives_the_lines_not_read_yet(log, follow):
    follower = follow()
    log.write(b"a\nb\n")
    follower.read()
    log.write(b"c\nd\n")
    log.rotate(copy=True)
    log.write(b"e\n")
    assert follower.read() == [("conn.log:3", "c"), ("conn.log:4", "d"), ("conn.log~1:1", "e")]


ROTATIONS = [{}, {"copy": True}, {"compress": True}]


@pytest.mark.parametrize("how", ROTATIONS)
def test_a_rotation_while_down_is_caught_up_with(log, follow, how):
    follower = follow()
    log.write(b"a\nb\n")
    follower.read()
    log.write(b"c\nlast")
    log.rotate(**how)
    log.write(b"new\n")
    follower.restart()
    assert follower.read() == [("conn.log:3", "c"), ("conn.log:4", "last"), ("conn.log~1:1", "new")]


@pytest.mark.parametrize("how", ROTATIONS)
def test_several_rotations_while_down_are_read_oldest_first(log, follow, how):
    log.write(b"before\n")
    log.rotate(**how)
    log.write(b"a\n")
    follower = follow()
    follower.read()
    log.write(b"b\n")
    for text in (b"c\n", b"d\n", b"e\n"):
        log.rotate(**how)
        log.write(text)
    follower.restart()
    expected = [("conn.log:2", "b"), ("conn.log~1:1", "c"), ("conn.log~2:1", "d"), ("conn.log~3:1", "e")]
    assert follower.read() == expected


def test_several_rotations_between_two_polls_are_read_oldest_first(log, follow):
    follower = follow()
    log.write(b"a\n")
    follower.read()
    log.rotate()
    log.write(b"b\n")
    log.rotate()
    log.write(b"c\n")
    assert follower.read() == [("conn.log~1:1", "b"), ("conn.log~2:1", "c")]


@pytest.mark.parametrize("how", ROTATIONS)
def test_a_restart_after_every_row_gives_what_an_unbroken_run_gives(log, follow, how):
    follower = follow()
    found = []
    for turn in range(4):
        log.write(b"".join(b"%d-%d\n" % (turn, line) for line in range(5)))
        for _ in range(3):
            block = follower.source.poll(2, 0.0)
            found += [(block.position(row), block.payload(row).decode()) for row in range(len(block))]
            follower.committed |= block.cursors
            follower.restart()
        log.rotate(**how)
    names = ["conn.log", "conn.log~1", "conn.log~2", "conn.log~3"]
    assert found == [(f"{names[i]}:{line + 1}", f"{i}-{line}") for i in range(4) for line in range(5)]


def test_seeking_back_over_rotations_reads_the_same_rows_under_the_same_positions(log, follow):
    follower = follow()
    log.write(b"a\nb\n")
    first = follower.source.poll(1, 0.0)
    expected = follower.read()
    for text in (b"c\n", b"d\n"):
        log.rotate()
        log.write(text)
        expected += follower.read()
    follower.source.seek(first.cursors)
    assert follower.read() == expected
    assert [at for at, _ in expected] == ["conn.log:2", "conn.log~1:1", "conn.log~2:1"]


def test_a_rotated_file_that_is_gone_is_reported_and_the_new_one_begins(log, follow, capsys):
    follower = follow()
    log.write(b"a\nb\n")
    follower.read()
    log.write(b"lost\n")
    log.path.unlink()
    log.write(b"new\n")
    follower.restart()
    assert follower.read() == [("conn.log~1:1", "new")]
    assert "the rest of a rotated or truncated file was not found" in capsys.readouterr().out


def test_a_rotated_file_compressed_later_is_not_read_again(log, follow):
    follower = follow()
    log.write(b"a\n")
    follower.read()
    log.rotate()
    log.write(b"b\n")
    assert follower.read() == [("conn.log~1:1", "b")]
    first = log.path.with_name("conn.log.1")
    packed = first.with_name("conn.log.1.gz")
    packed.write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    log.stamp(packed)
    log.rotate()
    log.write(b"c\n")
    assert follower.read() == [("conn.log~2:1", "c")]


@pytest.mark.parametrize("redated", [[3], [3, 2], [2, 3], [2], [1], [3, 1], [1, 2, 3]])
@pytest.mark.parametrize("compress", [True, False])
def test_rotated_files_that_were_copied_while_down_hide_no_others_and_are_read_once(
    log, follow, redated, compress
):
    follower = follow()
    log.write(b"a\n")
    follower.read()
    log.write(b"b\n")
    for text in (b"c\n", b"d\n", b"e\n"):
        log.rotate()
        log.write(text)
    for number in redated:
        log.redate(number, compress=compress)
    follower.restart()
    found = []
    for _ in range(6):
        if not isinstance(block := follower.source.poll(1, 0.0), Idle):
            found += [(block.position(0), block.payload(0).decode())]
            follower.committed |= block.cursors
        follower.restart()
    expected = [("conn.log:2", "b"), ("conn.log~1:1", "c"), ("conn.log~2:1", "d"), ("conn.log~3:1", "e")]
    assert found == expected


def test_files_that_follow_one_that_is_gone_are_read_all_the_same(log, follow, capsys):
    follower = follow()
    log.write(b"a\n")
    follower.read()
    for text in (b"b\n", b"c\n"):
        log.rotate()
        log.write(text)
    log.path.with_name("conn.log.2").unlink()
    follower.restart()
    assert follower.read() == [("conn.log~1:1", "b"), ("conn.log~2:1", "c")]
    assert "the rest of a rotated or truncated file was not found" in capsys.readouterr().out


def test_counted_files_whose_numbers_grow_are_read_in_that_order(log, follow):
    follower = follow()
    for number, text in enumerate((b"a\n", b"b\n", b"c\n"), 1):
        log.write(text)
        if number == 1:
            follower.read()
        log.path.rename(log.path.with_name(f"conn.log.{number}"))
    log.write(b"d\n")
    follower.restart()
    assert [text for _, text in follower.read()] == ["b", "c", "d"]


def test_a_rotated_file_without_a_row_holds_up_nothing(log, follow):
    follower = follow(header=True)
    log.write(b"x\n1\n")
    follower.read()
    for text in (b"x\n", b"x\n2\n", b"x\n3\n"):
        log.rotate()
        log.write(text)
    log.redate(2, compress=False)
    follower.restart()
    assert [text for _, text in follower.read()] == ["2", "3"]


def test_a_cursor_without_a_date_is_read_on_from_as_before(log, follow):
    follower = follow()
    log.write(b"a\n")
    follower.read()
    for text in (b"b\n", b"c\n"):
        log.rotate()
        log.write(text)
    del follower.committed["conn.log"]["mtime"]
    follower.restart()
    assert follower.read() == [("conn.log~1:1", "b"), ("conn.log~2:1", "c")]


def test_a_rotated_file_left_out_because_its_date_contradicts_its_number_is_named(log, follow, capsys):
    follower = follow()
    log.write(b"a\n")
    follower.read()
    for text in (b"b\n", b"c\n"):
        log.rotate()
        log.write(text)
    os.utime(log.path.with_name("conn.log.1"), (1, 1))
    follower.restart()
    assert follower.read() == [("conn.log~1:1", "c")]
    told = capsys.readouterr().out
    assert "whether they were read before cannot be told" in told
    assert "conn.log.1" in told


def test_several_files_are_followed_in_turns(log, follow, tmp_path):
    follower = follow(paths=("conn.log", "dns.log"))
    log.write(b"a\nb\nc\n")
    log.write(b"x\ny\n", tmp_path / "dns.log")
    assert follower.read(1) == [
        ("conn.log:1", "a"),
        ("dns.log:1", "x"),
        ("conn.log:2", "b"),
        ("dns.log:2", "y"),
        ("conn.log:3", "c"),
    ]
    log.write(b"z\n", tmp_path / "dns.log")
    follower.restart()
    assert follower.read() == [("dns.log:3", "z")]


def test_a_glob_that_matches_rotated_files_too_follows_each_line_once(log, follow):
    log.write(b"old\n")
    log.rotate(compress=True)
    log.write(b"a\n")
    assert follow(paths=("conn.log*",)).read() == [("conn.log:1", "a")]


def test_a_bounded_feed_can_be_followed_later(log, follow):
    log.write(b"a\nb\n")
    options = plugin.options(type="files", paths=("conn.log",), header=False)
    bounded = plugin.open(options, SourceContext(log.path.parent, 1 << 16, 0, bounded=True))
    positions = bounded.poll(10, 0.0).cursors
    bounded.close()
    log.write(b"c\n")
    follower = follow()
    follower.source.seek(positions)
    assert follower.read() == [("conn.log:3", "c")]


def test_a_replay_of_a_followed_file_ends(log, tmp_path):
    log.write(b"a\ntorn")
    options = plugin.options(type="files", paths=("conn.log",), follow=True, header=False)
    source = plugin.open(options, SourceContext(tmp_path, 1 << 16, 0, bounded=True))
    assert len(source.poll(10, 0.0)) == 2
    source.close()


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        (b"a\0b\n", {}, "NUL bytes"),
        (gzip.compress(b"a\n", mtime=0), {}, "is compressed, so it cannot be followed"),
        (b"a\n", {"format": "parquet"}, "a Parquet file cannot be followed"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused(log, follow, content, options, sentence):
    log.write(content)
    with pytest.raises(InputError, match=sentence):
        follow(**options)


@given(
    st.lists(
        st.sampled_from(["write", "poll", "restart", "rotate"]) | st.tuples(st.integers(1, 8), st.booleans()),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=100)
def test_new_dates_on_rotated_files_lose_and_repeat_nothing(steps):
    with TemporaryDirectory() as folder:
        log, written = Log(Path(folder)), 0
        follower, found = Follower(Path(folder)), []
        for step in ["write", "poll", *steps, "write", "poll"]:
            rotated = len(list(log.path.parent.glob("conn.log.*")))
            if step == "write":
                log.write(b"".join(b"%d\n" % (written + i) for i in range(3)))
                written += 3
            elif step == "poll":
                found += follower.read(2)
            elif step == "restart":
                follower.restart()
            elif step == "rotate":
                if log.path.exists() and rotated < 8:
                    log.rotate()
            elif rotated:
                log.redate(min(step[0], rotated), compress=step[1])
        follower.source.close()
    assert [text for _, text in found] == [str(i) for i in range(written)]


@given(
    st.lists(st.sampled_from(["write", "write", "torn", "poll", "poll", "restart", "rotate"]), max_size=40)
)
@pytest.mark.parametrize("how", ROTATIONS)
@settings(deadline=None, max_examples=60)
def test_whatever_happens_in_whatever_order_each_line_is_read_once_and_in_order(how, steps):
    with TemporaryDirectory() as folder:
        log, written = Log(Path(folder)), 0
        follower, found = Follower(Path(folder)), []
        for step in ["write", "poll", *steps, "write", "poll"]:
            if step == "write":
                log.write(b"".join(b"%d\n" % (written + i) for i in range(3)))
                written += 3
            elif step == "torn":
                log.write(b"%d" % written)
                found += follower.read(2)
                log.write(b"\n")
                written += 1
            elif step == "poll":
                found += follower.read(2)
            elif step == "restart":
                follower.restart()
            elif log.path.exists() and log.path.stat().st_size:
                log.rotate(**how)
        follower.source.close()
    assert [text for _, text in found] == [str(i) for i in range(written)]
    assert len({position for position, _ in found}) == written
