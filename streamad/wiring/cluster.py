"""A cluster: processes whose state lives elsewhere, in what they publish to each other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamad.config import Config, load_config
from streamad.errors import ConfigError, UserError
from streamad.job import Job, check_inputs
from streamad.learning.labels import LabelBook
from streamad.ports import ClusterContext, ClusterPlugin, SharedSource, Sink, Source
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.runtime.breaker import Breaker, FeedBreaker, PartitionBreaker
from streamad.runtime.clock import Clock
from streamad.runtime.engine import Engine
from streamad.runtime.feed import Feed
from streamad.runtime.follower import Follower
from streamad.runtime.heartbeat import ShownPulse
from streamad.runtime.pace import Pace
from streamad.runtime.published import Published
from streamad.runtime.reader import Handover, Reader
from streamad.wiring.plugins import find_plugin, source_context, source_options, validated


@dataclass(frozen=True, slots=True)
class Member:
    """A config, ready to be opened as one process of a cluster."""

    job: Job
    config: Config
    plugin: ClusterPlugin
    state: Any
    source: Any
    context: ClusterContext
    handover: Handover

    @contextmanager
    def scorer(self) -> Iterator[Engine]:
        """One of the scorers."""
        with ExitStack() as stack:
            folder = stack.enter_context(scratch())
            source, sink, updates = self.plugin.open_scorer(self.state, self.source, self.context)
            stack.callback(source.close)
            stack.callback(sink.close)
            stack.callback(updates.close)
            sink.restore()
            committing = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="commit"))
            feed = Feed(**self.parts(source, sink, self._breaker(source)), committing=committing)
            published = Published(updates, folder, self.config.feed, self.config.schema_)
            yield Engine(feed, Follower(feed, published), self.job.stop)

    def _breaker(self, source: Source) -> Breaker:
        limits = self.config.limits
        return PartitionBreaker(limits, source) if isinstance(source, SharedSource) else FeedBreaker(limits)

    def parts(self, source: Source, sink: Sink, breaker: Breaker) -> dict[str, Any]:
        """What the engine of either works with."""
        job, config, clock = self.job, self.config, Clock()
        dictionary = Dictionary(config.schema_.categories)
        decoder = Decoder(config.schema_, self.source, dictionary)
        decoder.warm_up()
        reader = self.handover.reader = Reader(
            source,
            decoder,
            dictionary,
            batch_records=config.limits.batch_records,
            poll_seconds=config.limits.poll_ms / 1000,
            depth=config.limits.read_ahead,
        )
        return {
            "config": config,
            "replay": False,
            "seed": job.seed,
            "clock": clock,
            "source": source,
            "reader": reader,
            "breaker": breaker,
            "decoder": decoder,
            "dictionary": dictionary,
            "book": LabelBook(config.feed, decoder, None, config.training.window.labeled),
            "sink": sink,
            "restored": None,
            "identity": {},
            "pace": Pace(clock, job.stop, None, None),
            "scores_file": None,
            "heartbeat": ShownPulse(job.on_status),
            "committed": lambda: None,
            "on_step": job.on_step,
            "reloading": job.reloading,
        }


def member(job: Job) -> Member:
    """The config of one process of a cluster, checked. Raises `UserError`."""
    config = load_config(job.config, job.overrides)
    if not isinstance(config.state, dict):
        raise ConfigError(
            str(job.config),
            "state",
            "found a directory",
            "type: kafka, since this is one process of a cluster",
        )
    if config.sinks:
        raise ConfigError(
            str(job.config), "sinks", f"found {len(config.sinks)}", "none, since alerts go where the state is"
        )
    if job.state is not None or job.origin is not None:
        raise UserError(
            f"{job.config}: the feed's state is not a directory, so --state and --from mean nothing"
        )
    check_inputs(job, config)
    plugin: ClusterPlugin = find_plugin(job.config, "streamad.states", "state", config.state)
    source_plugin, source = source_options(job, config)
    handover = Handover()
    reading = source_context(job, config, handover)
    context = ClusterContext(
        feed=config.feed,
        source=reading,
        open_source=lambda: source_plugin.open(source, reading),
        window_records=config.training.window.records,
        keep_versions=config.keep.versions,
        pinned_versions=config.keep.pinned,
        on_step=lambda step: job.on_step(f"sink.{step}"),
    )
    state = validated(job.config, plugin.options, config.state, "state")
    return Member(job, config, plugin, state, source, context, handover)


@contextmanager
def scratch() -> Iterator[Path]:
    """A private folder for as long as the process runs: nothing in it matters afterwards."""
    with tempfile.TemporaryDirectory(prefix="streamad-") as folder:
        yield Path(folder)
