"""Runs one replay and kills itself (SIGKILL) when it reaches a given step for the n-th time.

    python crash_driver.py JOB.json

JOB.json: {"config": PATH, "state": DIR, "labels": PATH or null, "scores": PATH or null, "rate": N or null,
"kill": [STEP, N] or null}
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import structlog

from streamad.wiring import Job, open_feed


def killer(step_to_kill, times):
    def on_step(step):
        nonlocal times
        if step == step_to_kill:
            times -= 1
            if times == 0:
                sys.stderr.write(f"killed at {step}\n")
                sys.stderr.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    return on_step


def main(path):
    told = json.loads(Path(path).read_text())
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    optional = {name: Path(told[name]) for name in ("labels", "scores") if told.get(name)}
    if told.get("kill"):
        optional["on_step"] = killer(*told["kill"])
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


if __name__ == "__main__":
    main(sys.argv[1])
