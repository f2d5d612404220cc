"""The processes of a demo: started, watched, and ended with it."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamad.errors import WorldError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE = 600.0
"""Seconds for any of the steps: two trainings on a slow machine are the longest."""
_TURN = 0.3
_ENDING = 5.0
"""Seconds that a process has to drain: what it writes then is removed at once."""


class StoppedError(Exception):
    """Somebody wants the demo to end."""


@dataclass(slots=True)
class Play:
    """A demo under way: its folder, its processes, and whether it is to stop."""

    folder: Path
    feed: str
    seed: int
    stop: threading.Event
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """What all processes are started on."""
        return self.folder / "demo.yaml"

    def start(self, name: str, *words: str) -> None:
        """Start ``streamad WORDS`` with its log in the folder."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(  # noqa: S603  # our own program, and no shell
                _streamad(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            )

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until it is true. Raises `WorldError` where a process has ended, or it takes too long."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            for name, process in self.processes.items():
                if (code := process.poll()) is not None:
                    raise WorldError(f"the {name} ended with exit code {code}: {self._last_line(name)}")
            if time.monotonic() > deadline:
                raise WorldError(f"the demo waited in vain for {_PATIENCE:g} s; --state DIR keeps its logs")
            if self.stop.wait(_TURN):
                raise StoppedError

    def close(self) -> None:
        """End the processes: in order, or after a while at once."""
        for process in self.processes.values():
            process.terminate()
        deadline = time.monotonic() + _ENDING
        for process in self.processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _last_line(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


def output(*words: str) -> str:
    """What ``streamad WORDS`` wrote to stdout. Raises `WorldError` where it failed."""
    done = subprocess.run(  # noqa: S603  # as above
        _streamad(*words), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WorldError(f"streamad {words[0]} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _streamad(*words: str) -> list[str]:
    return [sys.executable, "-m", "streamad", *words]
