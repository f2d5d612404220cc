"""What trainer and analysts published, checked and made usable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import structlog

from streamad.errors import StateError, UserError
from streamad.learning.given import GivenLabels
from streamad.ports import GivenLabel, Mute, Promoted, Reference, Updates, Wanted
from streamad.runtime.retraining import name
from streamad.scoring.sound import read_sound, schema_changes
from streamad.seldom import Seldom
from streamad.state.artifacts import write_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streamad.learning.labels import LabelBook
    from streamad.records.schema import Schema
    from streamad.state.artifacts import Artifact
    from streamad.state.labels import LabelChange

log = structlog.get_logger()

_TAKES_OVER = "streamad trainer --new-schema takes it over, and scorers start after it"

_MUTES = 1000
"""So many mutes are remembered, the last ones."""


class Unfit(NamedTuple):
    """A promoted version that this process cannot score with."""

    version: int
    reason: str
    """One sentence, with a remedy where people have to do something."""
    of_another_schema: bool


class PublishedNews(NamedTuple):
    """What is new since the last look."""

    changes: list[LabelChange]
    """In the order that all scorers and trainers share."""
    incomplete: list[GivenLabel]
    """Labels whose record is not known: the active trainer has to add it."""
    promoted: Artifact | Unfit | None
    reference: Reference | None
    wanted: Wanted | None
    """What the active trainer is asked for."""
    mutes: list[Mute] | None
    """All that were not ended, as far as they are remembered, oldest first; None: as they were."""


class Published:
    """Everything published, as this process needs it. Artifacts are put into `folder` and read from there."""

    def __init__(self, updates: Updates, folder: Path, feed: str, schema: Schema) -> None:
        self._updates, self._folder = updates, folder
        self._given = GivenLabels(feed)
        self._schema = schema
        self._mutes: dict[str, Mute] = {}
        self._refused = Seldom("labels_refused", time.monotonic)
        self.labels = 0
        """How many places of the labels' order were read, those that hold none included."""

    @property
    def incomplete(self) -> Mapping[str, GivenLabel]:
        """Of `PublishedNews.incomplete` those that still need their record, by event."""
        return self._given.incomplete

    def counts(self, book: LabelBook) -> dict[str, int]:
        """See `LabelBook.counts`, whose labels come with their record in a cluster: those that wait are here."""
        return {**book.counts(), "waiting": len(self.incomplete)}

    def news(self) -> PublishedNews:
        """What is new. Of several promotions only the newest counts, of several references and requests too."""
        changes: list[LabelChange] = []
        incomplete: list[GivenLabel] = []
        promoted: Promoted | None = None
        reference: Reference | None = None
        wanted: Wanted | None = None
        muted = False
        for update in self._updates.poll():
            match update:
                case Promoted():
                    promoted = update
                case Reference():
                    reference = update
                case Wanted():
                    wanted = update
                case Mute():
                    muted = True
                    self._mute(update)
                case GivenLabel():
                    self._sort(update, changes, incomplete)
        self._refused.tell()
        artifact = None if promoted is None else self._artifact(promoted)
        mutes = [*self._mutes.values()] if muted else None
        return PublishedNews(changes, incomplete, artifact, reference, wanted, mutes)

    def _mute(self, mute: Mute) -> None:
        self._mutes.pop(mute.id, None)
        if mute.ended_at is None:
            self._mutes[mute.id] = mute
        if len(self._mutes) > _MUTES:
            del self._mutes[next(iter(self._mutes))]

    def _sort(self, given: GivenLabel, changes: list[LabelChange], incomplete: list[GivenLabel]) -> None:
        self.labels = given.number + 1
        try:
            change = self._given.take(given)
        except UserError as error:
            self._refused.add(number=given.number, reason=str(error))
            return
        if change is not None:
            changes.append(change)
        elif self._given.incomplete.get(given.label["event_id"]) is given:
            incomplete.append(given)

    def _artifact(self, promoted: Promoted) -> Artifact | Unfit:
        """With a warning where it cannot be scored with: the version before it goes on."""
        found = judged(promoted, self._folder / name(promoted.version), self._schema)
        if isinstance(found, Unfit):
            event = "version_of_another_schema" if found.of_another_schema else "version_unreadable"
            log.warning(event, version=found.version, reason=found.reason)
        return found


def judged(promoted: Promoted, directory: Path, schema: Schema) -> Artifact | Unfit:
    """A promoted version, put into a directory, as far as a process with this schema can score with it."""
    version = promoted.version
    write_files(directory, promoted.files)
    try:
        artifact = read_sound(directory, version)
    except StateError as error:
        return Unfit(version, str(error), of_another_schema=False)
    if changes := schema_changes(artifact[0], schema):
        why = f"the schema changed since version {version} was made: {changes} ({_TAKES_OVER})"
        return Unfit(version, why, of_another_schema=True)
    return artifact
