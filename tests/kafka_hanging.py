"""`streamad ARGUMENTS`, whose commits to Kafka hang for ever once it got SIGUSR1; what is stuck is ended at once."""

from __future__ import annotations

import signal
import sys
import threading

from streamad_connectors.kafka.sink import KafkaSink

from streamad.cli import main
from streamad.runtime import watch


def hang_when_told():
    told, commit = threading.Event(), KafkaSink.commit

    def hanging(sink, what):
        if told.is_set():
            threading.Event().wait()
        commit(sink, what)

    signal.signal(signal.SIGUSR1, lambda *_: told.set())
    KafkaSink.commit = hanging
    watch._GRACE = 0.5


if __name__ == "__main__":
    hang_when_told()
    sys.exit(main(sys.argv[1:]))
