"""Streamad as a user starts it, in a process of its own, and what becomes of it and its children."""

from __future__ import annotations

import atexit
import http.client
import subprocess
import sys
import time
from pathlib import Path


def say(text):
    """For who runs the tests with -s or -rP: what was measured, where a kill landed."""
    print(text)  # noqa: T201  # pytest shows it beside the test


def start(*arguments, log, stdout=subprocess.DEVNULL):
    """`streamad ARGUMENTS` with its log in a file."""
    with Path(log).open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamad", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    atexit.register(_end, process)  # where a test fails before it has stopped it
    return process


def _end(process):
    if process.poll() is None:
        process.kill()
        process.wait()


def wait_for(condition, process, *, seconds=60):
    """Wait until `condition` is true while the process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.01)


def trainers(pid):
    """The pids of the living trainer processes of a process; what a library starts for a moment is none."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
            trains = b"streamad.training.process" in stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == pid and state != "Z" and trains:
            found.append(int(stat.parent.name))
    return found


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stop(process, *signals):
    """Send signals; returns exit code and seconds, after checking that no trainer is left."""
    left, began = trainers(process.pid), time.monotonic()
    for number in signals:
        process.send_signal(number)
    code = process.wait(20)
    seconds = time.monotonic() - began
    while any(map(alive, left)):
        assert time.monotonic() - began < 5, "a trainer lives on"
        time.sleep(0.01)
    return code, seconds


def ask(port, path, method="GET"):
    """Status and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
