"""Sets the compiled decoder up: schema and columns to the plans that the kernels follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamad.records.batch import Batch
from streamad.records.dictionary import Dictionary
from streamad.records.kernels import Place
from streamad.records.kernels_csv import CsvPlan, read_csv
from streamad.records.kernels_fields import BOOLEAN, CATEGORY, NUMBER, SKIP, TIME, TRUTH, Meaning, Out
from streamad.records.kernels_json import JsonPlan, read_json
from streamad.records.kernels_time import TimePlan
from streamad.records.schema import PayloadFormat, Schema
from streamad.records.spelling import MAX_DEPTH
from streamad.records.values import normal_words
from streamad.records.zones import LocalDay, time_plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLAIN_DELIMITERS = frozenset(",;|\t :/^~#&!")
"""Delimiters that cannot be part of a plain number, and need no escape."""


class FastDecoder:
    """Hands blocks to the kernels of one payload format."""

    def __init__(self, schema: Schema, payload: PayloadFormat, dictionary: Dictionary) -> None:
        self._schema = schema
        self._dictionary = dictionary
        self._json = payload.format in ("ndjson", "parquet")
        self._delimiter = ord("," if payload.format == "kdd" else payload.delimiter)
        plan, self._day = time_plan(schema.time)
        self._meaning = _meaning(schema, plan)
        self._roles = _roles(schema)
        self._plans: dict[tuple[str, ...], CsvPlan | JsonPlan] = {}

    def rows(self, batch: Batch, columns: Sequence[str], unknown: Sequence[str], *, learn: bool) -> FastRows:
        """The compiled reading of one block; `unknown` are fields seen before that the schema lacks."""
        key = tuple(unknown) if self._json else tuple(columns)
        if key not in self._plans:
            # One plan is enough: headers and unknown fields change rarely.
            plan = self._json_plan(key) if self._json else self._csv_plan(key)
            self._plans = {key: plan}
        out = Out(batch.numbers, batch.codes, batch.times, batch.truth, batch.status)
        return FastRows(
            self._plans[key], batch, out, self._meaning, self._day, self._dictionary, tuple(unknown), learn
        )

    def _csv_plan(self, columns: tuple[str, ...]) -> CsvPlan:
        roles = [
            self._roles.get(name, (SKIP, 0)) if columns.index(name) == place else (SKIP, 0)
            for place, name in enumerate(columns)
        ]
        kinds, targets = np.array(roles, np.int64).reshape(-1, 2).T.copy()
        return CsvPlan(kinds, targets, self._delimiter, self._spans())

    def _json_plan(self, unknown: tuple[str, ...]) -> JsonPlan:
        fields = (*self._schema.fields, *unknown)
        tree = _KeyTree(fields)
        roles = [self._roles.get(name, (SKIP, 0)) for name in fields]
        kinds, targets = np.array(roles, np.int64).reshape(-1, 2).T.copy()
        entries = len(tree.keys)
        return JsonPlan(
            keys=np.frombuffer(b"".join(tree.keys), np.uint8),
            bounds=np.cumsum([0, *map(len, tree.keys)], dtype=Place),
            nodes=np.array(tree.nodes, np.int64),
            children=np.array(tree.children, np.int64),
            fields=np.array(tree.fields, np.int64),
            kinds=kinds,
            targets=targets,
            counted=len(self._schema.fields),
            counts=np.zeros(len(fields), np.int64),
            following=np.minimum(np.arange(1, entries + 2), entries - 1) * (np.arange(entries + 1) < entries),
            seen_entries=np.zeros(entries, np.int64),
            seen_fields=np.zeros(len(fields), np.int64),
            stamp=np.zeros(1, np.int64),
            stack=np.zeros(MAX_DEPTH, np.int64),
            spans=self._spans(),
        )

    def _spans(self) -> NDArray[Place]:
        return np.zeros((len(self._schema.categories), 2), Place)


@dataclass(slots=True)
class FastRows:
    """One block on its way through the kernels."""

    plan: CsvPlan | JsonPlan
    batch: Batch
    out: Out
    meaning: Meaning
    day: LocalDay
    dictionary: Dictionary
    names: tuple[str, ...]
    learn: bool

    def read(self, row: int) -> int:
        """Read plain rows from `row` on; returns the first row that it leaves to the general decoder."""
        kernel: Any = read_json if isinstance(self.plan, JsonPlan) else read_csv
        block = self.batch.block
        spans = (_plain(block.data, np.uint8), _plain(block.starts, Place), _plain(block.ends, Place))
        tables = self.dictionary.tables
        return int(
            kernel(*spans, row, self.batch.first, self.learn, self.plan, self.out, self.meaning, tables)
        )

    def skipped(self, row: int) -> None:
        """The general decoder has read this row."""
        self.day.saw(int(self.batch.times[row]))

    def unknown(self) -> Mapping[str, int]:
        """The unknown fields among the rows read since the last call."""
        if not isinstance(self.plan, JsonPlan):
            return {}
        counts = self.plan.counts[self.plan.counted :]
        found = {name: int(count) for name, count in zip(self.names, counts, strict=True) if count}
        counts[:] = 0
        return found


class _KeyTree:
    """The entries of `JsonPlan`: every field as one key, and one nested at each of its dots."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.keys: list[bytes] = []
        self.nodes: list[int] = []
        self.children: list[int] = []
        self.fields: list[int] = []
        self._entries: dict[tuple[int, str], int] = {}
        self._last_node = 0
        for field, name in enumerate(fields):
            parts = name.split(".")
            plain = name.isascii() and name.isprintable() and '"' not in name and "\\" not in name
            if not plain:
                continue
            self.fields[self._entry(0, name)] = field
            if 1 < len(parts) < MAX_DEPTH:
                self.fields[self._nested(parts)] = field

    def _nested(self, parts: Sequence[str]) -> int:
        node = 0
        for part in parts[:-1]:
            entry = self._entry(node, part)
            if self.children[entry] < 0:
                self._last_node += 1
                self.children[entry] = self._last_node
            node = self.children[entry]
        return self._entry(node, parts[-1])

    def _entry(self, node: int, key: str) -> int:
        if (node, key) not in self._entries:
            self._entries[node, key] = len(self.keys)
            self.keys.append(key.encode() + b'"')
            self.nodes.append(node)
            self.children.append(-1)
            self.fields.append(-1)
        return self._entries[node, key]


