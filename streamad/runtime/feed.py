"""The live objects of one feed, as `wiring` puts them together for the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from streamad.runtime.reloading import Reloading

if TYPE_CHECKING:
    from streamad.config import Config
    from streamad.learning.labels import LabelBook
    from streamad.ports import Positions, Sink, Source
    from streamad.records.decoder import Decoder
    from streamad.records.dictionary import Dictionary
    from streamad.runtime.breaker import Breaker
    from streamad.runtime.clock import Clock
    from streamad.runtime.heartbeat import Pulse
    from streamad.runtime.pace import Pace
    from streamad.runtime.reader import Reader
    from streamad.runtime.retraining import Retraining
    from streamad.runtime.scores_file import ScoresFile
    from streamad.state.artifacts import Artifact
    from streamad.state.buffer import Buffer
    from streamad.state.labels import Verdict
    from streamad.state.store import News


_P = ParamSpec("_P")
_T = TypeVar("_T")


class AtOnce(Executor):
    """Does what it is given before it returns."""

    def submit(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """See `concurrent.futures.Executor.submit`."""
        done: Future[_T] = Future()
        try:
            done.set_result(call(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # raised by the future's `result`
            done.set_exception(error)
        return done


@dataclass(slots=True, kw_only=True)
class Feed:
    """Everything that the engine works with."""

    config: Config
    replay: bool
    seed: int
    clock: Clock
    source: Source
    reader: Reader
    breaker: Breaker
    decoder: Decoder
    dictionary: Dictionary
    book: LabelBook
    sink: Sink
    restored: tuple[Positions, Mapping[str, Any]] | None
    identity: Mapping[str, Any]
    """What makes two replays the same one; kept in the checkpoint."""
    pace: Pace
    scores_file: ScoresFile | None
    heartbeat: Pulse
    committed: Callable[[], None]
    """Called after every commit: wakes the outlets."""
    on_step: Callable[[str], None]
    """Called with the name of each step; the crash tests kill the process in it."""
    committing: Executor = field(default_factory=AtOnce)
    """Where the sink commits: within the engine's thread or, for a feed that learns nothing from its own commits, on
    one other thread, while scoring goes on."""
    reloading: Reloading = field(default_factory=Reloading)
    """Where `config` is read again."""


@dataclass(slots=True, kw_only=True)
class LearningFeed(Feed):
    """A feed that learns: what its `Learner` works with beside the engine's."""

    buffer: Buffer
    news: Callable[[], News | None]
    """What other commands left for the engine since the last call: labels, requests for a version."""
    retraining: Retraining
    log_entries: list[tuple[str, Verdict, str]]
    """The label log up to the restored checkpoint: event, verdict and record as JSON."""
    load_artifact: Callable[[int], Artifact]
    """The artifact of a version, or of the newest older one that can be read."""
    initial: Callable[[], Artifact | None]
    """Loads the version to start with where nothing was learned yet: made by ``fit``, or taken along."""
    last_version: int
    """The highest version number given so far."""
    is_pinned: Callable[[int], bool] = lambda _version: False
    """Whether people said that no training takes the place of a version."""
