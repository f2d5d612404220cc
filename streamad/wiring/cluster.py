"""A cluster: processes whose state lives elsewhere, in what they publish to each other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamad.config import Config, load_config
from streamad.errors import CommitAbortedError, ConfigError, UserError
from streamad.job import Job, check_inputs
from streamad.learning.labels import LabelBook
from streamad.ports import ClusterContext, ClusterPlugin, Publisher, Sink, Source
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.runtime.breaker import Breaker, PartitionBreaker
from streamad.runtime.clock import Clock
from streamad.runtime.engine import Engine
from streamad.runtime.feed import Feed, LearningFeed
from streamad.runtime.follower import Follower
from streamad.runtime.heartbeat import ShownPulse
from streamad.runtime.pace import Pace
from streamad.runtime.published import Published
from streamad.runtime.reader import Handover, Reader
from streamad.runtime.retraining import Retraining
from streamad.runtime.tutor import NoSink, Tutor
from streamad.state.buffer import Buffer
from streamad.wiring.plugins import find_plugin, source_context, source_options, validated

_ACTIVE_SECONDS = 1.0


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
            folder = stack.enter_context(_scratch())
            source, sink, updates = self.plugin.open_scorer(self.state, self.source, self.context)
            stack.callback(source.close)
            stack.callback(sink.close)
            stack.callback(updates.close)
            sink.restore()
            breaker = PartitionBreaker(self.config.limits, source)
            feed = Feed(**self._parts(source, sink, breaker))
            published = Published(updates, folder, self.config.feed, self.config.schema_)
            yield Engine(feed, Follower(feed, published), self.job.stop)

    @contextmanager
    def trainer(self) -> Iterator[Engine | None]:
        """The trainer, once it is the active one; None where it was stopped before."""
        with ExitStack() as stack:
            folder = stack.enter_context(_scratch())
            source, updates, publisher, lookup = self.plugin.open_trainer(
                self.state, self.source, self.context
            )
            for opened in (source, updates, publisher, lookup):
                stack.callback(opened.close)
            while (last := last_version(publisher)) is None:
                self.job.on_status(lambda: {"state": "standing_by"})
                if self.job.stop.is_set():
                    yield None
                    return
            config, artifacts = self.config, folder / "artifacts"
            training, schema = config.training, config.schema_
            jobs = folder / "jobs"
            jobs.mkdir()
            feed = LearningFeed(
                **self._parts(source, NoSink(), Breaker()),
                buffer=Buffer(
                    training.window.records,
                    len(schema.numbers),
                    len(schema.categories),
                    hours=training.window.hours,
                ),
                news=lambda: None,
                retraining=Retraining(training, artifacts, jobs),
                log_entries=[],
                load_artifact=_no_artifact,
                initial=lambda: None,
                last_version=last,
            )
            published = Published(updates, artifacts, config.feed, schema)
            yield Engine(feed, Tutor(feed, published, publisher, lookup, artifacts), self.job.stop)

    def _parts(self, source: Source, sink: Sink, breaker: Breaker) -> dict[str, Any]:
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
        }


def last_version(publisher: Publisher) -> int | None:
    """The highest number published, once this trainer is the active one; None while it is not, or is so no more."""
    try:
        return publisher.last_version() if publisher.wait_until_active(_ACTIVE_SECONDS) else None
    except CommitAbortedError:
        return None


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
    _, source = source_options(job, config)
    handover = Handover()
    context = ClusterContext(
        feed=config.feed,
        source=source_context(job, config, handover),
        window_records=config.training.window.records,
        keep_versions=config.keep.versions,
        on_step=lambda step: job.on_step(f"sink.{step}"),
    )
    state = validated(job.config, plugin.options, config.state, "state")
    return Member(job, config, plugin, state, source, context, handover)


def _no_artifact(version: int) -> Any:  # noqa: ANN401  # never returns
    raise UserError(f"version {version} is promoted through the cluster's control, not here")


@contextmanager
def _scratch() -> Iterator[Path]:
    """A private folder for as long as the process runs: nothing in it matters afterwards."""
    with tempfile.TemporaryDirectory(prefix="streamad-") as folder:
        yield Path(folder)
