"""Scorers under a supervisor that starts each again at once, whatever ended it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from kafka_scorer import STEPS

from streamad.errors import WorldError

_SCORER = Path(__file__).with_name("kafka_scorer.py")
_TURN = 0.05


class Exit(NamedTuple):
    """A scorer that ended although nobody had told it to."""

    name: str
    code: int
    last_words: str


class Scorers:
    """So many of them. `exits` are those of their own, `waits` the starts that found no broker, and `starts` the seconds
    until one that was started had committed something."""

    def __init__(self, folder, config, count, rng):
        self._folder, self._config, self._rng = folder, config, rng
        self._began, self._processes, self._times = {}, {}, {}
        self.exits, self.waits, self.starts = [], 0, []
        for number in range(count):
            self._start(f"{folder.name}-scorer-{number}")

    def _log(self, name):
        return self._folder / f"{name}.log"

    def _start(self, name):
        with self._log(name).open("ab") as log:
            self._began[name], self._times[name] = log.tell(), time.time()
            command = [sys.executable, _SCORER, self._config, name, self._rng.choice(STEPS)]
            self._processes[name] = subprocess.Popen(
                [*map(str, command)], stdin=subprocess.DEVNULL, stderr=log
            )

    def said(self, name):
        """By its present process."""
        return self._log(name).read_bytes()[self._began[name] :].decode(errors="replace")

    def rest(self, seconds):
        """Let them work."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._tend()
            time.sleep(_TURN)

    def wait(self, condition, seconds):
        """Whether it came true in time."""
        until = time.monotonic() + seconds
        while not (came := condition()) and time.monotonic() < until:
            self.rest(_TURN)
        return came

    def _tend(self):
        for name, process in self._processes.items():
            if process.poll() is not None:
                self._note_start(name)
                self._note(name, process.returncode)
                self._start(name)

    def _note(self, name, code):
        said = self.said(name)
        if code == WorldError.exit_code and not moments(said, "committed"):
            self.waits += 1
        elif code != -signal.SIGKILL or "killed at" not in said:
            self.exits.append(Exit(name, code, said[-400:]))

    def _note_start(self, name):
        if first := moments(self.said(name), "committed")[:1]:
            self.starts.append(first[0] - self._times[name])

    def working(self):
        """The names of those that have committed something."""
        return [name for name in self._processes if moments(self.said(name), "committed")]

    def kill(self, seconds=15.0):
        """Name and step of one that ended within a commit, or None where none did in time, or all others are down."""
        if len(working := self.working()) < min(2, len(self._processes)):
            return None
        name = self._rng.choice(working)
        process = self._processes[name]
        process.send_signal(signal.SIGUSR1)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)  # not any more
        found = re.search(r"killed at (\w+)", self.said(name))
        self._tend()
        return (name, found[1]) if found else None

    def freeze(self, seconds):
        """Freeze one for so long within a commit, once all of them work: name, when, and the seconds from its waking to its
        next commit; the last is None where none came in a minute."""
        self.wait(lambda: len(self.working()) == len(self._processes), 240)
        name = self._rng.choice(self.working())
        process = self._processes[name]
        process.send_signal(signal.SIGUSR2)
        assert self.wait(lambda: moments(self.said(name), "freezes"), 240), f"{name} commits nothing"
        (at,) = moments(self.said(name), "freezes")
        self.rest(seconds)
        process.send_signal(signal.SIGCONT)
        woken = time.time()
        self.wait(lambda: moments(self.said(name), "committed")[-1:] > [woken], 60)
        later = [moment for moment in moments(self.said(name), "committed") if moment > woken]
        return name, at, later[0] - woken if later else None

    def end(self):
        for process in self._processes.values():
            process.terminate()
        for name, process in self._processes.items():
            self._note_start(name)
            if (code := process.wait(120)) not in (0, -signal.SIGTERM):
                self._note(name, code)


def moments(said, what):
    """When a scorer said so."""
    return [float(found) for found in re.findall(rf"^(\d+\.\d+) {what}$", said, re.MULTILINE)]
