"""From the open transaction to a commit, and what the commit then changes."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamad.ports import Commit
from streamad.records.batch import Batch, Cursor
from streamad.runtime.counters import Counters, Quality
from streamad.runtime.transaction import Transaction
from streamad.runtime.window import Piece, Start, Window, mark_of
from streamad.scoring.bursts import Bursts, rule_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Future

    from streamad.runtime.feed import Feed
    from streamad.runtime.in_force import InForce

_REJECTED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class _After:
    """What is true once a transaction is committed."""

    positions: dict[str, Cursor]
    records: int
    counters: Counters
    quality: Quality
    window: Window
    bursts: Bursts | None
    finished: bool


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A commit that the sink was given."""

    transaction: Transaction
    after: _After
    moved: AbstractSet[str]
    met: int
    """Records that labels waited for, which go with it."""
    written: Future[tuple[float, float]]


class Committer:
    """Owns what is true as of the last commit: positions, counters, the start of the window."""

    def __init__(self, feed: Feed, learner: InForce) -> None:
        self._feed, self._in_force = feed, learner
        self.open = Transaction()
        self.positions: dict[str, Cursor] = {}
        self._elsewhere: set[str] = set()
        self.records = 0
        self.counters, self.quality = Counters(), Quality()
        self.finished = False
        self.met: list[dict[str, Any]] = []
        self._window = Window(feed.config.training.window.records, learner.reference_rows)
        self._bursts: Bursts | None = None
        self._under_way: _UnderWay | None = None

    def commit(self, *, finished: bool = False) -> None:
        """Commit the open transaction, in this order (the store numbers its own steps 3.1 to 3.8).

        1. Close the transaction: where each partition goes on, what is counted, which alerts repeat others.
        2. Write the scores of a replay that was asked for them, and sync.
        3. Hand alerts, rejected, pool, labels, positions and checkpoint to the sink, all or nothing.
        4. Apply what the records changed: counters, bursts, window, reference, budget, drift.
        5. Wake the outlets.
        6. Begin a training, if one is due.

        A kill before 3 ends leaves the commit before; after it, this one. From 4 on it is `settle`, which must come
        before the next one: 3 may go on in the background (`Feed.committing`).
        """
        step = self._feed.on_step
        step("commit.1")
        transaction = self.open
        moved = transaction.positions()
        positions = self.positions | moved
        bursts = self._marked(transaction)
        counters = self._counted(transaction)
        quality = self.quality.copy()
        for scored in transaction.batches:
            quality.add(scored.scores.p_value, scored.batch.truth, scored.threshold)
        step("commit.2")
        if self._feed.scores_file is not None:
            self._feed.scores_file.append(self.records, transaction.batches)
        step("commit.3")
        after = _After(
            positions,
            self.records + transaction.records,
            counters,
            quality,
            self._window_after(transaction),
            bursts,
            finished,
        )
        written = self._feed.committing.submit(self._write, self._described(transaction, moved.keys(), after))
        self._under_way = _UnderWay(transaction, after, moved.keys(), len(self.met), written)
        self.open = Transaction()

    @property
    def told(self) -> bool:
        """Whether it is known what became of the commit under way."""
        return self._under_way is not None and self._under_way.written.done()

    def settle(self) -> tuple[float, float] | None:
        """Wait for the commit under way, and do what follows it: steps 4 to 6 of `commit`.

        Returns when the sink began with it and ended, in the clock's seconds; None if there is none. Raises
        `CommitAbortedError` and `StoreError`, both with nothing applied; `BrokenFeedError` after 6.
        """
        if self._under_way is None:
            return None
        took = self._under_way.written.result()
        under_way, self._under_way = self._under_way, None
        transaction, after, step = under_way.transaction, under_way.after, self._feed.on_step
        step("commit.4")
        self._elsewhere -= under_way.moved
        self.positions, self.records, self.finished = after.positions, after.records, after.finished
        self.counters, self.quality = after.counters, after.quality
        self._window, self._bursts = after.window, after.bursts
        del self.met[: under_way.met]
        self._in_force.absorb(transaction.batches)
        step("commit.5")
        self._feed.committed()
        step("commit.6")
        if not after.finished:
            self._in_force.begin_training_if_due(after.records)
        self._feed.breaker.committed(transaction)
        return took

    @property
    def in_flight(self) -> int:
        """Records that are scored, and not known to be committed."""
        under_way = self._under_way  # which another thread may ask for
        return self.open.records + (under_way.transaction.records if under_way else 0)

    def drop(self) -> None:
        """Forget what is not committed; labels that were applied stay applied and go with the next commit."""
        self.open, self._under_way = Transaction(), None

    def skip(self, batches: Sequence[Batch]) -> None:
        """Pass over the next batches: they are counted by number, what is rejected of them as rejected, and forgotten."""
        for batch in batches:
            self.records += len(batch)
            self.counters.records_in += len(batch.rejections)
            self.counters.rejected += len(batch.rejections)

    def let_go(self, partitions: Sequence[str]) -> None:
        """These partitions are somebody else's; should they come back, the source knows where they stand."""
        self._elsewhere.update(partitions)

    @property
    def own_positions(self) -> dict[str, Cursor]:
        """Where the partitions that are read here go on."""
        return {name: cursor for name, cursor in self.positions.items() if name not in self._elsewhere}

    def restore(self, positions: Mapping[str, Cursor], checkpoint: Mapping[str, Any]) -> Start:
        """Take over a checkpoint; returns where the window is read again from."""
        state = checkpoint["engine"]
        self._bursts = self._new_bursts()
        if self._bursts is not None and "bursts" in checkpoint:
            self._bursts.restore(checkpoint["bursts"])
        self.positions, self.records = dict(positions), state["records"]
        self.counters = Counters(**state["counters"])
        self.quality = Quality.from_state(state["quality"])
        self.finished = state["finished"]
        self._feed.breaker.restore(state["outcomes"])
        return Start(*state["window"])

    def remember(self, batch: Batch, before: dict[str, Cursor]) -> None:
        """Note a re-read batch of the window and where it was read from."""
        self._window.add(self._piece(batch, before))

    def _write(self, commit: Commit) -> tuple[float, float]:
        """Step 3 of `commit`, on the thread that commits."""
        began = self._feed.clock.seconds()
        self._feed.sink.commit(commit)
        return began, self._feed.clock.seconds()

    def _described(self, transaction: Transaction, moved: Collection[str], after: _After) -> Commit:
        """What the sink is given."""
        engine = {
            "records": after.records,
            "counters": after.counters.state(),
            "quality": after.quality.state(),
            "window": list(after.window.start() or Start(after.records, after.positions, "")),
            "outcomes": self._feed.breaker.state_after(transaction),
            "finished": after.finished,
            "identity": dict(self._feed.identity),
        }
        bursts = {"bursts": after.bursts.state()} if after.bursts and transaction.alerts else {}
        return Commit(
            after.positions,
            after.records,
            transaction.alerts,
            transaction.rejected,
            transaction.pool,
            checkpoint={
                "engine": engine,
                **bursts,
                **self._in_force.checkpoint(after.records, transaction.batches),
            },
            alert_numbers=transaction.alert_numbers,
            attached=[*self.met],
            applied=self._in_force.applied,
            versions=self._in_force.versions,
            moved=moved,
            handled=self._in_force.handled,
        )

    def _marked(self, transaction: Transaction) -> Bursts | None:
        """Say of alerts which are muted and which they repeat; returns the bursts after them, if there are to be any."""
        self._in_force.mutes.mark(transaction.alerts)
        bursts = self._new_bursts()
        if bursts is not None:
            if self._bursts is not None and self._bursts.rule == bursts.rule:
                bursts = self._bursts.copy()
            bursts.mark(transaction.alerts, transaction.alert_numbers)
        return bursts

    def _new_bursts(self) -> Bursts | None:
        config = self._feed.config
        rule = rule_of(config.alerts.burst, config.schema_, replay=self._feed.replay)
        return None if rule is None else Bursts(rule)

    def _counted(self, transaction: Transaction) -> Counters:
        counters = self.counters.copy()
        counters.records_in += transaction.records
        counters.rejected += transaction.rejections()
        counters.scored = counters.records_in - counters.rejected
        counters.alerts += len(transaction.alerts)
        counters.muted += sum("muted" in alert for alert in transaction.alerts)
        for scored in transaction.batches:
            counters.fast += scored.batch.fast_rows
            for name, count in scored.batch.unknown_fields.items():
                counters.unknown_fields[name] = counters.unknown_fields.get(name, 0) + count
        return counters

    def _window_after(self, transaction: Transaction) -> Window:
        window = self._window.copy()
        before = dict(self.positions)
        for scored in transaction.batches:
            if len(scored.batch):
                window.add(self._piece(scored.batch, dict(before)))
            before |= scored.batch.block.cursors
        return window

    def _piece(self, batch: Batch, before: dict[str, Cursor]) -> Piece:
        rows = len(batch) - len(batch.rejections)
        start = Start(batch.first, before, mark_of(batch.block))
        return Piece(start, rows, len(self._in_force.rows_to_compare(batch)))


def rejected_rows(batch: Batch, now: str) -> list[dict[str, Any]]:
    """The rejected rows of a batch in CONTRACTS.md's format."""
    rows = []
    for row, rejection in sorted(batch.rejections.items()):
        payload = batch.block.payload(row)
        rows.append(
            {
                "position": batch.block.position(row),
                "reason": rejection.reason,
                "field": rejection.field,
                "detail": rejection.detail,
                "bytes_base64": base64.b64encode(payload[:_REJECTED_BYTES]).decode(),
                "length": batch.block.lengths.get(row, len(payload)),
                "sha256": hashlib.sha256(payload).hexdigest(),
                "rejected_at": now,
            }
        )
    return rows
