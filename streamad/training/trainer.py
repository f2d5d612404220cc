"""The parent's side of a training: one child process at a time, started, watched and, if need be, killed."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ARTIFACT = "artifact"
"""Where in the job's directory the child puts its result."""


@dataclass(frozen=True, slots=True)
class Done:
    """The artifact is complete."""

    path: Path
    seconds: float
    """From start to end, by the given clock."""
    peak_rss_mb: float
    import_seconds: float
    """The part of `seconds` that the child spent on importing torch."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no artifact; why, in one sentence."""

    reason: str
    seconds: float = 0.0
    world: bool = False
    """Whether it was for want of something that the same training may find another time, such as disk space."""


@dataclass(slots=True)
class Trainer:
    """Runs trainer processes. Used by one thread; no method but `wait` blocks for long."""

    timeout: float
    """Seconds after which a child counts as hung."""
    clock: Callable[[], float] = time.monotonic
    module: str = "streamad.training.process"
    """What the child runs with ``python -m``; tests put a crash in its place."""
    _job: _Job | None = field(default=None, init=False)

    @property
    def busy(self) -> bool:
        """Whether a training was started and its outcome not yet taken."""
        return self._job is not None

    @property
    def progress(self) -> dict[str, Any]:
        """The child's latest progress line: epoch, epochs and loss; empty before the first."""
        return {} if self._job is None else self._job.take_lines()

    def start(self, directory: Path) -> None:
        """Start training the snapshot in `directory`. Raises `RuntimeError` while another one runs."""
        if self._job is not None:
            message = "a training is already running"
            raise RuntimeError(message)
        self._job = _Job(directory, self.module, self.clock())

    def poll(self) -> Done | Failed | None:
        """The outcome, once; None while the training goes on or where there is none."""
        job = self._job
        if job is None:
            return None
        seconds = self.clock() - job.started
        if job.process.poll() is None and seconds <= self.timeout:
            return None
        hung = job.process.poll() is None
        self.kill()
        if hung:
            return Failed(f"the training took longer than {self.timeout:g} seconds", seconds)
        return job.outcome(seconds)

    def wait(self, timeout: float | None = None) -> Done | Failed | None:
        """Like `poll`, after waiting for the end for at most `timeout` seconds, or the trainer's own limit."""
        if self._job is None:
            return None
        left = max(0.0, self.timeout - (self.clock() - self._job.started))
        try:
            self._job.process.wait(left if timeout is None else min(left, timeout))
        except subprocess.TimeoutExpired:
            # only the limit of the training itself makes an outcome of it
            if timeout is not None and timeout < left:
                return None
            return self._hung()
        return self.poll()

    def _hung(self) -> Failed:
        self.kill()
        return Failed(f"the training took longer than {self.timeout:g} seconds", self.timeout)

    def kill(self) -> None:
        """End the child, if there is one, and wait until it is gone; its outcome is forgotten."""
        if self._job is not None:
            self._job.close()
            self._job = None


class _Job:
    """One child process and what it has said."""

    def __init__(self, directory: Path, module: str, started: float) -> None:
        self.directory, self.started = directory, started
        self._last: dict[str, Any] = {}
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._errors = (directory / "stderr.txt").open("wb")
        # -P: what lies in the working directory is not imported
        self.process = subprocess.Popen(  # noqa: S603  # our own interpreter, our own module
            [sys.executable, "-P", "-m", module, str(directory)],
            stdin=subprocess.PIPE,  # never written to: its end tells the child that we are gone
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # a terminal's Ctrl-C is for the parent, which decides what becomes of the training
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stdout: IO[bytes]) -> None:
        """Keep the child's pipe empty, so that it never waits for us."""
        for line in stdout:
            self._lines.put(line)

    def take_lines(self) -> dict[str, Any]:
        """The last line said so far."""
        while not self._lines.empty():
            self._last = _parsed(self._lines.get()) or self._last
        return self._last

    def outcome(self, seconds: float) -> Done | Failed:
        """What came of a child that has ended."""
        last, code = self.take_lines(), self.process.returncode
        artifact = self.directory / ARTIFACT
        if code == 0 and "done" in last and artifact.is_dir():
            return Done(artifact, seconds, last["peak_rss_mb"], last["import_seconds"])
        if "error" in last:
            return Failed(str(last["error"]), seconds, bool(last.get("world")))
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return Failed(f"the trainer process {how}", seconds)

    def close(self) -> None:
        """Kill what is left of the child and give back its pipes."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            if pipe is not None:
                pipe.close()


def _parsed(line: bytes) -> dict[str, Any]:
    """A line of NDJSON; empty where it is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
