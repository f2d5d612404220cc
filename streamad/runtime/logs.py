"""Logs to stderr: for people on a terminal, JSON elsewhere. They never hold record values."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from streamad.runtime.options import LogOptions


def configure_logs(options: LogOptions) -> None:
    """Set up structlog for this process."""
    colors = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    human = options.format == "human" or (options.format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if human:
        renderer = structlog.dev.ConsoleRenderer(colors=colors)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, options.level.upper())),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # whatever it is when something is said
        cache_logger_on_first_use=False,
    )
