"""A watch on the process, with what it tells to whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import structlog

from streamad.config import Config
from streamad.runtime.systemd import Notifier
from streamad.runtime.watch import Watch

log = structlog.get_logger()


@contextmanager
def watched(config: Config) -> Iterator[Watch]:
    """For `Job.on_status`. Raises `UserError` where the port that the config wants is not to be had."""
    watch = Watch(config.limits.watchdog_seconds, Notifier(os.environ, os.getpid()))
    with ExitStack() as stack:
        if config.http.listen is not None:
            from streamad.runtime.http import serving  # noqa: PLC0415  # takes a moment, and most need it not

            port = stack.enter_context(serving(config.http.listen, watch))
            log.info("http_listening", listen=config.http.listen, port=port)
        stack.enter_context(watch.running())
        yield watch
