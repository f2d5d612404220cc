"""Runs replays that kill themselves (SIGKILL) where a test asks for it.

    python crash_driver.py JOB.json     one run
    python crash_driver.py --serve      one run for each line of stdin, each in a process forked from this one,
                                        which has imported everything and done nothing

A job: {"config": PATH, "state": DIR, "labels": PATH, "scores": PATH, "rate": N, "seed": N,
"kill": {"step": NAME, "after": COMMITS, "version": N}, "out": PATH, "err": PATH}; all but the first two may be
left out. The run is killed the first time that it reaches the step after so many commits of its own. Steps are
those that `Job.on_step` is told, and two that only the trainer's files show: ``fitting`` (a snapshot is there) and
``artifact_write`` (version N's trainer has written one of the artifact's files and goes no further).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import structlog

from streamad.job import Job
from streamad.runtime import retraining
from streamad.training.trainer import Trainer
from streamad.wiring.local import open_feed

SIGNS = {"fitting": "snapshot.json", "artifact_write": "halted"}


class Killer:
    def __init__(self, step, after, jobs):
        self.step, self.after, self.commits = step, after, 0
        if step in SIGNS:
            threading.Thread(target=self._watch, args=(jobs, SIGNS[step]), daemon=True).start()

    def __call__(self, step):
        if step == self.step and self.commits >= self.after:
            self._kill()
        self.commits += step == "commit.6"

    def _watch(self, jobs, sign):
        while self.commits < self.after or not any(jobs.glob(f"*/{sign}")):
            time.sleep(0.005)
        self._kill()

    def _kill(self):
        sys.stderr.write(f"killed at {self.step}\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def run(told):
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    optional = {name: Path(told[name]) for name in ("labels", "scores") if told.get(name)}
    if kill := told.get("kill"):
        optional["on_step"] = Killer(kill["step"], kill["after"], Path(told["state"], "jobs"))
        if kill["step"] == "artifact_write":
            paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
            os.environ |= {
                "HALT_VERSION": str(kill["version"]),
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            }
            retraining.Trainer = partial(Trainer, module="halting_trainer")
    job = Job(
        "replay",
        Path(told["config"]),
        state=Path(told["state"]),
        seed=told.get("seed", 0),
        rate=told.get("rate"),
        **optional,
    )
    with open_feed(job) as live:
        if not live.finished:
            live.engine.run()
        if live.scores is not None:
            live.scores.finish(Path(told["scores"]))
        sys.stdout.write(json.dumps(live.engine.summary()))
    sys.stdout.flush()


def serve():
    for line in sys.stdin:
        told = json.loads(line)
        child = os.fork()
        if child == 0:
            for descriptor, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(told[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
            code = 1
            try:
                run(told)
                code = 0
            finally:
                if code:
                    sys.excepthook(*sys.exc_info())
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve()
    else:
        run(json.loads(Path(sys.argv[1]).read_text()))
