"""Records held back until there is a model: what a trainer of a cluster, and one machine, make of bad ones."""

from __future__ import annotations

import pytest
from feeds import write_config
from records_help import JSON, block, decoder
from structlog.testing import capture_logs

from streamad.config import load_config
from streamad.errors import BrokenFeedError, InputError
from streamad.records.schema import Schema
from streamad.runtime.warm_up import WarmUp

GOOD, BAD, VOID = b'{"n":1}', b"junk", b"{}"
DECODER = decoder(JSON, Schema(fields={"n": "numeric"}))


class Hand:
    """A clock that goes when it is told to."""

    now = 0.0

    def seconds(self):
        return self.now


@pytest.fixture
def clock():
    return Hand()


@pytest.fixture
def make(tmp_path, clock):
    def made(**how):
        config = load_config(
            write_config(
                tmp_path,
                training={"warm_up": {"records": 50, "seconds": 10}, "window": {"records": 200}},
                limits={"rejected_window": 100},
            )
        )
        return WarmUp(config, clock, replay=False, **how)

    return made


@pytest.fixture
def held():
    """Makes batches whose records are numbered on."""
    next_ = [0]

    def batch(*rows):
        first = next_[0]
        next_[0] += len(rows)
        return DECODER.decode(block(list(rows)), first)

    return batch


def test_a_trainer_waits_for_good_records_holds_a_window_meanwhile_and_says_so_once(make, held, clock):
    warm_up = make(patient=True)
    with capture_logs() as logs:
        gone = [batch for _ in range(9) for batch in warm_up.hold(held(*[BAD] * 40))]
    clock.now = 99.0
    assert [(batch.first, len(batch)) for batch in gone] == [(0, 40), (40, 40), (80, 40), (120, 40)]
    assert (len(warm_up), warm_up.is_over()) == (200, False)
    said = "{} of the last {} records are no good, and the first model waits for others; the last, f:40: invalid_json"
    assert warm_up.complaint == said.format(240, 240)
    assert logs == [{"event": "waits_for_good_records", "log_level": "warning", "why": said.format(80, 80)}]
    gone = warm_up.hold(held(*[GOOD] * 30))
    assert [batch.first for batch in gone] == [160]
    clock.now = 108.0
    assert not warm_up.is_over()
    warm_up.hold(held(*[GOOD] * 30))
    assert (warm_up.is_over(), warm_up.complaint) == (True, said.format(160, 220))
    assert [batch.first for batch in warm_up.release()] == [240, 280, 320, 360, 390]
    assert (len(warm_up), warm_up.complaint) == (0, "")


def test_the_seconds_of_a_wait_count_from_the_first_good_record(make, held, clock):
    warm_up = make(patient=True)
    warm_up.hold(held(BAD, BAD))
    clock.now = 50.0
    warm_up.hold(held(GOOD, BAD))
    clock.now = 59.0
    assert not warm_up.is_over()
    clock.now = 60.0
    assert warm_up.is_over()


def test_a_trainer_learns_from_no_records_without_any_value(make, held):
    warm_up = make(patient=True)
    warm_up.hold(held(*[VOID] * 120))
    assert not warm_up.is_over()
    assert warm_up.complaint == (
        "120 of the last 120 records are no good, and the first model waits for others; the last, f:120: no value in "
        "any field of the schema"
    )


def test_one_machine_gives_up_where_most_is_rejected(make, held):
    one, other = make(), make()
    one.hold(held(*[GOOD] * 30))
    with pytest.raises(
        BrokenFeedError, match=r"^120 of the first 150 records were rejected; the first, f:1: inval"
    ):
        one.hold(held(*[BAD] * 120))
    with pytest.raises(
        InputError, match=r"^none of the first 120 records fits the schema; the first, f:1: inval"
    ):
        other.hold(held(*[BAD] * 120))


def test_a_scorer_holds_all_of_it_whatever_it_is(make, held):
    warm_up = make(fits=False, patient=True)
    assert [batch for _ in range(9) for batch in warm_up.hold(held(*[BAD] * 40))] == []
    assert len(warm_up) == 360
