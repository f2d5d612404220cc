"""Which version is in force: promotions in their order, each fetched before it counts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import structlog

from streamad.errors import StreamadError, WorldError
from streamad.ports import Promoted, Reference
from streamad_connectors.kafka.chunks import DamagedError, Description

Fetch = Callable[[Description], Future[dict[str, bytes]]]
"""Begins to fetch an artifact's files; `DamagedError` where they are not there as described."""

_REMEMBERED = 16
"""Promotions that are remembered, should newer ones turn out to be damaged."""

_TOLD = 100
"""So many things that are ignored get a warning each; more are somebody's noise."""

_SILENCE = 2.0
"""Seconds of fetching until it is said."""

_log = structlog.get_logger(__name__)


class Promotions:
    """Of what was promoted, the newest that can be had. Used by one thread."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._wanted: list[Description] = []  # promoted since the one in force, in their order
        self._under_way: tuple[Description, Future[dict[str, bytes]]] | None = None
        self._in_force: Description | None = None
        self._reference: Reference | None = None  # the newest, until its version is in force
        self._told: set[tuple[str, int | None]] = set()

    def promote(self, description: Description) -> None:
        """All are to score with this one."""
        self._wanted = [*self._wanted, description][-_REMEMBERED:]

    def calibrate(self, reference: Reference) -> None:
        """What is newly known of a version's scores."""
        self._reference = reference

    def ignore(self, what: str, version: int | None, reason: object) -> None:
        """Warn, once each, of something that will not count."""
        if (what, version) not in self._told and len(self._told) < _TOLD:
            self._told.add((what, version))
            _log.warning("update_ignored", what=what, version=version, reason=str(reason))

    def news(self) -> list[Promoted | Reference]:
        """What is there by now; begins to fetch what is not. Never blocks. Raises `UserError` as fetching does."""
        found: list[Promoted | Reference] = []
        if (promoted := self._finished()) is not None:
            found.append(promoted)
        self._begin()
        if (reference := self._reference) is not None and reference.version == self._version():
            found.append(reference)
            self._reference = None
        return found

    def settled(self) -> list[Promoted | Reference]:
        """As `news`, but waits until nothing is left to be fetched. Raises `WorldError` too."""
        found = self.news()
        while self._under_way is not None:
            description, future = self._under_way
            try:
                error = future.exception(_SILENCE)
            except TimeoutError:
                _log.info("fetching_version", version=description.version, bytes=description.length)
                continue
            if isinstance(error, StreamadError):
                raise error
            found += self.news()
        return found

    def _finished(self) -> Promoted | None:
        """What was being fetched, if that is done."""
        if self._under_way is None or not self._under_way[1].done():
            return None
        (description, future), self._under_way = self._under_way, None
        try:
            files = future.result()
        except DamagedError as error:
            self.ignore("promotion", description.version, error)
            self._wanted = [other for other in self._wanted if other != description]
            return None
        except WorldError:  # the client has said so, and it is tried again
            return None
        self._in_force = description
        self._wanted = self._wanted[self._wanted.index(description) + 1 :]
        return Promoted(description.version, files)

    def _begin(self) -> None:
        """Fetch the newest of what is wanted."""
        if self._under_way is not None or not self._wanted:
            return
        newest = self._wanted[-1]
        if newest == self._in_force:
            self._wanted.clear()
        else:
            self._under_way = newest, self._fetch(newest)

    def _version(self) -> int | None:
        return None if self._in_force is None else self._in_force.version
