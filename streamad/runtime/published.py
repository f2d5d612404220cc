"""What trainer and analysts published, checked and made usable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import structlog

from streamad.errors import StateError, UserError
from streamad.ports import GivenLabel, Promoted, Reference, Updates
from streamad.runtime.retraining import name
from streamad.state.artifacts import read_artifact, write_files
from streamad.state.labels import LabelChange, check_label

if TYPE_CHECKING:
    from pathlib import Path

    from streamad.records.schema import Schema
    from streamad.runtime.retraining import Artifact

log = structlog.get_logger()


class PublishedNews(NamedTuple):
    """What is new since the last look."""

    changes: list[LabelChange]
    """In the order that all scorers and trainers share."""
    incomplete: list[GivenLabel]
    """Labels without a record: somebody has to add it."""
    promoted: Artifact | None
    reference: Reference | None


class Published:
    """Everything published, as this process needs it. Artifacts are put into `folder` and read from there."""

    def __init__(self, updates: Updates, folder: Path, feed: str, schema: Schema) -> None:
        self._updates, self._folder, self._feed = updates, folder, feed
        self._fields = schema.model_dump(mode="json")["fields"]
        self.labels = 0
        """How many places of the labels' order were read, those that hold none included."""

    def news(self) -> PublishedNews:
        """What is new. Of several promotions only the newest counts, and of several references."""
        changes: list[LabelChange] = []
        incomplete: list[GivenLabel] = []
        promoted: Promoted | None = None
        reference: Reference | None = None
        for update in self._updates.poll():
            if isinstance(update, Promoted):
                promoted = update
            elif isinstance(update, Reference):
                reference = update
            else:
                self.labels = update.number + 1
                self._sort(update, changes, incomplete)
        artifact = None if promoted is None else self._artifact(promoted)
        return PublishedNews(changes, incomplete, artifact, reference)

    def _sort(self, given: GivenLabel, changes: list[LabelChange], incomplete: list[GivenLabel]) -> None:
        try:
            verdict, _, _ = check_label(given.label)
        except UserError as error:
            log.warning("label_refused", number=given.number, reason=str(error))
            return
        event = given.label.get("event_id")
        if not isinstance(event, str) or not event.startswith(f"{self._feed}/"):
            log.warning("label_refused", number=given.number, reason="event_id is of no event of this feed")
        elif (record := given.label.get("record")) is None:
            incomplete.append(given)
        else:
            changes.append(LabelChange(given.number, event, verdict, cast("dict[str, Any]", record), None))

    def _artifact(self, promoted: Promoted) -> Artifact | None:
        """None, and a warning, where it cannot be read: the version before it goes on."""
        directory = self._folder / name(promoted.version)
        write_files(directory, promoted.files)
        try:
            artifact = read_artifact(directory)
        except StateError as error:
            log.warning("version_unreadable", version=promoted.version, reason=str(error))
            return None
        if artifact[0]["schema"]["fields"] != self._fields:
            log.warning("version_of_another_schema", version=promoted.version)
            return None
        return artifact
