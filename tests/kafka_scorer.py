"""A scorer that ends (SIGKILL) or freezes (SIGSTOP) itself within a commit, the first one after it was told to.

    python kafka_scorer.py CONFIG TRANSACTIONAL_ID STEP

SIGUSR1 has it killed at STEP, and a second one before that calls it off. ``written`` is when its messages are handed
over, ``sent`` when the offsets are, and ``committing`` some moment between that and the answer to the commit. SIGUSR2
has it frozen at ``sent``. What it does it says on stderr, with the time.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from pathlib import Path

from streamad.commands.running import stop_on_signals
from streamad.config import load_config
from streamad.errors import StreamadError
from streamad.job import Job
from streamad.runtime.logs import configure_logs
from streamad.wiring.cluster import member

STEPS = ("written", "sent", "committing")
_LONG = 0.02
"""Seconds that a commit hardly takes longer than."""


class Ender:
    """Told each step of a commit."""

    def __init__(self, step):
        self._step, self._armed, self._freezes = step, False, False
        self._committing, self._lock = False, threading.Lock()
        self._silent = True  # nothing was committed since the start, or since it was woken
        signal.signal(signal.SIGUSR1, self._arm)
        signal.signal(signal.SIGUSR2, self._arm)

    def _arm(self, number, _frame):
        self._armed, self._freezes = not self._armed, number == signal.SIGUSR2

    def __call__(self, step):
        if step == "sink.committed":
            with self._lock:
                self._committing = False
            if self._silent:
                say("committed")
            self._silent = False
        wanted = "sent" if self._freezes or self._step == "committing" else self._step
        if self._armed and step == f"sink.{wanted}":
            self._act()

    def _act(self):
        if self._freezes:
            self._armed = self._freezes = False
            say("freezes")
            _at_once(signal.SIGSTOP)
            say("woken")
            self._silent = True
        elif self._step == "committing":
            self._committing = True
            threading.Timer(random.uniform(0, _LONG), self._end_if_committing).start()
        else:
            self._end()

    def _end_if_committing(self):
        with self._lock:
            if self._committing:
                self._end()

    def _end(self):
        say(f"killed at {self._step}")
        _at_once(signal.SIGKILL)


def _at_once(number):
    """By this very thread, which would go on for a moment if the signal were the process's."""
    signal.pthread_kill(threading.get_ident(), number)


def say(what):
    sys.stderr.write(f"{time.time():.3f} {what}\n")
    sys.stderr.flush()


def main(config, name, step):
    configure_logs(load_config(config).log)
    job = Job("run", config, (f"state.transactional_id={name}",), on_step=Ender(step))
    try:
        with stop_on_signals(job.stop), member(job).scorer() as engine:
            engine.run()
    except StreamadError as error:
        say(f"ended: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
