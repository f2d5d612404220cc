"""Label files: NDJSON, one label a line, in the format of CONTRACTS.md."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count, islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from streamad.errors import InputError, UserError
from streamad.state.labels import check_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from streamad.state.labels import LabelOutcome, Outcome

_LINE_BYTES = 4 << 20
_AT_ONCE = 1000
"""Labels given in one transaction: a daemon that writes beside us waits no longer than for these."""
_REFUSED: tuple[Outcome, ...] = ("invalid", "unknown", "ambiguous")


class Line(NamedTuple):
    """One line of a label file: what it says, or why it says nothing."""

    number: int
    label: dict[str, Any] | None
    problem: str


class Given(NamedTuple):
    """What became of a label file."""

    outcomes: Counter[Outcome]
    """Of the lines that are labels."""
    problems: list[str]
    """What is wrong with the others and with those refused, each beginning with ``line NUMBER:``."""


class TakesLabels(Protocol):
    """A store of labels, or what stands for one."""

    def add_labels(self, labels: Sequence[Mapping[str, Any]]) -> list[LabelOutcome]:
        """Take labels in their order; what became of each."""


def give_labels(store: TakesLabels, path: Path) -> Given:
    """Give the good lines of a label file to the store. Raises `InputError` where it cannot be read."""
    given = Given(Counter(), [])
    lines = read_labels(path)
    while chunk := list(islice(lines, _AT_ONCE)):
        _give(store, chunk, given)
    return given


def bad_lines(path: Path) -> Iterator[str]:
    """What is wrong with the lines that no store would take. Raises `InputError` where the file cannot be read."""
    for number, label, problem in read_labels(path):
        if label is None:
            yield f"line {number}: {problem}"
            continue
        try:
            check_label(label)
        except UserError as error:
            yield f"line {number}: {error}"


def _give(store: TakesLabels, lines: list[Line], given: Given) -> None:
    outcomes = iter(store.add_labels([line.label for line in lines if line.label is not None]))
    for number, label, problem in lines:
        if label is None:
            given.problems.append(f"line {number}: {problem}")
            continue
        outcome = next(outcomes)
        given.outcomes[outcome.outcome] += 1
        if outcome.outcome in _REFUSED:
            given.problems.append(f"line {number}: {outcome.detail}")


def read_labels(path: Path) -> Iterator[Line]:
    """The lines of a label file that are not blank. Raises `InputError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            for number in count(1):
                line = file.readline(_LINE_BYTES)
                if not line:
                    return
                if len(line) == _LINE_BYTES and _skip(file, line):
                    yield Line(number, None, f"longer than {_LINE_BYTES >> 20} MiB")
                elif line.strip():
                    yield _parse(number, line)
    except OSError as error:
        raise InputError(f"the label file {path} cannot be read: {error.strerror}") from None


def _skip(file: IO[bytes], line: bytes) -> bool:
    """Read on to the end of a line that was read in part; False where it was whole."""
    whole = line.endswith(b"\n")
    while line and not line.endswith(b"\n"):
        line = file.readline(_LINE_BYTES)
    return not whole


def _parse(number: int, line: bytes) -> Line:
    try:
        found = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return Line(number, None, "not JSON")
    if not isinstance(found, dict):
        return Line(number, None, "not a JSON object")
    return Line(number, found, "")


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity are no JSON."""
    raise ValueError(constant)