def readable(schema: Schema, payload: PayloadFormat) -> bool:
    """Whether the kernels read this format at all."""
    by_json = payload.format in ("ndjson", "parquet")
    if by_json and not any(name.isascii() and name.isprintable() for name in schema.fields):
        return False
    return by_json or payload.format == "kdd" or payload.delimiter in PLAIN_DELIMITERS


def _meaning(schema: Schema, plan: TimePlan) -> Meaning:
    words = sorted(word.encode() for word in normal_words(schema.truth))
    return Meaning(
        time=plan,
        normal=np.frombuffer(b"".join(words), np.uint8),
        normal_bounds=np.cumsum([0, *map(len, words)], dtype=np.int64),
    )


def _roles(schema: Schema) -> dict[str, tuple[int, int]]:
    """Field -> (kind, column of its matrix)."""
    roles = {name: (CATEGORY, place) for place, name in enumerate(schema.categories)}
    booleans = set(schema.names("boolean"))
    for place, name in enumerate(schema.numbers):
        roles[name] = (BOOLEAN if name in booleans else NUMBER, place)
    roles |= dict.fromkeys(schema.names("time"), (TIME, 0))
    return roles | dict.fromkeys(schema.names("label"), (TRUTH, 0))


def _plain(values: NDArray[Any], kind: type[np.generic]) -> NDArray[Any]:
    """The same array, contiguous and read-only, so that every caller meets the same compiled kernel."""
    view = np.ascontiguousarray(values).view(kind)
    view.flags.writeable = False
    return view
