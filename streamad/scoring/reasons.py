"""Why a record scores as it does: how much lower it would score if one of its fields were as usual.

What is usual depends on the rest of the record. So each field is compared with the example (`features/usual.py`)
that is nearest in all *other* fields, and takes over its value; the part of the score that this takes away is the
field's share of the reasons. The score is the one that alerts, labels and all, whatever the detector is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from streamad.features.encoder import Encoder
from streamad.features.usual import Usual

PART = 32
"""Rows that are worked out together, padded: the last bits of a product depend on its shape."""
TRIED = 15
"""Fields of a record that are tried, those farthest from usual first: with the record itself they fill a product."""
NEAR = 16
"""Examples that say what is usual for a record."""
COMPARED = 4096
"""Encoded values of all the examples from among which they are chosen, field by field."""
GRAIN = 2
"""Numbers are read to this part of a standard deviation, so that the records of a flood share their reasons."""
ALIKE = 0.95
"""Fields whose numbers are correlated by so much say the same thing."""
LEAST_SHARE = 0.01
"""What adds less is no reason, unless there is no other."""
OUTSIDE = 0.1
"""The share of the nearest examples that lies below what is called usual, and above it."""

MOST_VALUES = 3
"""Categories that are named as usual."""
SMALL_GAP = 0.05
"""A field no farther from its example (squared, in deviations) is as usual, and not tried."""

Surprise = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""The score [n] that alerts, of encoded rows [n, D]."""


Usually = tuple[float | str, ...]
"""The least and the greatest number, or the categories, of the nearest examples; empty where none is known."""


class Reason(NamedTuple):
    """One field, and those that say the same."""

    field: int
    """In ``schema.features``."""
    share: float
    """Of the score, those of the fields alike included."""
    expected: float | str | None
    usual: Usually
    alike: tuple[int, ...]
    """Near duplicates of the field that are out of place as well."""


class _Compared(NamedTuple):
    """n rows and the T examples nearest to each."""

    near: NDArray[np.int64]
    """[n, T]"""
    parts: NDArray[np.float32]
    """[n, T, F] squared distance from each, field by field."""

    def without(self, fields: NDArray[np.int64]) -> NDArray[np.float32]:
        """[n, S, T] the distances when each of some fields [n, S] is left out."""
        own = np.take_along_axis(self.parts, fields[:, np.newaxis], axis=2)  # [n, T, S]
        rest: NDArray[np.float32] = self.parts.sum(axis=2, keepdims=True) - own
        return rest.transpose(0, 2, 1)


class _Tried(NamedTuple):
    """The S fields of n rows that were tried, [n, S] each."""

    fields: NDArray[np.int64]
    example: NDArray[np.int64]
    """What each is compared with."""
    gap: NDArray[np.float32]
    """Squared distance from it, in that field."""


