"""What is called a drift, of which field, and what it must not depend on."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from streamad.learning.drift import Drift, Seen
from streamad.learning.drift_forecast import QUIET
from streamad.records.batch import ACCEPTED, REJECTED
from streamad.records.schema import Schema
from streamad.training.options import DriftOptions

SCHEMA = Schema(
    fields={
        "wave": "numeric",
        "size": "numeric",
        "rare": "numeric",
        "still": "numeric",
        "port": "categorical",
        "flag": "boolean",
    }
)
WAVE, SIZE, RARE, STILL, FLAG = range(5)
VALUES = [["", *(f"v{n}" for n in range(40))]]
OPTIONS = DriftOptions(records=2000)
BLOCK, RECORDS = 500, 60_000
MOVED = 45_000


class Rows:
    """As much of a batch as is looked at."""

    def __init__(self, numbers, codes, first):
        self.numbers, self.codes, self.first = numbers, codes, first
        self.status = np.full(len(numbers), ACCEPTED, np.uint8)

    def __len__(self):
        return len(self.numbers)

    def identities(self, rows):
        return self.first + rows


class Stream:
    """Records with a daily cycle, likeness of neighbours, heavy tails, rare events and bursts; none of it drifts."""

    def __init__(self, seed=0):
        random = np.random.default_rng(seed)
        noise = random.standard_normal(RECORDS)
        for row in range(1, RECORDS):
            noise[row] = 0.5 * noise[row - 1] + 0.87 * noise[row]
        day = 0.6 * np.sin(2 * np.pi * np.arange(RECORDS) / 24_000)
        size = np.exp(1.5 * random.standard_normal(RECORDS))
        rare = np.where(random.random(RECORDS) < 0.03, random.pareto(1.1, RECORDS), 0.0)
        columns = [noise + day, size, rare, np.full(RECORDS, 7.0), random.random(RECORDS) < 0.3]
        self.numbers = np.stack(columns, axis=1).astype(float)
        self.codes = random.zipf(1.6, RECORDS).clip(max=40).astype(np.int32)[:, None]
        for start in range(3000, RECORDS, 5000):
            burst = start + np.flatnonzero(random.random(200) < 0.5)
            self.codes[burst], self.numbers[burst, SIZE] = 30, 500.0
        self.p_values = random.random(RECORDS)
        self.status = np.full(RECORDS, ACCEPTED, np.uint8)
        self.versions = np.ones(RECORDS, int)

    def seen(self, edges):
        for start, stop in itertools.pairwise(edges):
            batch = Rows(self.numbers[start:stop], self.codes[start:stop], start)
            batch.status = self.status[start:stop]
            yield Seen(batch, self.p_values[start:stop], int(self.versions[start]))

    def window(self, end=8000):
        return SimpleNamespace(numbers=self.numbers[:end], codes=self.codes[:end])


def begun(stream, options=OPTIONS):
    drift = Drift(options, SCHEMA, seed=3)
    drift.begin(stream.window(), VALUES, 0)
    return drift


def watched(stream, step=2000, options=OPTIONS):
    """The last alarm, as (field, kind, record), and the drift."""
    drift = begun(stream, options)
    drift.take(stream.seen([*range(0, RECORDS, step), RECORDS]))
    return drift.last and (drift.last["field"], drift.last["kind"], drift.last["record"]), drift


def move_column(column, by):
    def move(stream):
        stream.numbers[MOVED:, column] += by

    return move


def move_value(stream):
    taken = MOVED + np.flatnonzero(np.random.default_rng(1).random(RECORDS - MOVED) < 0.05)
    stream.codes[taken] = 20


def lose(stream):
    stream.numbers[MOVED::4, SIZE] = np.nan


def never_seen(stream):
    stream.codes[MOVED::20] = 45  # a code that came after the start


def awaken(stream):
    stream.numbers[MOVED::3, STILL] = 8.0


def reject(stream):
    stream.status[MOVED::10] = REJECTED


def surprise(stream):
    stream.p_values[MOVED:] **= 3


@pytest.mark.parametrize(
    ("change", "field", "kind"),
    [
        (move_column(WAVE, 1.5), "wave", "level"),
        (move_column(SIZE, -1.5), "size", "level"),
        (move_column(SIZE, 1.5), "size", "level"),
        (move_column(RARE, 0.5), "rare", "level"),
        (move_value, "port", "share"),
        (never_seen, "port", "share"),
        (lose, "size", "missing"),
        (awaken, "still", "level"),
        (reject, "(rejected)", "rejected"),
        (surprise, "(score)", "score"),
    ],
)
def test_a_lasting_change_is_said_with_the_right_field_and_soon(change, field, kind):
    stream = Stream()
    change(stream)
    told, drift = watched(stream)
    assert told[:2] == (field, kind)
    assert MOVED < told[2] <= MOVED + 2500
    assert drift.alarms == {field: 1}


@pytest.mark.parametrize("seed", range(4))
def test_cycles_likeness_heavy_tails_and_bursts_are_no_drift(seed):
    told, drift = watched(Stream(seed))
    assert told is None
    assert drift.alarms == {}


def test_a_gradual_change_is_said_before_long():
    stream = Stream()
    stream.numbers[MOVED:, WAVE] += 1.5 * np.minimum(np.arange(RECORDS - MOVED) / 1250, 1)
    told, _ = watched(stream)
    assert told[0] == "wave"
    assert MOVED < told[2] <= MOVED + 3750


def test_an_alarm_tells_its_numbers_in_the_units_of_the_field():
    stream = Stream()
    stream.numbers[MOVED:, FLAG] = 1.0
    _, drift = watched(stream)
    told = drift.last
    assert (told["field"], told["kind"], told["also"]) == ("flag", "share", [])
    assert told["expected"] == pytest.approx(0.3, abs=0.05)
    assert told["found"] > 0.7
    assert told["strength"] > 1
    assert json.loads(json.dumps(told)) == told


def test_an_alarm_names_what_moved_at_the_same_time():
    stream = Stream()
    stream.numbers[MOVED:, FLAG] = 1.0
    stream.numbers[MOVED:, SIZE] += 2.0
    _, drift = watched(stream)
    assert {drift.last["field"], *drift.last["also"]} == {"flag", "size"}
    assert sum(drift.alarms.values()) == 1


def test_after_an_alarm_it_waits_to_begin_anew_on_what_the_feed_has_become():
    stream = Stream()
    stream.numbers[MOVED:, WAVE] += 3.0
    _, drift = watched(stream)
    assert drift.idle
    more = Stream(1)
    more.numbers[:, WAVE] += 3.0
    drift.begin(more.window(), VALUES, RECORDS)
    for seen in more.seen([*range(0, RECORDS, 2000), RECORDS]):
        seen.batch.first += RECORDS
        drift.take([seen])
    assert drift.alarms == {"wave": 1}


def test_nothing_is_said_before_enough_blocks_were_seen():
    stream = Stream()
    stream.numbers[(QUIET - 8) * BLOCK :, WAVE] += 3.0
    told, _ = watched(stream)
    assert told is None


def test_neither_the_cut_of_batches_nor_restarts_change_anything():
    stream = Stream()
    move_value(stream)
    random = np.random.default_rng(5)
    whole = begun(stream)
    whole.take(stream.seen([0, RECORDS]))
    cut = begun(stream)
    edges = np.unique([0, *random.integers(0, RECORDS, 150), RECORDS]).tolist()
    kept = {}
    for seen in stream.seen(edges):
        after = cut.copy()
        after.take([seen])
        kept |= json.loads(json.dumps(after.state(), default=bytes.hex))
        after.saved()
        cut = Drift(OPTIONS, SCHEMA, seed=3)
        cut.restore(kept | {"drift_learned": bytes.fromhex(kept["drift_learned"])}, VALUES)
    assert cut.last == whole.last
    assert cut.last["field"] == "port"
    assert cut.status() == whole.status()


def test_what_is_taken_by_a_copy_leaves_the_original_as_it_was():
    stream = Stream()
    drift = begun(stream)
    edges = [*range(0, 42_001, 1000)]
    drift.take(stream.seen(edges))
    before = {**drift.state(), **drift.state()}
    move_column(WAVE, 5.0)(stream)
    twin = drift.copy()
    twin.take(stream.seen([*range(42_000, RECORDS + 1, 1000)]))
    assert twin.last is not None
    assert drift.state() == before
    assert not drift.idle


def test_only_the_state_of_closed_blocks_is_written_again():
    stream = Stream()
    drift = begun(stream)
    parts = []
    for seen in stream.seen([0, 100, 200, 600]):
        drift.take([seen])
        parts.append(sorted(drift.state()))
        drift.saved()
    assert parts == [["drift", "drift_gauges", "drift_learned"], ["drift"], ["drift", "drift_learned"]]


def test_codes_of_another_dictionary_mean_the_same_values():
    stream = Stream()
    drift, other = begun(stream), begun(stream)
    other.take(stream.seen([0, 30_000]))
    drift.take(stream.seen([0, 30_000]))
    swapped = ["", *VALUES[0][:0:-1]]
    other.bind([swapped])
    stream.codes[:30_000] = 0
    drift.take(stream.seen([30_000, RECORDS]))
    stream.codes[30_000:] = 41 - stream.codes[30_000:]
    other.take(stream.seen([30_000, RECORDS]))
    assert other.state() == drift.state()


def test_the_scores_of_two_versions_are_not_compared():
    stream = Stream()
    stream.p_values[MOVED:] **= 3
    stream.versions[MOVED:] = 2
    move_value(stream)
    told, drift = watched(stream, step=1000)
    assert told[0] == "port"
    assert drift.alarms == {"port": 1}


def test_many_values_of_a_field_take_no_more_room_than_some():
    stream = Stream()
    stream.codes[:, 0] = np.random.default_rng(0).integers(1, 9001, RECORDS)
    drift = Drift(OPTIONS, SCHEMA, seed=3)
    drift.begin(stream.window(), [["", *(f"v{n}" for n in range(9000))]], 0)
    drift.take(stream.seen([0, RECORDS]))
    assert sum(map(len, drift.state()["drift_gauges"]["values"])) == 62
    assert len(drift.state()["drift_learned"]) < 100_000


def test_numbers_of_any_size_do_no_harm():
    stream = Stream()
    stream.numbers[::7, SIZE] = 1.7e308
    stream.numbers[3::7, SIZE] = -1.7e308
    stream.numbers[:, RARE] = np.nan
    told, drift = watched(stream)
    assert told is None
    assert np.isfinite(np.frombuffer(drift.state()["drift_learned"][16:], np.float32)).all()
