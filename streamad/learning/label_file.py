"""Label files: NDJSON, one label a line, in the format of CONTRACTS.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from streamad.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LINE_BYTES = 4 << 20


class Line(NamedTuple):
    """One line of a label file: what it says, or why it says nothing."""

    number: int
    label: dict[str, Any] | None
    problem: str


def read_labels(path: Path) -> Iterator[Line]:
    """The lines of a label file that are not blank. Raises `InputError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LINE_BYTES), b""), start=1):
                if line.strip():
                    yield _parse(number, line)
    except OSError as error:
        raise InputError(f"the label file {path} cannot be read: {error.strerror}") from None


def _parse(number: int, line: bytes) -> Line:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return Line(number, None, "not JSON")
    if not isinstance(found, dict):
        return Line(number, None, "not a JSON object")
    return Line(number, found, "")