class Explainer:
    """Reasons for encoded rows."""

    def __init__(self, encoder: Encoder, usual: Usual) -> None:
        self._encoder = encoder
        self._table = np.hstack([usual.numbers, usual.codes])  # [R, F]
        self._numbers = usual.numbers.shape[1]
        self.examples = usual.encoded(encoder)
        """[R, D]"""
        self._columns = np.argsort(encoder.column_field, kind="stable")  # those of one field side by side
        self._fields = encoder.column_field
        self._starts = np.searchsorted(self._fields[self._columns], np.arange(self._fields.max() + 1))
        self._sorted = self.examples[:, self._columns]
        turned = torch.from_numpy(self.examples.T)
        self._square, self._turned = turned.square().sum(0), -2 * turned.contiguous()
        numbers = self.examples[:, : self._numbers]
        spread = numbers.std(axis=0)
        self._grain = np.where(spread > 0, spread, 1).astype(np.float32) / GRAIN
        self._alike = _alike(numbers, len(self._starts))

    def explain(
        self, x: NDArray[np.float32], surprise: Surprise, ordinary: NDArray[np.bool_], count: int
    ) -> list[tuple[Reason, ...]]:
        """At most `count` reasons for each of the rows [n, D], the largest share first.

        `ordinary` [R] says which examples may be compared with: those that would not alert themselves.
        """
        coarse = self._coarse(x)
        place: dict[bytes, int] = {}
        where = [place.setdefault(row.tobytes(), len(place)) for row in coarse]
        rows = np.array([np.frombuffer(key, np.float32) for key in place]).reshape(len(place), x.shape[1])
        ordinary = ordinary if ordinary.any() else ~ordinary
        found: list[tuple[Reason, ...]] = []
        for start in range(0, len(rows), PART):
            found += self._explain(rows[start : start + PART], surprise, ordinary, count)
        return [found[i] for i in where]

    def _coarse(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows, their numbers rounded; zero has one sign."""
        out = np.array(x, np.float32)
        numbers = out[:, : self._numbers]
        numbers[...] = np.rint(numbers / self._grain) * self._grain + np.float32(0)
        return out

    def _explain(
        self, x: NDArray[np.float32], surprise: Surprise, ordinary: NDArray[np.bool_], count: int
    ) -> list[tuple[Reason, ...]]:
        """The same for at most `PART` rows."""
        compared = self._compare(x, ordinary)
        tried = self._try(compared)
        shares = _shares(self._lowered(x, tried, surprise), tried.gap)
        return self._reasons(compared, tried, shares, count)

    def _compare(self, x: NDArray[np.float32], ordinary: NDArray[np.bool_]) -> _Compared:
        """Find each row's nearest examples."""
        rows = torch.zeros((PART, x.shape[1]))
        rows[: len(x)] = torch.from_numpy(x)
        distance = torch.addmm(self._square, rows, self._turned)  # [PART, R], but for the row's own square
        allowed = distance[: len(x)].add_(torch.from_numpy(np.where(ordinary, 0, np.inf).astype(np.float32)))
        count = min(max(NEAR, COMPARED // x.shape[1]), int(ordinary.sum()))
        near = allowed.topk(count, largest=False).indices.numpy()  # [n, T]
        apart = np.square(self._sorted[near] - x[:, np.newaxis, self._columns])  # [n, T, D]
        return _Compared(near, np.add.reduceat(apart, self._starts, axis=2))

    def _try(self, compared: _Compared) -> _Tried:
        """Compare each field with the example nearest in all others, and choose those that are farthest off."""
        parts = compared.parts
        best = (parts.sum(axis=2, keepdims=True) - parts).argmin(axis=1)  # [n, F]
        gap = np.take_along_axis(parts, best[:, np.newaxis], axis=1)[:, 0]
        fields = np.argsort(-gap, axis=1, kind="stable")[:, :TRIED]
        example = np.take_along_axis(compared.near, np.take_along_axis(best, fields, axis=1), axis=1)
        return _Tried(fields, example, np.take_along_axis(gap, fields, axis=1))

    def _lowered(self, x: NDArray[np.float32], tried: _Tried, surprise: Surprise) -> NDArray[np.float64]:
        """[n, S] by how much each row's score falls when one field takes over its example's value."""
        row, place = np.nonzero(tried.gap > SMALL_GAP)
        taken = self._fields == tried.fields[row, place][:, np.newaxis]  # [m, D]
        changed = np.where(taken, self.examples[tried.example[row, place]], x[row])
        scores = surprise(np.concatenate([x, changed]))
        lowered = np.zeros(tried.gap.shape)
        lowered[row, place] = scores[row] - scores[len(x) :]
        return lowered

    def _reasons(
        self, compared: _Compared, tried: _Tried, shares: NDArray[np.float64], count: int
    ) -> list[tuple[Reason, ...]]:
        """The reasons of n rows by their shares [n, S]: fields alike join the one that matters most."""
        group = self._alike[tried.fields]  # [n, S]
        total = np.zeros((len(group), len(self._alike)))
        np.add.at(total, (np.arange(len(group))[:, np.newaxis], group), shares)
        ranked = np.argsort(-total, axis=1, kind="stable")[:, :count]  # [n, count]
        same = group[:, np.newaxis] == ranked[..., np.newaxis]  # [n, count, S]
        parts = np.where(same, shares[:, np.newaxis], -1)
        first = parts.argmax(axis=2)  # [n, count]
        also = parts >= LEAST_SHARE
        np.put_along_axis(also, first[..., np.newaxis], values=False, axis=2)
        fields = np.take_along_axis(tried.fields, first, axis=1)
        rows = zip(
            fields.tolist(),
            np.take_along_axis(total, ranked, axis=1).tolist(),
            self._table[np.take_along_axis(tried.example, first, axis=1), fields].tolist(),
            self._ranges(compared, fields),
            [[tried.fields[row][more].tolist() for more in mores] for row, mores in enumerate(also)],
            strict=True,
        )
        return [
            tuple(
                Reason(field, share, self._value(field, wanted), around, tuple(more))
                for field, share, wanted, around, more in zip(*row, strict=True)
                if share >= LEAST_SHARE or share == row[1][0]
            )
            for row in rows
        ]

    def _value(self, field: int, entry: float) -> float | str | None:
        """What an entry of the table stands for; None for a missing value and a rare category."""
        if field < self._numbers:
            return None if math.isnan(entry) else entry
        return self._encoder.categories[field - self._numbers][int(entry) - 1] if entry > 0 else None

    def _ranges(self, compared: _Compared, fields: NDArray[np.int64]) -> list[list[Usually]]:
        """What the examples nearest without each of some fields [n, count] have there, but for the few at the ends."""
        best = np.argsort(compared.without(fields), axis=2, kind="stable")[..., :NEAR]
        near = np.take_along_axis(compared.near[:, np.newaxis], best, axis=2)  # [n, count, NEAR]
        entries = np.sort(self._table[near, fields[..., np.newaxis]], axis=2)  # NaN comes last
        known = entries.shape[2] - np.isnan(entries).sum(axis=2, keepdims=True)
        few = np.clip((known - 1) // 2, 0, int(OUTSIDE * entries.shape[2]))
        ends = np.take_along_axis(
            entries, np.concatenate([few, np.maximum(known - 1 - few, 0)], axis=2), axis=2
        )
        return [
            [
                self._common(field, entries[row, place].tolist())
                if field >= self._numbers
                else ()
                if math.isnan(between[0])
                else tuple(between)
                for place, (field, between) in enumerate(zip(*here, strict=True))
            ]
            for row, here in enumerate(zip(fields.tolist(), ends.tolist(), strict=True))
        ]

    def _common(self, field: int, entries: list[float]) -> Usually:
        """The most frequent categories among the entries of one field."""
        ranked = Counter(entries).most_common(MOST_VALUES)
        values = (self._value(field, code) for code, count in ranked if count > OUTSIDE * len(entries))
        return tuple(value for value in values if value is not None)


def _shares(lowered: NDArray[np.float64], gap: NDArray[np.float32]) -> NDArray[np.float64]:
    """[n, S] in proportion to what lowers the score; to the gaps where nothing does, and evenly where there is none."""
    parts = np.maximum(lowered, 0)
    for other in (gap.astype(np.float64), np.ones_like(parts)):
        parts = np.where(parts.sum(axis=1, keepdims=True) > 0, parts, other)
    shares: NDArray[np.float64] = parts / parts.sum(axis=1, keepdims=True)
    return shares


def _alike(x: NDArray[np.float32], fields: int) -> NDArray[np.int64]:
    """[fields] for each the first field that it is a near duplicate of, itself where it is of none; x [R, N]."""
    first = np.arange(fields)
    scaled = x - x.mean(axis=0)
    scaled /= np.maximum(np.linalg.norm(scaled, axis=0), np.finfo(np.float32).tiny)
    related = np.abs(scaled.T @ scaled) >= ALIKE
    for field in range(x.shape[1]):
        leaders = np.flatnonzero(related[field, :field] & (first[:field] == np.arange(field)))
        if len(leaders):
            first[field] = leaders[0]
    return first
