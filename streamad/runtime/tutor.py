"""The active trainer of a cluster: learns as one machine does, and publishes what scorers need."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from streamad.errors import CommitAbortedError, OutOfTouchError, StateError, UserError
from streamad.ports import Reference, WatchedSource
from streamad.runtime.completion import Completion
from streamad.runtime.learner import Learner
from streamad.runtime.published import Unfit
from streamad.runtime.retraining import name
from streamad.state.artifacts import read_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from streamad.ports import Commit, Lookup, Positions, Publisher, Wanted
    from streamad.runtime.feed import LearningFeed
    from streamad.runtime.published import Published, PublishedNews
    from streamad.runtime.transaction import Scored
    from streamad.state.artifacts import Artifact

_REFERENCE_SECONDS, _REFERENCE_ROWS = 10.0, 2000
"""How often the scorers are told how recent records score, and how many of them."""

log = structlog.get_logger()

_REPLACED = "this trainer is no longer the active one: {}"


class Tutor(Learner):
    """A learner whose versions and references all scorers follow."""

    def __init__(
        self,
        feed: LearningFeed,
        published: Published,
        publisher: Publisher,
        lookup: Lookup,
        artifacts: Path,
        *,
        new_schema: bool,
    ) -> None:
        """With `new_schema` it begins anew where the promoted version is of another schema."""
        super().__init__(feed)
        self._published, self._publisher, self._artifacts = published, publisher, artifacts
        self._completion = Completion(
            feed.config.feed, published.incomplete, lookup, feed.decoder, feed.clock
        )
        self._promoted: int | None = None  # from here last, until it comes back
        self._told = feed.clock.seconds()
        self._new_schema = new_schema

    def begin(self) -> None:
        """Start with the promoted version, if there is one.

        Raises `StateError` for one of another schema, unless that is to be taken over.
        """
        last = self._feed.last_version
        news = self._published.news()
        self._apply_labels(0, news.changes)
        if isinstance(news.promoted, Unfit):
            if news.promoted.of_another_schema and not self._new_schema:
                raise StateError(news.promoted.reason)
            log.warning("begins_anew", why=news.promoted.reason, next_version=last + 1)
        elif news.promoted is not None:
            self._start_from(news.promoted)
        elif last:
            log.warning("begins_anew", why="no promoted version can be had", next_version=last + 1)
        self._answer(news)

    def take_news(self, number: int, open_batches: Sequence[Scored]) -> None:
        """Apply labels in their order, follow a promotion that people asked for, and answer them."""
        if not self._publisher.wait_until_active(0):
            raise OutOfTouchError(_REPLACED.format("the others do not hear of it, or it not of them"))
        news = self._published.news()
        self._apply_labels(number, news.changes)
        promoted = None if isinstance(news.promoted, Unfit) else news.promoted
        if promoted is not None and self._is_news(int(promoted[0]["version"])):
            self._swap(promoted, number, open_batches)
        self._answer(news)
        with _still_active():
            self._completion.step(self._publisher.complete)

    def absorb(self, committed: Sequence[Scored]) -> None:
        """See `InForce.absorb`; now and then the scorers are told of the reference."""
        super().absorb(committed)
        now = self._feed.clock.seconds()
        if self.scorer is not None and now - self._told >= _REFERENCE_SECONDS:
            self._told = now
            arrays = self.scorer.packed_reference(_REFERENCE_ROWS)
            with _still_active():
                self._publisher.calibrate(Reference(self.scorer.version, self.threshold, arrays))

    def _trained(self, artifact: Artifact) -> None:
        """Publish it before it is used here."""
        version = int(artifact[0]["version"])
        with _still_active():
            self._publisher.publish(version, read_files(self._artifacts / name(version)))
        self._promoted = version

    def _records_per_hour(self) -> float | None:
        """The rate of the whole feed, of which the source may hand out a sample."""
        rate, source = super()._records_per_hour(), self._feed.source
        share = source.figures({}).share if isinstance(source, WatchedSource) else 1.0
        return rate and rate / share

    def status(self) -> dict[str, Any]:
        """See `Learner.status`; also the labels whose record is nowhere, and that nothing is committed here."""
        return {
            **super().status(),
            "trainer": True,
            "labels": self._published.counts(self._feed.book),
            "labels_without_record": self._completion.lost,
        }

    def _answer(self, news: PublishedNews) -> None:
        self._completion.add(news.incomplete)
        if news.wanted is not None:
            with _still_active():
                self._promote(news.wanted)

    def _promote(self, wanted: Wanted) -> None:
        """Promote the version that is asked for. It comes back with the updates, and is swapped in then."""
        try:
            self._publisher.promote(wanted.version, answers=wanted.number)
        except UserError as error:
            log.warning("promotion_refused", reason=str(error))
            return
        self._promoted = wanted.version
        log.info("version_promoted", version=wanted.version, asked_at=wanted.asked_at)

    def _is_news(self, version: int) -> bool:
        """Whether a promotion is to be followed: none from before one's own last one, nor of what scores anyway."""
        if self._promoted not in {None, version}:
            return False
        self._promoted = None
        return self.scorer is None or self.scorer.version != version


class NoSink:
    """A trainer's records move nothing: whoever is active next reads its window again."""

    def restore(self) -> tuple[Positions, Mapping[str, Any]] | None:
        """There is nothing."""
        return None

    def commit(self, commit: Commit) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing to give back."""


@contextmanager
def _still_active() -> Iterator[None]:
    try:
        yield
    except CommitAbortedError as error:
        raise OutOfTouchError(_REPLACED.format(error)) from None
