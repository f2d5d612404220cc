"""One machine: a feed with its state directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from streamad.config import Config, as_written, load_config, state_path
from streamad.job import (
    Job,
    check_beginning,
    check_inputs,
    check_same_replay,
    check_times,
    identity,
    import_labels,
)
from streamad.learning.labels import LabelBook
from streamad.ports import Outlet, SinkPlugin, Source
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.records.schema import PayloadFormat
from streamad.runtime.breaker import FeedBreaker
from streamad.runtime.clock import Clock
from streamad.runtime.engine import Engine
from streamad.runtime.feed import LearningFeed
from streamad.runtime.heartbeat import Heartbeat
from streamad.runtime.learner import Learner
from streamad.runtime.pace import Pace
from streamad.runtime.reader import Handover, Reader
from streamad.runtime.retraining import Retraining
from streamad.runtime.scores_file import ScoresFile
from streamad.runtime.versions import Versions
from streamad.state.buffer import Buffer
from streamad.state.directory import HeldState, StateDirectory, find_state, hold_state
from streamad.state.inherit import inherit
from streamad.state.outbox import Outbox
from streamad.state.store import News, Store
from streamad.wiring.plugins import find_plugin, open_source, validated

_FLUSH_SECONDS = 1.0


@dataclass(slots=True)
class Live:
    """A feed that is ready to run."""

    engine: Engine
    feed: LearningFeed
    store: Store
    state: StateDirectory
    retraining: Retraining
    scores: ScoresFile | None
    finished: bool
    """A replay that an earlier call of the same command brought to its end."""


@contextmanager
def open_feed(job: Job) -> Iterator[Live]:
    """Lock the state and build the feed; gives everything back at the end, in 2 s at most."""
    config = load_config(job.config, job.overrides)
    check_times(job, config)
    clock = Clock()
    with ExitStack() as stack:
        handover = Handover()
        options, source = open_source(job, config, handover)
        stack.callback(source.close)
        outlets = open_outlets(job, config)
        check_inputs(job, config)
        where = state_path(config, job.config, job.state)
        held = stack.enter_context(
            hold_state(
                where,
                feed=config.feed,
                made_by=job.made_by,
                schema=config.schema_,
                any_schema=job.any_schema or job.fresh,
            )
        )
        store = stack.enter_context(_open_store(job, config, held.state, clock))
        restored = store.restore()
        if not job.fresh:
            check_same_replay(job, config, restored)
        elif restored is not None:
            check_beginning(job, config, options, source, clock)
        import_labels(job, store)
        if job.fresh:  # from here on nothing that is asked for can turn out wrong
            store.start_anew()
            held.state.clear()
            held.state.take_schema()
        if job.origin is not None and store.restore() is None and not store.versions():
            inherit(find_state(job.origin), held.state)
        outboxes = [
            Outbox(name, outlet, lambda: _open_store(job, config, held.state, clock), clock.seconds)
            for name, outlet in outlets
        ]
        stack.callback(_close, outboxes, clock)
        for outbox in outboxes:
            outbox.start()
        live = _build(job, config, options, source, held, store, clock, outboxes)
        handover.reader = live.feed.reader
        yield live


def _build(
    job: Job,
    config: Config,
    options: PayloadFormat,
    source: Source,
    held: HeldState,
    store: Store,
    clock: Clock,
    outboxes: list[Outbox],
) -> Live:
    replay = job.made_by == "replay"
    restored, versions = store.restore(), Versions(store, held.state, config.schema_)
    fields = config.schema_.categories
    dictionary = Dictionary(fields)
    if restored is not None and "dictionary" in restored[1] and not job.any_schema:
        dictionary = Dictionary.from_state(fields, restored[1]["dictionary"])
    decoder = Decoder(config.schema_, options, dictionary)
    decoder.warm_up()
    limits, training = config.limits, config.training
    retraining = Retraining(training, held.state.artifacts, held.state.jobs)
    scores = ScoresFile(held.state.path / "scores.bin") if job.scores else None
    feed = LearningFeed(
        config=config,
        replay=replay,
        seed=job.seed,
        clock=clock,
        source=source,
        reader=Reader(
            source,
            decoder,
            dictionary,
            batch_records=limits.batch_records,
            poll_seconds=limits.poll_ms / 1000,
            depth=limits.read_ahead,
        ),
        breaker=FeedBreaker(limits),
        decoder=decoder,
        dictionary=dictionary,
        buffer=Buffer(
            training.window.records,
            len(config.schema_.numbers),
            len(config.schema_.categories),
            hours=training.window.hours,
        ),
        book=LabelBook(
            config.feed, decoder, config.labels.delay if replay else None, training.window.labeled
        ),
        news=_news(store),
        sink=store,
        retraining=retraining,
        restored=restored,
        log_entries=[(entry.event_id, entry.verdict, entry.record) for entry in store.log_after(0)],
        load_artifact=versions.load,
        initial=versions.newest,
        last_version=versions.last(),
        is_pinned=lambda number: any(one.pinned for one in store.versions() if one.number == number),
        pace=Pace(clock, job.stop, job.rate, job.speed),
        scores_file=scores,
        identity=identity(job, config),
        heartbeat=Heartbeat(store, config.keep, held.state.artifacts, clock, job.on_status),
        committed=lambda: _wake(outboxes),
        on_step=job.on_step,
        reloading=job.reloading,
    )
    finished = replay and restored is not None and bool(restored[1]["engine"]["finished"])
    return Live(Engine(feed, Learner(feed), job.stop), feed, store, held.state, retraining, scores, finished)


# ---- source and sinks ----------------------------------------------------------------------------


def open_outlets(job: Job, config: Config) -> list[tuple[str, Outlet]]:
    """The config's sinks, each with the name under which the store keeps its mark."""
    outlets = []
    for number, tree in enumerate(config.sinks):
        plugin: SinkPlugin = find_plugin(job.config, "streamad.sinks", f"sinks.{number}", tree)
        options = validated(job.config, plugin.options, tree, f"sinks.{number}")
        outlet = plugin.open(options, job.config.absolute().parent)
        outlets.append((json.dumps(as_written(tree), sort_keys=True), outlet))
    return outlets


def _close(outboxes: list[Outbox], clock: Clock) -> None:
    """Let all of them deliver what is left, within one deadline."""
    deadline = clock.seconds() + _FLUSH_SECONDS
    for outbox in outboxes:
        outbox.close(0)
    for outbox in outboxes:
        outbox.close(max(0.0, deadline - clock.seconds()))


def _wake(outboxes: list[Outbox]) -> None:
    for outbox in outboxes:
        outbox.wake()


# ---- state ---------------------------------------------------------------------------------------


def _open_store(job: Job, config: Config, state: StateDirectory, clock: Clock) -> Store:
    return Store(
        state.store,
        feed=config.feed,
        made_by=job.made_by,
        clock=clock.micros,
        pool_rows=config.labels.pool,
        on_step=lambda step: job.on_step(f"store.{step}"),
    )


def _news(store: Store) -> Callable[[], News | None]:
    cursor: tuple[int, int] | None = None

    def news() -> News | None:
        nonlocal cursor
        found = store.news(cursor)
        if found is not None:
            cursor = found.cursor
        return found

    return news
