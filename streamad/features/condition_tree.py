"""The tree of a condition: what it asks of each field, and whether a record meets it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Literal

from streamad.records.spelling import leaf_text

Record = Mapping[str, Any]
"""A record as `Decoder.record` gives it."""

Value = float | bool | str
"""By the field's kind: numeric, boolean, or any other, whose values are compared as they are spelled."""

Operator = Literal["==", "!=", "<", "<=", ">", ">="]

OPERATORS: dict[Operator, Callable[[Any, Any], bool]] = {
    "==": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}

KEYWORDS = frozenset({"and", "or", "not", "in", "is", "missing"})
"""A field or a value of this name has quotes around it."""

_WORD = re.compile(r"""[^\s(),=!<>"']+""")


@dataclass(frozen=True, slots=True)
class Compare:
    """A field beside one value; ``<`` and its like only where the value is a number."""

    field: str
    operator: Operator
    value: Value

    def holds(self, record: Record) -> bool:
        """Whether a record meets it."""
        found = _found(record, self.field, type(self.value))
        if found is None:
            return self.operator == "!="
        return OPERATORS[self.operator](found, self.value)

    def __str__(self) -> str:
        return f"{name(self.field)} {self.operator} {_written(self.value)}"


@dataclass(frozen=True, slots=True)
class In:
    """A field that has one of some values, all of one type."""

    field: str
    values: tuple[Value, ...]

    def holds(self, record: Record) -> bool:
        """Whether a record meets it."""
        return _found(record, self.field, type(self.values[0])) in self.values

    def __str__(self) -> str:
        return f"{name(self.field)} in ({', '.join(map(_written, self.values))})"


@dataclass(frozen=True, slots=True)
class Missing:
    """A field without a value."""

    field: str

    def holds(self, record: Record) -> bool:
        """Whether a record meets it."""
        return _found(record, self.field, str) is None

    def __str__(self) -> str:
        return f"{name(self.field)} is missing"


@dataclass(frozen=True, slots=True)
class Not:
    """What the part is not."""

    part: Condition

    def holds(self, record: Record) -> bool:
        """Whether a record meets it."""
        return not self.part.holds(record)

    def __str__(self) -> str:
        return f"not {_part(self.part)}"


@dataclass(frozen=True, slots=True)
class And:
    """Where all of two or more parts hold."""

    parts: tuple[Condition, ...]

    def holds(self, record: Record) -> bool:
        """Whether a record meets it."""
        return all(part.holds(record) for part in self.parts)

    def __str__(self) -> str:
        return " and ".join(map(_part, self.parts))


@dataclass(frozen=True, slots=True)
class Or:
    """Where any of two or more parts holds."""

    parts: tuple[Condition, ...]

    def holds(self, record: Record) -> bool:
        """Whether a record meets it."""
        return any(part.holds(record) for part in self.parts)

    def __str__(self) -> str:
        return " or ".join(map(_part, self.parts))


Condition = Compare | In | Missing | Not | And | Or
"""``str`` writes it so that it is read again as the same."""


def _found(record: Record, field: str, kind: type) -> Value | None:
    """The field's value as one of a kind of `Value`, None where there is none."""
    value = record.get(field)
    if value is None:
        return None
    if kind is str:
        return repr(value) if isinstance(value, float) else leaf_text(value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _part(part: Condition) -> str:
    return f"({part})" if isinstance(part, And | Or) else str(part)


def name(field: str) -> str:
    """A field as conditions spell it."""
    return field if _WORD.fullmatch(field) and field not in KEYWORDS else _quoted(field)


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else _quoted(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
