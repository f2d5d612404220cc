"""Exactly once, with scorers that are killed, frozen and doubled, and a broker that is killed."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from itertools import pairwise

import pytest
from kafka_broker import Broker
from kafka_slots import SESSION_SECONDS, Server, World
from processes import say

pytestmark = pytest.mark.kafka

STEPS = ("ready", "written", "sent", "commit")


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory):
    """One that may be killed, and is quick to see that a broker is back and a transaction too old."""
    properties = {
        "broker.session.timeout.ms": 3000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
    }
    with Broker(tmp_path_factory.mktemp("kafka"), properties=properties) as broker:
        yield broker


@pytest.fixture(scope="module")
def servers():
    made = [Server() for _ in range(3)]
    yield made
    for server in made:
        server.close()


@pytest.fixture
def make_world(own_broker, servers, tmp_path):
    worlds = []

    def make(records):
        worlds.append(World(own_broker, servers, tmp_path, records))
        return worlds[-1]

    yield make
    for made in worlds:
        made.close()


def test_every_alert_is_there_once_after_scorers_were_killed_ten_times_at_each_step_of_a_commit(make_world):
    began, chance = time.monotonic(), random.Random(1)
    world = make_world(20_000)
    slots = [world.slot(f"pod-{number}", rows=25) for number in range(3)]
    kills, steps = Counter(), {}
    while min(kills[step] for step in STEPS) < 10:
        for slot in slots:
            if slot.pid is None:
                under_way = Counter(steps.values())
                steps[slot] = min(STEPS, key=lambda step: kills[step] + under_way[step])
                slot.start(step=steps[slot], after=chance.randint(1, 2))
            elif (code := slot.ended()) is not None:
                step = steps.pop(slot)
                assert (code, slot.log.count("sends itself")) == (-9, slot.started), slot.log[-6000:]
                kills[step] += 1
        time.sleep(0.01)
    done = sum(world.committed().values())
    say(f"killed {dict(kills)} in {time.monotonic() - began:.1f} s, {done:,} records done by then")
    assert done < world.count
    for slot in slots:
        slot.kill()
        slot.start(rows=1000)
    taken_back = world.finish()
    say(f"{taken_back} alerts were taken back, all done after {time.monotonic() - began:.1f} s")
    assert taken_back > 0


def test_at_least_once_loses_no_alert_under_kills_and_what_is_there_twice_has_one_alert_id(make_world):
    world = make_world(2000)
    slots, kills = [world.slot(f"pod-{number}", rows=25, id=None) for number in range(2)], 0
    while kills < 8:
        for slot in slots:
            if slot.pid is None:
                slot.start(step="written", after=2)
            elif (code := slot.ended()) is not None:
                assert code == -signal.SIGKILL, slot.log[-6000:]
                kills += 1
        time.sleep(0.01)
    for slot in slots:
        slot.kill()
        slot.start(rows=1000)
    world.wait_for_end()
    found = [(alert["record"]["n"], alert["alert_id"]) for alert in world.alerts()]
    numbers, ids = map(set, zip(*found, strict=True))
    say(f"{len(found) - len(numbers)} of {len(numbers)} alerts came twice after {kills} kills")
    assert numbers == {*range(0, world.count, 10)}
    assert len(found) > len(numbers) == len(ids) == len({*found})


@pytest.mark.parametrize(("seconds", "fails"), [(SESSION_SECONDS + 2, False), (11, True)])
def test_a_scorer_frozen_before_the_end_of_its_commit_and_woken_works_again_and_every_alert_is_there_once(
    make_world, seconds, fails
):
    world = make_world(600 if seconds < 10 else 1500)
    frozen, other = (world.slot(f"pod-{number}", rows=10) for number in range(2))
    other.start()
    frozen.start(step="sent", after=3, signal=signal.SIGSTOP)
    world.wait(lambda: "sends itself" in frozen.log)
    time.sleep(seconds)
    before = len(frozen.log)
    frozen.wake()
    woken = time.monotonic()
    world.wait(lambda: " committed" in frozen.log[before:], 30)
    say(f"frozen for {seconds} s; worked again {time.monotonic() - woken:.1f} s after")
    told = [line.split(maxsplit=2)[2] for line in frozen.log[before:].splitlines()]
    outcomes = [line.partition(":")[0] for line in told if line.startswith(("aborted: ", "committed"))]
    assert outcomes[0] == ("aborted" if fails else "committed"), frozen.log
    world.finish()


def test_scorers_go_on_committing_while_their_group_waits_for_a_dead_leader(make_world):
    world, lasts = make_world(3000), 3
    client = {"session.timeout.ms": lasts * 1000, "heartbeat.interval.ms": 250}
    leader, other, third = (world.slot(f"pod-{number}", rows=10, client=client) for number in range(3))
    for slot in world.slots:  # the first one leads
        slot.start()
        world.wait(lambda slot=slot: " committed" in slot.log)
    third.kill()
    third.start()  # a rebalance begins, which waits for its dead predecessor
    time.sleep(lasts / 2)  # so that the leader has joined anew
    leader.kill()
    before, heard = len(other.log), len(third.log)
    world.wait(lambda: " committed" in third.log[heard:])
    told = [line.split(maxsplit=2) for line in other.log[before:].splitlines() if line[0].isdigit()]
    commits = [float(at) for at, _, what in told if what == "committed"]
    longest = max(after - at for at, after in pairwise(commits))
    aborts = [what for _, _, what in told if what.startswith("aborted")]
    say(f"{len(commits)} commits, {longest:.1f} s between two at most, {len(aborts)} aborts")
    assert commits[-1] - commits[0] > lasts
    assert longest < lasts / 2
    assert len(aborts) <= 2
    world.finish()


def test_every_alert_is_there_once_after_the_broker_was_killed_and_came_back(make_world, own_broker):
    world = make_world(1500)
    for number in range(3):
        world.slot(f"pod-{number}", rows=10).start()
    world.wait(lambda: all(" committed" in slot.log for slot in world.slots))
    own_broker.kill()
    time.sleep(1)
    own_broker.start()
    back, before = time.monotonic(), [len(slot.log) for slot in world.slots]
    world.wait(
        lambda: any(
            " committed" in slot.log[length:] for slot, length in zip(world.slots, before, strict=True)
        )
    )
    say(f"{time.monotonic() - back:.1f} s after the restart the first has committed again")
    world.finish()


def test_of_two_scorers_under_one_transactional_id_one_ends_and_names_it_and_every_alert_is_there_once(
    make_world,
):
    world = make_world(900)
    slots = [world.slot("the-only-one", rows=20, log=f"pod-{number}") for number in range(2)]
    for slot in slots:
        slot.start()
    codes = []
    deadline = time.monotonic() + 30
    while not codes:
        codes = [code for slot in slots if (code := slot.ended()) is not None]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert codes == [2]
    (told,) = [slot.log.splitlines()[-1] for slot in slots if slot.pid is None]
    assert told == (
        "another process writes under the transactional id the-only-one too: give each scorer its own "
        "(state.transactional_id)"
    )
    world.finish()
