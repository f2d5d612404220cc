"""The trainer of a cluster: stands by until it is the active one, and again whenever it is so no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

import structlog

from streamad.errors import CommitAbortedError, NumberTakenError, OutOfTouchError, UserError
from streamad.ports import Lookup, Publisher, Source, Updates
from streamad.runtime.breaker import Breaker
from streamad.runtime.engine import Engine
from streamad.runtime.feed import LearningFeed
from streamad.runtime.published import Published
from streamad.runtime.retraining import Retraining
from streamad.runtime.tutor import NoSink, Tutor
from streamad.state.buffer import Buffer
from streamad.wiring.cluster import Member, scratch

log = structlog.get_logger()

_ACTIVE_SECONDS, _AGAIN_SECONDS = 1.0, 1.0

_AFRESH_SECONDS = 300.0
"""So long one stands by with the same connections: one that is cut off unheard would do so for ever."""

Opened = tuple[Source, Updates, Publisher, Lookup]


def train(member: Member, run: Callable[[Engine], object]) -> None:
    """Stand by, `run` the engine once it is our turn, and begin anew whenever the turn or the brokers are lost.

    Returns after a stop. Raises `OutOfTouchError` only where nobody answers at the start, and `NumberTakenError` where
    a training that began after a number was taken meets the same again: that would go on for ever.
    """
    met, taken = False, ""
    while not (met and member.job.stop.wait(_AGAIN_SECONDS)):
        learned = False
        try:
            with _opened(member) as opened:
                met = True
                last = _stand_by(member, opened[2])
                if last is None:
                    return
                learned = True
                with _engine(member, opened, last) as engine:
                    run(engine)
                return
        except OutOfTouchError as error:
            if not met or str(error) == taken:
                raise
            taken = str(error) if isinstance(error, NumberTakenError) else ""
            if learned:
                log.warning("stands_by_again", why=str(error))
            member.job.on_status(lambda: {"state": "standing_by"})


@contextmanager
def _opened(member: Member) -> Iterator[Opened]:
    with ExitStack() as stack:
        opened = member.plugin.open_trainer(member.state, member.source, member.context)
        for one in opened:
            stack.callback(one.close)
        yield opened


def _stand_by(member: Member, publisher: Publisher) -> int | None:
    """The highest number published, once this trainer is the active one; None where it was stopped before.

    Raises `OutOfTouchError` where that takes long.
    """
    began = time.monotonic()
    while (last := last_version(publisher)) is None:
        member.job.on_status(lambda: {"state": "standing_by"})
        if member.job.stop.is_set():
            return None
        if time.monotonic() - began > _AFRESH_SECONDS:
            raise OutOfTouchError("another trainer is the active one, or none is heard of")
    return last


def last_version(publisher: Publisher) -> int | None:
    """The highest number published, once this trainer is the active one; None while it is not, or is so no more."""
    try:
        return publisher.last_version() if publisher.wait_until_active(_ACTIVE_SECONDS) else None
    except CommitAbortedError:
        return None


@contextmanager
def _engine(member: Member, opened: Opened, last: int) -> Iterator[Engine]:
    source, updates, publisher, lookup = opened
    config = member.config
    training, schema = config.training, config.schema_
    with scratch() as folder:
        artifacts, jobs = folder / "artifacts", folder / "jobs"
        jobs.mkdir()
        feed = LearningFeed(
            **member.parts(source, NoSink(), Breaker()),
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
            is_pinned=lambda version: version in config.keep.pinned,
        )
        published = Published(updates, artifacts, config.feed, schema)
        new_schema = member.job.any_schema
        tutor = Tutor(feed, published, publisher, lookup, artifacts, new_schema=new_schema)
        yield Engine(feed, tutor, member.job.stop)


def _no_artifact(version: int) -> NoReturn:
    raise UserError(f"version {version} is promoted through the cluster's control, not here")
