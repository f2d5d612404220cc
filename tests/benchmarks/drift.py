"""How often drift is said where there is none, and how soon and of which field where there is: beside three baselines.

    python tests/benchmarks/drift.py [generator|kdd|kdd-in-order] [SEEDS] [TRIALS] [METHOD …]

The streams are the generator's stationary traffic (a million records, its daily cycle, episodes of attacks and of legitimate
oddities) and the normal records of KDDCUP99, in random order or in that of the file, in which they are not stationary. Each
numeric field in turn is then moved by half a robust standard deviation, up or down, from a random record on, at once or over 2,500 records; in
each category field in turn a value goes from 1 to 5 % of the records. Found is a drift that is said within 5,000
records of its beginning (where it is gradual also of its end), right if its field is named. Nothing but
the moved column differs from the quiet run, whose state at that record the method goes on from. The score's p-values are
drawn evenly here: nothing scores.

Methods: ours; always (says a random field after each block); never; z (means of blocks against a reference of 20 blocks,
above 4 standard errors); adwin (River's, on means of 100 of the same bounded figures as ours, in terms of their
first deviations).
One JSON object a method.
"""

from __future__ import annotations

import copy
import gzip
import json
import os
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from river.drift import ADWIN

from streamad.bench.stream.streams import generated
from streamad.learning.drift import Drift, Seen
from streamad.learning.drift_forecast import QUIET, SPAN
from streamad.learning.drift_monitors import Gauges
from streamad.records.batch import ACCEPTED, Block
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_FIELDS
from streamad.records.schema import PayloadFormat, Schema
from streamad.training.options import DriftOptions

DATA = Path(os.environ.get("STREAMAD_DATA", "../shared/data")) / "kddcup99/kddcup.data_10_percent.gz"
RECORDS, START, DECODED = 1_000_000, 150_000, 50_000
WINDOW = 16_384
WITHIN, RAMP = 5000, 2500
PLANTED = "planted"
SCHEMA = Schema(
    fields=dict.fromkeys(KDD_FIELDS[:-1], "numeric")
    | dict.fromkeys(KDD_CATEGORICAL, "categorical")
    | dict.fromkeys(KDD_BOOLEAN, "boolean")
    | {"label": "label"}
)
NUMERIC = len(SCHEMA.names("numeric"))


class Rows:
    """Rows [first, first + n) of a stream, as far as a method looks at a batch."""

    def __init__(self, numbers, codes, first):
        self.numbers, self.codes, self.first = numbers, codes, first
        self.status = np.full(len(numbers), ACCEPTED, np.uint8)

    def __len__(self):
        return len(self.numbers)

    def identities(self, rows):
        return self.first + rows


class Quiet:
    """A stream without a change: numbers [n, N], codes [n, C], one value in a hundred of each category planted."""

    def __init__(self, lines, seed):
        dictionary = Dictionary(SCHEMA.categories)
        decoder = Decoder(SCHEMA, PayloadFormat(format="kdd"), dictionary)
        pieces = [decoder.decode(block(lines[at : at + DECODED]), at) for at in range(0, len(lines), DECODED)]
        self.numbers = np.concatenate([piece.numbers for piece in pieces])
        self.codes = np.concatenate([piece.codes for piece in pieces])
        random = np.random.default_rng((seed, 1))
        self.p_values = random.random(len(lines))
        self.level = random.random(self.codes.shape)  # below 0.01: planted; below 0.05: once it has moved
        self.planted = [
            dictionary.code(field, PLANTED, 0, learn=True) for field in range(self.codes.shape[1])
        ]
        self.values = [dictionary.values(field) for field in range(self.codes.shape[1])]
        self.codes = np.where(self.level < 0.01, self.planted, self.codes).astype(np.int32)

    def window(self, end):
        rows = slice(max(end - WINDOW, 0), end)
        return SimpleNamespace(numbers=self.numbers[rows], codes=self.codes[rows])

    def seen(self, first, count):
        rows = slice(first, first + count)
        return Seen(Rows(self.numbers[rows], self.codes[rows], first), self.p_values[rows], 1)

    def moved(self, first, count, change):
        """As `seen`, with a `Change` in it."""
        batch, p_values, version = self.seen(first, count)
        part = np.clip((np.arange(first, first + count) - change.at) / max(change.over, 1), 0, 1)
        if change.column < NUMERIC:
            batch.numbers = batch.numbers.copy()
            batch.numbers[:, change.column] += part * change.size
        else:
            field = change.column - NUMERIC
            batch.codes = batch.codes.copy()
            taken = self.level[first : first + count, field] < 0.01 + 0.04 * part
            batch.codes[taken, field] = self.planted[field]
        return Seen(batch, p_values, version)


def block(lines):
    ends = np.cumsum([len(line) for line in lines])
    data = np.frombuffer(b"".join(lines), np.uint8)
    return Block({"a": {}}, data, ends - [len(line) for line in lines], ends - 1, np.arange(len(lines)))


