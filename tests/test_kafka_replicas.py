"""Three brokers with a copy of everything each: one dies in mid-run and comes back."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from kafka_broker import Cluster
from kafka_slots import Server, World
from processes import say

pytestmark = pytest.mark.kafka

SCORERS = 3
PATIENCE = 120  # on a busy machine three brokers are slow
QUICK = {
    "broker.session.timeout.ms": 3000,
    "offsets.topic.num.partitions": 3,
    "transaction.state.log.num.partitions": 3,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Scorers on three brokers."""
    folder = tmp_path_factory.mktemp("replicas")
    servers = [Server() for _ in range(SCORERS)]
    with Cluster(folder, properties=QUICK) as brokers:
        made = World(brokers, servers, folder, 1800)
        for number in range(SCORERS):
            made.slot(f"pod-{number}", rows=20)
        yield made
        made.close()
    for server in servers:
        server.close()


def commits(slot):
    """When the slot's drivers committed alerts, in seconds since 1970."""
    told = [line.split() for line in slot.log.splitlines()]
    return [float(words[0]) for words in told if words[2:] == ["committed"]]


def longest_pauses(world, since):
    """Of each slot the longest time between two of its commits from then on, in seconds."""
    times = [[since, *(at for at in commits(slot) if at > since)] for slot in world.slots]
    return [max(later - before for before, later in pairwise(found)) for found in times]


def test_a_broker_that_dies_and_comes_back_loses_nothing_repeats_nothing_and_halts_nobody_for_thirty_seconds(
    world,
):
    for slot in world.slots:
        slot.start()
    world.wait(lambda: all(map(commits, world.slots)))
    killed = time.time()
    world.broker.brokers[0].kill()
    world.finish(PATIENCE)  # without it
    pauses = longest_pauses(world, killed)
    world.broker.brokers[0].start()
    back = time.time()
    world.write(600)
    world.finish(PATIENCE)
    say(
        f"one of three brokers was away for {back - killed:.1f} s; longest pauses of each scorer in s after its death "
        f"{told(pauses)}, after its return {told(longest_pauses(world, back))}"
    )
    assert max(pauses + longest_pauses(world, back)) < 30


def told(seconds):
    return ", ".join(f"{pause:.1f}" for pause in seconds)
