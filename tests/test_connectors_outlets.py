"""Outlets: every line once in a file, at least once on a pipe."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamad_connectors import ndjson, stdout
from streamad_connectors.memory import MemoryOutlet, sink_plugin

from streamad.errors import UserError

LINES = [b'{"alert":%d}\n' % i for i in range(40)]


def open_outlet(folder, mark=None):
    outlet = ndjson.plugin.open(ndjson.plugin.options(type="ndjson", path="alerts.ndjson"), folder)
    outlet.resume(mark)
    return outlet


def deliver(folder, mark, lines):
    outlet = open_outlet(folder, mark)
    mark = outlet.deliver(lines)
    outlet.close()
    return mark


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alerts.ndjson"


def test_lines_are_appended_and_the_mark_is_inode_and_size(tmp_path, path):
    mark = deliver(tmp_path, None, LINES[:2])
    assert mark == {"inode": path.stat().st_ino, "size": path.stat().st_size}
    assert deliver(tmp_path, mark, LINES[2:])["size"] == len(b"".join(LINES))
    assert path.read_bytes() == b"".join(LINES)


@given(noted=st.integers(0, 20), torn_at=st.integers(0, 600), again=st.integers(1, 40), old=st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_a_delivery_was_torn_each_line_is_there_once(tmp_path, noted, torn_at, again, old):
    path = tmp_path / "alerts.ndjson"
    before = b'{"older":1}\n' if old else b""
    path.write_bytes(before)
    mark = deliver(tmp_path, None, LINES[:noted]) if noted else None
    with path.open("ab") as file:
        file.write(b"".join(LINES[noted:])[:torn_at])
    outlet = open_outlet(tmp_path, mark)
    for start in range(noted, 40, again):
        mark = outlet.deliver(LINES[start : start + again])
    outlet.close()
    assert path.read_bytes() == before + b"".join(LINES)
    assert mark["size"] == path.stat().st_size


def test_a_crash_while_delivering_again_loses_and_doubles_nothing(tmp_path, path):
    path.write_bytes(b"".join(LINES[:10]) + LINES[10][:4])
    mark = deliver(tmp_path, None, LINES[:3])
    assert mark["size"] == len(b"".join(LINES[:3]))
    deliver(tmp_path, mark, LINES[3:])
    assert path.read_bytes() == b"".join(LINES)


def test_a_foreign_torn_line_is_left_alone_and_ours_begin_on_a_fresh_one(tmp_path, path):
    path.write_bytes(b"something else")
    deliver(tmp_path, None, LINES[:2])
    assert path.read_bytes() == b"something else\n" + b"".join(LINES[:2])


def test_after_a_rotation_a_new_file_is_begun(tmp_path, path):
    outlet = open_outlet(tmp_path)
    outlet.deliver(LINES[:2])
    path.rename(tmp_path / "alerts.ndjson.1")
    mark = outlet.deliver(LINES[2:4])
    outlet.close()
    deliver(tmp_path, mark, LINES[4:5])
    assert path.read_bytes() == b"".join(LINES[2:5])
    assert (tmp_path / "alerts.ndjson.1").read_bytes() == b"".join(LINES[:2])


def test_a_failed_write_may_be_tried_again_and_is_then_there_once(tmp_path, path, monkeypatch):
    outlet = open_outlet(tmp_path)
    outlet.deliver(LINES[:2])
    write = os.write
    answers = iter([7, None])

    def fails_on_the_second_call(descriptor, content):
        size = next(answers)
        if size is None:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:size])

    monkeypatch.setattr(os, "write", fails_on_the_second_call)
    with pytest.raises(OSError, match="No space left"):
        outlet.deliver(LINES[2:])
    monkeypatch.setattr(os, "write", write)
    outlet.deliver(LINES[2:])
    outlet.close()
    assert path.read_bytes() == b"".join(LINES)


def test_a_named_pipe_can_be_a_sink(tmp_path, path):
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    outlet = open_outlet(tmp_path)
    outlet.deliver(LINES[:2])
    assert os.read(reading, 1000) == b"".join(LINES[:2])
    outlet.close()
    os.close(reading)


@pytest.mark.parametrize(("name", "sentence"), [("no/alerts", "does not exist"), (".", "is a directory")])
def test_a_path_that_could_never_be_written_is_refused_at_once(tmp_path, name, sentence):
    with pytest.raises(UserError, match=sentence):
        ndjson.plugin.open(ndjson.plugin.options(type="ndjson", path=name), tmp_path)


def test_stdout_gets_every_line_and_a_closed_pipe_is_said(capfd, tmp_path):
    outlet = stdout.plugin.open(stdout.plugin.options(type="stdout"), tmp_path)
    outlet.resume(None)
    outlet.deliver(LINES)
    outlet.close()
    assert capfd.readouterr().out.encode() == b"".join(LINES)
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        stdout.StdoutOutlet(writing).deliver(LINES)
    os.close(writing)


def test_the_memory_outlet_is_found_by_name_fails_on_request_and_drops_what_was_not_noted(tmp_path):
    outlet = sink_plugin.open(sink_plugin.options(type="memory", name="outlet test"), tmp_path)
    outlet.resume(None)
    mark = outlet.deliver(LINES[:3])
    outlet.failures = 1
    with pytest.raises(OSError, match="on request"):
        outlet.deliver(LINES[3:])
    outlet.deliver(LINES[3:])
    outlet.resume(mark)
    assert MemoryOutlet.named.pop("outlet test").lines == LINES[:3]