class Change:
    """From record `at` on, over so many records: a numeric column by `size`, or a category column's planted share."""

    def __init__(self, column, at, over, size):
        self.column, self.at, self.over, self.size = column, at, over, size
        self.field = (SCHEMA.names("numeric") + SCHEMA.categories)[column]


# ---- methods: take(seen) after each block -> the field that is said to have drifted, or None -------------------


class Ours:
    def __init__(self, options, stream, seed):
        self._drift, self._stream = Drift(options, SCHEMA, seed), stream

    def copy(self):
        twin = copy.copy(self)
        twin._drift = self._drift.copy()
        return twin

    def take(self, seen):
        end = seen.batch.first + len(seen.batch)
        if self._drift.idle and end >= self._drift.rows_to_begin:
            self._drift.begin(self._stream.window(end), self._stream.values, end)
            return None
        before = self._drift.last
        self._drift.take([seen])
        return None if self._drift.last is before else self._drift.last["field"]


class Always:
    def __init__(self, _options, _stream, seed):
        self._random = np.random.default_rng((seed, 2))

    def copy(self):
        return self

    def take(self, _seen):
        return str(self._random.choice(SCHEMA.features))


class Never:
    def __init__(self, *_):
        pass

    def copy(self):
        return self

    def take(self, _seen):
        return None


