"""Made-up traffic for a topic, until somebody stops it: ``python -m streamad_connectors.kafka.traffic BROKERS TOPIC``."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence

import structlog

from streamad.errors import StreamadError
from streamad.records.kdd import kdd_object
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.stage import Sender
from streamad_connectors.synthetic import generate_lines

_TURN = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Send records in step with the clock; returns the exit code."""
    parser = argparse.ArgumentParser(prog="streamad_connectors.kafka.traffic", description=__doc__)
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("--rate", type=int, default=500, metavar="N", help="records a second")
    parser.add_argument("--records", type=int, metavar="N", help="stop after so many")
    parser.add_argument("--seed", type=int, default=7, metavar="N")
    args = parser.parse_args(arguments)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        _send(Sender(KafkaClient(brokers=args.brokers), args.topic), args.seed, args.rate, args.records)
    except StreamadError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return error.exit_code
    return 0


def _send(sender: Sender, seed: int, rate: int, records: int | None) -> None:
    began, sent = time.monotonic(), 0
    while records is None or sent < records:
        due = int((time.monotonic() - began + _TURN) * rate) - sent
        count = due if records is None else min(due, records - sent)
        sender.send([kdd_object(line) for line in generate_lines(seed, sent, count).splitlines()])
        sent += count
        time.sleep(_TURN)


if __name__ == "__main__":
    sys.exit(main())
