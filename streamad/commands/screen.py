"""What people see: stdout for results, escaped; NDJSON when piped."""

from __future__ import annotations

import io
import json
import select
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_VALUE_CHARS = 60
_MANY = 10_000  # from here on digits behind the point say nothing


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


def ndjson_lines(lines: Iterable[str]) -> None:
    """Stored JSON lines as they are, but for characters that could move a terminal: JSON escapes stand for them."""
    text = "".join((line if line.isprintable() else _harmless(line)) + "\n" for line in lines)
    text_out(text)


def text_out(text: str) -> None:
    """Text for programs: UTF-8, whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _harmless(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def console(*, results: bool = True) -> Console:
    """For results (stdout), or for progress and remarks (stderr)."""
    return Console(stderr=not results, highlight=False, soft_wrap=True)


def show(text: object) -> None:
    """One line of a result for people."""
    console().print(plain(text))


def remark(text: object) -> None:
    """One line about the work itself, on stderr."""
    console(results=False).print(plain(text))


def table(rows: Iterable[Sequence[object]]) -> None:
    """Rows for people under each other, the cells padded but never cut, so that an id can be copied."""
    lines = [[safe(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    out = console()
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        out.print(Text("  ".join(padded).rstrip()))


def brief(value: object, chars: int = _VALUE_CHARS) -> str:
    """One value of a record in little room."""
    text = "missing" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= chars else text[: chars - 1] + "…"


def number(value: float | None) -> str:
    """A probability of the tail or a score."""
    return "-" if value is None else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share in percent."""
    return "-" if share is None else f"{100 * share:.0f} %"


def reasons(found: Iterable[Mapping[str, Any]]) -> str:
    """Why a record was scored as it was, in words: ``flag S0 (41 %, usual SF)``."""
    return ", ".join(
        f"{reason['field']} {amount(reason['value'])} ({', '.join(filter(None, _beside(reason)))})"
        for reason in found
    )


def _beside(reason: Mapping[str, Any]) -> tuple[str, str]:
    return percent(reason["share"]), usually(reason)


def usually(reason: Mapping[str, Any]) -> str:
    """What would be usual in a reason's field, in words; nothing where it was not told."""
    found = reason.get("usual")
    if not isinstance(found, list) or not found:
        return ""
    words = list(map(amount, found))
    if not all(isinstance(value, int | float) for value in found):
        return "usual " + " or ".join(words)
    between = "\N{EN DASH}" if found[0] >= 0 else " to "
    return "usual " + between.join(dict.fromkeys(words))


def amount(value: object) -> str:
    """One value of a reason: numbers as people write them, anything else in little room."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return brief(value)
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < _MANY else f"{value:,.0f}"
    )


def pause(seconds: float) -> bool:
    """Wait; False as soon as nobody reads our results any more, also while there are none."""
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        time.sleep(seconds)
        return True
    waiting = select.poll()
    waiting.register(descriptor, 0)
    return not waiting.poll(seconds * 1000)