class Z:
    """Means of plain values and of shares, in standard errors of 20 blocks; anew after it has said so."""

    blocks, errors = 20, 4.0

    def __init__(self, options, stream, _seed):
        self._records, self._stream = options.records // SPAN, stream
        self._means, self._reference = [], None

    def copy(self):
        twin = copy.copy(self)
        twin._means = [*self._means]
        return twin

    def take(self, seen):
        counts = [np.bincount(codes + 1, minlength=99)[:99] / len(codes) for codes in seen.batch.codes.T]
        means = np.concatenate([np.nanmean(seen.batch.numbers, axis=0), *counts])
        if self._reference is None:
            self._means.append(means)
            if len(self._means) == self.blocks:
                self._begin(seen.batch.first + len(seen.batch))
            return None
        mean, error = self._reference
        z = np.abs(means - mean) / error
        if z.max() <= self.errors:
            return None
        self._means, self._reference = [], None
        row, numbers = int(z.argmax()), len(SCHEMA.numbers)
        return SCHEMA.numbers[row] if row < numbers else SCHEMA.categories[(row - numbers) // 99]

    def _begin(self, end):
        mean = np.mean(self._means, axis=0)
        rows = slice(end - self.blocks * self._records, end)
        share = mean[len(SCHEMA.numbers) :]
        deviation = [*np.nanstd(self._stream.numbers[rows], axis=0), *np.sqrt(share * (1 - share))]
        self._reference = mean, np.maximum(deviation, 1e-9) / np.sqrt(self._records)


class Adwin:
    """River's, one for each of our monitors, looking at each mean; 16 deviations of the first means are [0, 1]."""

    records, first, reach = 100, 200, 16.0

    def __init__(self, _options, stream, _seed):
        self._stream, self._gauges, self._means, self._adwins = stream, None, [], []

    def copy(self):
        twin = copy.copy(self)
        twin._adwins, twin._means = copy.deepcopy(self._adwins), [*self._means]
        return twin

    def take(self, seen):
        end = seen.batch.first + len(seen.batch)
        if self._gauges is None:
            if end >= WINDOW:
                self._gauges = Gauges.fit(SCHEMA, self._stream.window(end), self._stream.values)
            return None
        everything = np.ones(len(seen.batch), bool)
        edges = [*range(0, len(seen.batch), self.records), len(seen.batch)]
        parts = self._gauges.sums(seen.batch, seen.p_values, everything, edges)
        means = np.array([self._gauges.means(part) for part in parts])
        if len(self._means) < self.first:
            self._means += [*means]
            self._adwins = [ADWIN(clock=1) for _ in self._gauges.monitors]
            return None
        mean, deviation = np.mean(self._means, axis=0), np.std(self._means, axis=0)
        scaled = np.clip(0.5 + (means - mean) / (self.reach * np.maximum(deviation, 1e-3)), 0, 1)
        for adwin, values in zip(self._adwins, scaled.T.tolist(), strict=True):
            adwin.said = False
            for value in values:
                adwin.update(value)
                adwin.said |= adwin.drift_detected
        drifted = [row for row, adwin in enumerate(self._adwins) if adwin.said]
        return self._gauges.monitors[drifted[0]].field if drifted else None


METHODS = {"ours": Ours, "always": Always, "never": Never, "z": Z, "adwin": Adwin}


# ---- the comparison --------------------------------------------------------------------------------


def changes(stream, trials, random, soonest):
    """(kind, Change) for each field that can move, sudden and gradual, from record `soonest` on."""
    numbers = stream.numbers[:WINDOW, :NUMERIC]
    low, first, third, high = np.nanquantile(numbers, (0.01, 0.25, 0.75, 0.99), axis=0)
    robust = (third - first) / 1.349
    robust = np.where(robust > 0, robust, np.clip(numbers, low, high).std(axis=0))
    columns = [*np.flatnonzero(robust > 0).tolist(), *range(NUMERIC, NUMERIC + len(SCHEMA.categories))]
    for column in columns:
        for kind, over in (("sudden", 0), ("gradual", RAMP)):
            for _ in range(trials):
                at = int(random.integers(soonest, len(stream.numbers) - 3 * WITHIN))
                size = 0.5 * robust[column] * random.choice((-1, 1)) if column < NUMERIC else 0.0
                yield kind, Change(column, at, over, size)


def quiet_run(method, stream, size, wanted):
    """The records after which drift was said, and the method as it was before each wanted block."""
    said, kept = [], {}
    for first in range(0, len(stream.numbers) - size + 1, size):
        if first // size in wanted:
            kept[first // size] = method.copy()
        if method.take(stream.seen(first, size)) is not None:
            said.append(first + size)
    return said, kept


def found(method, stream, size, change):
    """(field, records since the change began) of what is said first; None where nothing is in time."""
    for first in range(change.at // size * size, change.at + change.over + WITHIN, size):
        if first + size > change.at + change.over + WITHIN:
            return None
        field = method.take(stream.moved(first, size, change))
        if field is not None:
            return field, first + size - change.at
    return None


def compare(name, stream, seed, trials, methods):
    """Of each method: false alarms per million records, and of each kind what was found."""
    options = DriftOptions(records=2000) if name.startswith("kdd") else DriftOptions()
    size = options.records // SPAN
    # not while ours still learns, as a daemon does once
    soonest = max(len(stream.numbers) // 5, options.records + QUIET * size)
    planned = list(changes(stream, trials, np.random.default_rng((seed, 3)), soonest))
    for method_name in methods:
        said, kept = quiet_run(
            METHODS[method_name](options, stream, seed),
            stream,
            size,
            {change.at // size for _, change in planned},
        )
        outcomes = [
            (kind, change, found(kept[change.at // size].copy(), stream, size, change))
            for kind, change in planned
        ]
        yield method_name, {"false": len(said) * 1e6 / len(stream.numbers), "at": said, "outcomes": outcomes}


def summary(name, runs):
    """One method over all seeds."""
    told = {"method": name, "false_alarms_per_million": [round(run["false"], 1) for run in runs]}
    told["median_false_alarms"] = round(statistics.median(run["false"] for run in runs), 1)
    for kind, over in (("sudden", 0), ("gradual", RAMP)):
        outcomes = [one for run in runs for one in run["outcomes"] if one[0] == kind]
        hits = [out for _, change, out in outcomes if out and out[0] == change.field]
        told[kind] = {
            "trials": len(outcomes),
            "said_within_5000": share(out and out[1] <= WITHIN for _, _, out in outcomes),
            "right_field_within_5000": share(
                out and out[0] == change.field and out[1] <= WITHIN for _, change, out in outcomes
            ),
            "median_delay": statistics.median(out[1] for out in hits) if hits else None,
            "worst_fields": worst(outcomes),
        }
        if over:
            told[kind]["right_field_within_5000_of_its_end"] = share(
                out and out[0] == change.field for _, change, out in outcomes
            )
    return told


def worst(outcomes):
    """The fields that were named least often."""
    fields = {}
    for _, change, out in outcomes:
        fields.setdefault(change.field, []).append(bool(out) and out[0] == change.field and out[1] <= WITHIN)
    rates = sorted((round(float(np.mean(hits)), 2), field) for field, hits in fields.items())
    return {field: rate for rate, field in rates[:4]}


def share(flags):
    return round(float(np.mean([bool(flag) for flag in flags])), 3)


def read(name, seed):
    if name == "generator":
        return generated(seed, RECORDS, drift=False, start=START)
    lines = gzip.decompress(DATA.read_bytes()).splitlines(keepends=True)
    lines = [line for line in lines if b"normal." in line]
    if name == "kdd":
        np.random.default_rng((seed, 4)).shuffle(lines)
    return lines


def main(name, seeds, trials, methods):
    runs = {}
    for seed in range(1, seeds + 1):
        stream = Quiet(read(name, seed), seed)
        for method, run in compare(name, stream, seed, trials, methods):
            runs.setdefault(method, []).append(run)
            sys.stderr.write(f"seed {seed}: {method} said drift after {run['at'][:8]} ({len(run['at'])})\n")
    for method, many in runs.items():
        sys.stdout.write(json.dumps(summary(method, many)) + "\n")


if __name__ == "__main__":
    given = [*sys.argv[1:], *("generator", "5", "3")[len(sys.argv) - 1 :]]
    main(given[0], int(given[1]), int(given[2]), given[3:] or METHODS)
