"""What is done to a cluster while records come in: kills, a restart of its broker, a freeze."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
from kafka_chaos_judge import FROZEN, KILLED, RESTARTED, Incident, delays_of, judge_delays, longest_around
from kafka_topics import committed, end_offsets
from processes import say

LATE, WOKEN = 20.0, 30.0
"""The bars, in seconds: an alert's delay around a kill, and a woken scorer's first commit. Both are for the first run:
the second says every record, many times what is usual."""
_PATIENCE = 240.0
"""Seconds until a kill that does not come about is given up."""


class Disturbance:
    """What is done to scorers and broker while records come in, evenly over the time."""

    def __init__(self, setting, scorers, kills):
        self._setting, self._scorers, self._kills = setting, scorers, kills
        self._landed = []  # (step, incident)
        self._others = []
        self._woken = None
        self._mishaps, self._done = False, 0

    def run(self, frozen):
        """Kill; with seconds to be `frozen`, restart the broker after a third and freeze after two thirds of it."""
        self._mishaps = frozen is not None
        for number in range(self._kills):
            if self._mishaps and number == self._kills // 3:
                self._restart()
            if self._mishaps and number == 2 * self._kills // 3:
                self._freeze(frozen)
            self._scorers.rest(
                self._setting.seconds / (self._kills + 1) * self._setting.rng.uniform(0.6, 1.1)
            )
            self._scorers.wait(self._kill, _PATIENCE)
            self._done = number + 1
        self._done = self._kills + 1

    def ahead(self, number):
        """Whether a record's turn comes only after kills that are still to come."""
        return number * (self._kills + 1) > len(self._setting.lines) * (self._done + 1)

    def _behind(self):
        setting = self._setting
        return lag(setting.broker, setting.feed.topic, setting.folder.name)

    def _kill(self):
        """Whether one landed that counts."""
        landed = self._scorers.kill()
        now, behind = time.time(), self._behind()
        if landed is None or not behind:
            return False
        name, step = landed
        self._landed.append((step, Incident(KILLED, now, now)))
        say(f"kill {len(self._landed)}: {name}, {step}, {behind:,} records behind")
        return True

    def _restart(self):
        self._scorers.rest(LATE)  # what the last kill delays is not to be taken for the restart's doing
        began = time.time()
        self._setting.broker.kill()
        time.sleep(1)
        self._setting.broker.start()
        self._others.append(Incident(RESTARTED, began, time.time()))
        say(f"broker killed and back after {time.time() - began:.1f} s")

    def _freeze(self, seconds):
        name, at, self._woken = self._scorers.freeze(seconds)
        self._others.append(Incident(FROZEN, at, at + seconds))
        say(f"{name} frozen for {seconds:g} s, its next commit {self._woken} s after it was woken")

    def tell(self, outcome, seen, written):
        """Put it into the table."""
        feed, kills = self._setting.feed, [incident for _, incident in self._landed]
        steps = Counter(step for step, _ in self._landed)
        where = ", ".join(f"{step} {count}" for step, count in sorted(steps.items()))
        outcome.tell("kills with lag and an open transaction", len(kills), len(kills) >= self._kills)
        outcome.tell("  where in the commit", where)
        exits = self._scorers.exits
        outcome.tell("scorers that ended of their own", len(exits), not exits)
        outcome.tell("  starts without a broker, ended with 3", self._scorers.waits)
        for exit_ in exits:
            say(f"{exit_.name} ended with {exit_.code}: {exit_.last_words}")
        if starts := self._scorers.starts:
            outcome.tell("  back at work, seconds", f"median {np.median(starts):.1f} max {max(starts):.1f}")
        for moments, until in ((written, "it was written"), (seen, "it was visible")):
            delays = delays_of(feed, moments)
            waits = ", ".join(f"{longest_around(kill, delays):.1f}" for kill in kills)
            say(f"around each kill, the longest wait for an alert until {until}, seconds: {waits}")
        judge_delays(outcome, kills + self._others, feed, seen, LATE if self._mishaps else None)
        if self._mishaps:
            woken = "never" if self._woken is None else f"{self._woken:.1f}"
            kept = self._woken is not None and self._woken <= WOKEN
            outcome.tell("a woken scorer's first commit, seconds", woken, kept)


def lag(broker, topic, group):
    """Records that the group has not committed, those of open transactions among them."""
    ends, found = end_offsets(broker, topic), committed(broker, group, topic, "read_uncommitted")
    return max(0, sum(ends.values()) - sum(found.get(number, 0) for number in ends))
