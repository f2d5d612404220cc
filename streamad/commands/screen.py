"""What people see: stdout for results, escaped; NDJSON when piped."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping


def piped() -> bool:
    """Whether a program reads our results."""
    return not sys.stdout.isatty()


def safe(value: object) -> str:
    """Text from a record, harmless on any terminal: control and unprintable characters are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def plain(value: object) -> Text:
    """The same for rich: neither markup nor escapes in it mean anything."""
    return Text(safe(value))


def ndjson(row: Mapping[str, Any]) -> None:
    """One result as one line; ASCII only, so nothing in it can move a terminal."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def console(*, results: bool = True) -> Console:
    """For results (stdout), or for progress and remarks (stderr)."""
    return Console(stderr=not results, highlight=False, soft_wrap=True)
