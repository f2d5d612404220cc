"""A scorer that kills itself (SIGKILL) at a step of a commit, the first time after it got SIGUSR1.

python kafka_scorer.py CONFIG TRANSACTIONAL_ID STEP
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from streamad.commands.running import stop_on_signals
from streamad.config import load_config
from streamad.job import Job
from streamad.runtime.logs import configure_logs
from streamad.wiring.cluster import member


class Killer:
    def __init__(self, step):
        self.step, self.armed = step, False
        signal.signal(signal.SIGUSR1, self._arm)

    def _arm(self, _number, _frame):
        self.armed = True

    def __call__(self, step):
        if self.armed and step == self.step:
            sys.stderr.write(f"killed at {step}\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)


def main(config, name, step):
    configure_logs(load_config(config).log)
    job = Job("run", config, (f"state.transactional_id={name}",), on_step=Killer(step))
    with stop_on_signals(job.stop), member(job).scorer() as engine:
        engine.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
