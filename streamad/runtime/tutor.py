"""The active trainer of a cluster: learns as one machine does, and publishes what scorers need."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamad.errors import CommitAbortedError, WorldError
from streamad.ports import Reference
from streamad.runtime.learner import Learner
from streamad.runtime.retraining import name
from streamad.state.artifacts import read_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from streamad.ports import Commit, Positions, Publisher
    from streamad.runtime.feed import LearningFeed
    from streamad.runtime.published import Published
    from streamad.runtime.retraining import Artifact
    from streamad.runtime.transaction import Scored

_REFERENCE_SECONDS, _REFERENCE_ROWS = 10.0, 2000
"""How often the scorers are told how recent records score, and how many of them."""

_REPLACED = "this trainer is no longer the active one ({}); started again, it stands by"


class Tutor(Learner):
    """A learner whose versions and references all scorers follow."""

    def __init__(
        self, feed: LearningFeed, published: Published, publisher: Publisher, artifacts: Path
    ) -> None:
        super().__init__(feed)
        self._published, self._publisher, self._artifacts = published, publisher, artifacts
        self._echoes: set[int] = set()  # versions published here that have not come back yet
        self._told = feed.clock.seconds()

    def begin(self) -> None:
        """Start with the promoted version, if there is one."""
        news = self._published.news()
        self._apply_labels(0, news.changes)
        if news.promoted is not None:
            self._start_from(news.promoted)

    def take_news(self, number: int, open_batches: Sequence[Scored]) -> None:
        """Apply labels in their order, and follow a promotion that somebody else decided on."""
        if not self._publisher.wait_until_active(0):
            raise WorldError(_REPLACED.format("it was told so"))
        news = self._published.news()
        self._apply_labels(number, news.changes)
        if news.promoted is not None and not self._is_echo(int(news.promoted[0]["version"])):
            self._swap(news.promoted, number, open_batches)

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
        self._echoes.add(version)

    def _is_echo(self, version: int) -> bool:
        """Whether a promotion is one's own coming back, or of the version that is in use anyway."""
        echo = version in self._echoes or (self.scorer is not None and self.scorer.version == version)
        self._echoes = {own for own in self._echoes if own > version}
        return echo


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
        raise WorldError(_REPLACED.format(error)) from None
