"""Records with one field that does not belong, so that it is known what a reason has to name."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from streamad_connectors.synthetic import generate_lines

from streamad.features.scaling import Scaler
from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_FIELDS
from streamad.records.schema import Schema

DATA = Path(os.environ.get("STREAMAD_DATA", "../shared/data")) / "kddcup99/kddcup.data_10_percent.gz"
SCHEMA = Schema(
    fields=dict.fromkeys(KDD_FIELDS[:-1], "numeric")
    | dict.fromkeys(KDD_CATEGORICAL, "categorical")
    | dict.fromkeys(KDD_BOOLEAN, "boolean")
)
NUMERIC = len(SCHEMA.names("numeric"))
SERVICE = SCHEMA.categories.index("service")

USUAL_Z, MOVED_Z, BROKEN = 2.0, 1.0, 5.0
"""A broken correlation: the value itself is within so many deviations, has moved by so many, and lies so many
residual deviations from what the other numbers foretell."""
FORETOLD = 0.8
"""The explained share of a field's variance, from which on it counts as correlated."""
KNOWN_SERVICE, KNOWN_VALUE = 30, 0.002
"""Records of a service, and the share of a category in all records, from which on a pair never seen is odd."""


class Rows(NamedTuple):
    """Numbers [n, N] and codes [n, C] in schema order."""

    numbers: np.ndarray
    codes: np.ndarray

    def take(self, at):
        return Rows(self.numbers[at], self.codes[at])


class Planted(NamedTuple):
    """Rows, each with one field changed: its index in ``SCHEMA.features``."""

    rows: Rows
    field: np.ndarray
    base: np.ndarray
    """Which of the rows given each is made of."""


def read(name, count, seed):
    """`count` normal records in random order, and the dictionary of their codes."""
    random = np.random.default_rng(seed)
    if name == "kdd":
        lines = [
            line for line in gzip.decompress(DATA.read_bytes()).splitlines() if line.endswith(b",normal.")
        ]
        lines = [lines[i] for i in random.permutation(len(lines))[:count]]
    else:
        lines = generate_lines(seed, 0, 2 * count, anomaly_share=0.0).splitlines()
        lines = [lines[i] for i in random.permutation(len(lines))[:count]]
    table = np.array([line.split(b",")[:-1] for line in lines]).astype(str)
    columns = {field: table[:, i] for i, field in enumerate(KDD_FIELDS[:-1])}
    numbers = np.stack([columns[field].astype(np.float64) for field in SCHEMA.numbers], axis=1)
    values = tuple(("", *np.unique(columns[field]).tolist()) for field in SCHEMA.categories)
    codes = [np.searchsorted(v[1:], columns[f]) + 1 for f, v in zip(SCHEMA.categories, values, strict=True)]
    return Rows(numbers, np.stack(codes, axis=1).astype(np.int32)), values


def far(window, rows, random):
    """One number of each row lies one to ten ranges of its field beyond all of the window's."""
    numbers, at = rows.numbers.copy(), np.arange(len(rows.numbers))
    field = random.integers(NUMERIC, size=len(at))
    high, low = window.numbers.max(axis=0), window.numbers.min(axis=0)
    reach = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    numbers[at, field] = high[field] + random.uniform(1, 10, len(at)) * reach[field]
    return Planted(Rows(numbers, rows.codes), field, at)


def broken(window, rows, random):
    """One number of each row is another record's: usual in itself, but not beside the others."""
    scaler = Scaler.fit(window.numbers, "robust")
    known, here = scaled(scaler, window.numbers), scaled(scaler, rows.numbers)
    numbers, at, fields = rows.numbers.copy(), [], []
    lines = [foretelling(known, field) for field in range(NUMERIC)]
    correlated = [field for field, (_, explained, _) in enumerate(lines) if explained >= FORETOLD]
    for row in range(len(numbers)):
        field = int(random.choice(correlated))
        weights, _, deviation = lines[field]
        others = random.integers(len(known), size=50)
        drawn = known[others, field]
        expected = np.append(np.delete(here[row], field), 1.0) @ weights
        fits = (np.abs(drawn) <= USUAL_Z) & (np.abs(drawn - here[row, field]) >= MOVED_Z)
        fits &= np.abs(drawn - expected) >= BROKEN * deviation
        if fits.any():
            numbers[row, field] = window.numbers[others[np.argmax(fits)], field]
            at.append(row)
            fields.append(field)
    return Planted(Rows(numbers[at], rows.codes[at]), np.array(fields), np.array(at))


def foretelling(known, field):
    """The weights of a linear forecast of one scaled number by the others, what it explains, and its deviation."""
    inputs = np.column_stack([np.delete(known, field, axis=1), np.ones(len(known))])
    penalty = 1e-3 * len(known) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ known[:, field])
    rest = known[:, field] - inputs @ weights
    variance = known[:, field].var()
    return weights, 1 - rest.var() / variance if variance else 0.0, rest.std()


def odd(window, rows, random):
    """One category of each row is known, its service too, but the window never had both."""
    codes, at, fields = rows.codes.copy(), [], []
    for row in range(len(codes)):
        field = int(random.choice([i for i in range(codes.shape[1]) if i != SERVICE]))
        same = window.codes[window.codes[:, SERVICE] == codes[row, SERVICE], field]
        values, counts = np.unique(window.codes[:, field], return_counts=True)
        strange = np.setdiff1d(values[counts >= KNOWN_VALUE * len(window.codes)], same)
        if len(same) >= KNOWN_SERVICE and len(strange):
            codes[row, field] = random.choice(strange)
            at.append(row)
            fields.append(len(SCHEMA.numbers) + field)
    return Planted(Rows(rows.numbers[at], codes[at]), np.array(fields), np.array(at))


KINDS = {"far value": far, "broken correlation": broken, "odd category": odd}


def scaled(scaler, numbers):
    out = np.empty(numbers.shape, np.float32)
    scaler.apply(numbers, out)
    return out


def largest_z(window, rows):
    """[n, fields] how far each number lies from its mean, and how rare each category is, in deviations."""
    scaler = Scaler.fit(window.numbers, "robust")
    unclipped = Scaler(scaler.heavy, scaler.unit, scaler.centre, scaler.factor, 1e9)
    parts = [np.abs(scaled(unclipped, rows.numbers))]
    for field in range(rows.codes.shape[1]):
        share = np.bincount(window.codes[:, field], minlength=rows.codes[:, field].max() + 1) / len(
            window.codes
        )
        p = np.maximum(share[rows.codes[:, field]], 0.5 / len(window.codes))
        parts.append(np.sqrt((1 - p) / p)[:, None])
    return np.concatenate(parts, axis=1)
