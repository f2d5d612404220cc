"""Conditions on records, as people write them: ``service == ftp and (bytes > 1e6 or user is missing)``.

::

    condition  = and { "or" and }
    and        = not { "and" not }
    not        = "not" not | "(" condition ")" | test
    test       = FIELD ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) VALUE
               | FIELD [ "not" ] "in" "(" VALUE { "," VALUE } ")"
               | FIELD "is" [ "not" ] "missing"

FIELD and VALUE are bare words, or quoted with ' or ", where a backslash takes the next character as it is. What a value
may be is the field's to say: a number, true or false, or text. A condition is read against a schema into a tree, and is
never run as code. A missing value equals nothing, is in no list, and is neither above nor below anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, NoReturn

from streamad.errors import UserError
from streamad.features.condition_tree import (
    KEYWORDS,
    OPERATORS,
    And,
    Compare,
    Condition,
    In,
    Missing,
    Not,
    Operator,
    Or,
    Value,
    name,
)
from streamad.records.schema import FieldWord, Schema

_UNUSABLE: frozenset[FieldWord] = frozenset({"time", "label"})

_LONGEST, _DEEPEST = 2000, 32
"""Characters of a condition, and how deep it may nest: what reads it calls itself."""

_SHOWN = 40
"""Characters on either side of what is wrong that an error shows."""

_TOKEN = re.compile(
    r"""\s*(?: (?P<sign>[(),]|==|!=|<=|>=|<|>) | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r""" | (?P<word>[^\s(),=!<>"']+) | (?P<end>\Z) | (?P<odd>.) )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class ConditionError(UserError):
    """A condition that cannot be read. `position` is the place of the first character that is wrong, from 0."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        self.text, self.position, self.problem = text, position, problem
        before, after = text[:position], text[position:]
        if len(before) > _SHOWN:
            before = "…" + before[-_SHOWN:]
        if len(after) > _SHOWN:
            after = after[:_SHOWN] + "…"
        super().__init__(f"condition, character {position + 1}: {problem}: {before}-->{after}")


class _Token(NamedTuple):
    kind: Literal["sign", "quoted", "word", "end"]
    text: str
    """As it means: without quotes."""
    position: int

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these, and not in quotes."""
        return self.kind == "word" and self.text in words

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these."""
        return self.kind == "sign" and self.text in signs


def read_condition(text: str, schema: Schema) -> Condition:
    """The tree of a condition on records of this schema. Raises `ConditionError`, which says where it is wrong and why."""
    if len(text) > _LONGEST:
        raise ConditionError(text, _LONGEST, f"it is longer than {_LONGEST} characters")
    return _Reader(text, schema).whole()


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, schema: Schema) -> None:
        self._text, self._fields = text, schema.fields
        self._tokens = _tokens(text)
        self._place = self._depth = 0

    def whole(self) -> Condition:
        """The condition that the whole text is."""
        found = self._or()
        if self._next.kind != "end":
            self._refuse("expected and, or, or the end")
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += 1
        return token

    def _refuse(self, problem: str, token: _Token | None = None) -> NoReturn:
        raise ConditionError(self._text, (token or self._next).position, problem)

    def _or(self) -> Condition:
        return self._joined("or", self._and, Or)

    def _and(self) -> Condition:
        return self._joined("and", self._not, And)

    def _joined(self, word: str, part: Callable[[], Condition], kind: type[And | Or]) -> Condition:
        parts = [part()]
        while self._next.is_word(word):
            self._take()
            parts.append(part())
        return kind(tuple(parts)) if len(parts) > 1 else parts[0]

    def _not(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"it nests deeper than {_DEEPEST}")
        if self._next.is_word("not"):
            self._take()
            found: Condition = Not(self._not())
        elif self._next.is_sign("("):
            self._take()
            found = self._or()
            self._expect(")")
        else:
            found = self._test()
        self._depth -= 1
        return found

    def _test(self) -> Condition:
        field, word = self._field()
        if self._next.is_word("is"):
            return self._missing(field)
        if self._next.is_word("not", "in"):
            return self._in(field, word)
        if self._next.kind != "sign" or self._next.text not in OPERATORS:
            self._refuse("expected ==, !=, <, <=, > or >=, or in, not in, or is missing")
        sign = self._take()
        operator: Operator = sign.text  # type: ignore[assignment]  # it is one of them
        if operator not in {"==", "!="} and word != "numeric":
            self._refuse(f"{field} is {_kind(word)}, which has only == and !=", sign)
        return Compare(field, operator, self._value(field, word))

    def _field(self) -> tuple[str, FieldWord]:
        token = self._take()
        if token.kind not in {"word", "quoted"} or token.is_word(*KEYWORDS):
            self._refuse("expected a field's name", token)
        word = self._fields.get(token.text)
        if word is None:
            near = get_close_matches(token.text, self._fields, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            self._refuse(f"the schema has no field {token.text}{hint}", token)
        if word in _UNUSABLE:
            self._refuse(f"{token.text} is the feed's {word}, on which there are no conditions", token)
        return token.text, word

    def _missing(self, field: str) -> Condition:
        self._take()
        negated = self._next.is_word("not")
        if negated:
            self._take()
        if not self._next.is_word("missing"):
            self._refuse("expected missing" if negated else "expected missing or not missing")
        self._take()
        return Not(Missing(field)) if negated else Missing(field)

    def _in(self, field: str, word: FieldWord) -> Condition:
        negated = self._take().text == "not"
        if negated and not self._take().is_word("in"):
            self._place -= 1
            self._refuse("expected in")
        self._expect("(")
        values = [self._value(field, word)]
        while self._next.is_sign(","):
            self._take()
            values.append(self._value(field, word))
        self._expect(")")
        found = In(field, tuple(values))
        return Not(found) if negated else found

    def _expect(self, sign: str) -> None:
        if not self._next.is_sign(sign):
            self._refuse(f"expected {sign}")
        self._take()

    def _value(self, field: str, word: FieldWord) -> Value:
        token = self._take()
        if token.is_word("missing"):
            self._refuse(f"expected a value; write {name(field)} is missing, or put quotes around it", token)
        if token.is_word(*KEYWORDS):
            self._refuse(f"expected a value; one that is {token.text} has quotes around it", token)
        if token.kind not in {"word", "quoted"}:
            self._refuse("expected a value", token)
        if word == "numeric":
            return self._number(field, token)
        if word == "boolean":
            if not token.is_word("true", "false"):
                self._refuse(f"{field} is boolean: expected true or false", token)
            return token.text == "true"
        return token.text

    def _number(self, field: str, token: _Token) -> float:
        if token.kind != "word" or not _NUMBER.fullmatch(token.text) or math.isinf(float(token.text)):
            self._refuse(f"{field} is numeric: expected a number", token)
        return float(token.text)


def _kind(word: FieldWord) -> str:
    return "text" if word in {"id", "ignore"} else word


def _tokens(text: str) -> list[_Token]:
    """The last is the end. Raises `ConditionError`."""
    tokens: list[_Token] = []
    position = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(text, position)
        assert match is not None
        kind: Any = match.lastgroup
        found, start, position = match[kind], match.start(kind), match.end()
        if kind == "odd":
            raise ConditionError(text, start, _ODD.get(found, "this begins nothing"))
        if kind == "quoted":
            found = re.sub(r"\\(.)", r"\1", found[1:-1], flags=re.DOTALL)
        tokens.append(_Token(kind, found, start))
    return tokens


_ODD = {
    "=": "equality is written ==",
    "!": "inequality is written !=, and its word is not",
    '"': "a quote is opened and never closed",
    "'": "a quote is opened and never closed",
}
