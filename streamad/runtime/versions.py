"""Which version scores: the artifacts on disk beside what the store knows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from streamad.errors import StateError
from streamad.scoring.sound import read_sound, schema_changes

if TYPE_CHECKING:
    from streamad.records.schema import Schema
    from streamad.state.artifacts import Artifact
    from streamad.state.directory import Maker, StateDirectory
    from streamad.state.store import Store

log = structlog.get_logger()

_REMEDIES: dict[Maker, str] = {
    "run": "streamad fit makes a new one, run --state DIR begins in another state",
    "replay": "replay --fresh starts anew and keeps the labels",
}
"""What to do where no artifact can be read."""


class Versions:
    """Loads artifacts, falling back to an older one where the newest cannot be read."""

    def __init__(self, store: Store, state: StateDirectory, schema: Schema) -> None:
        self._store, self._state = store, state
        self._schema = schema

    def load(self, version: int) -> Artifact:
        """The artifact of a version, or of the newest older one that can be read.

        Raises `StateError` where there is none.
        """
        older = [known.number for known in self._store.versions() if known.kept and known.number < version]
        for number in [version, *sorted(older, reverse=True)]:
            try:
                artifact = read_sound(self._state.artifact(number), number)
            except StateError as error:
                log.warning("artifact_unreadable", version=number, reason=str(error))
                self._store.put_version({"number": number, "status": "corrupted"})
                continue
            changes = schema_changes(artifact[0], self._schema)
            if not changes:
                return artifact
            log.warning("artifact_of_another_schema", version=number, changes=changes)
        raise StateError(
            f"no version in {self._state.artifacts} can be read; {_REMEDIES[self._state.made_by]}"
        )

    def newest(self) -> Artifact | None:
        """What to start with where nothing was committed yet: the work of ``fit``, or of ``run --from``."""
        made = [
            known
            for known in self._store.versions()
            if known.kept and known.status in ("candidate", "active")
        ]
        active = [known.number for known in made if known.status == "active"]
        number = max(active or [known.number for known in made], default=None)
        # A training that was cut short leaves a candidate without an artifact.
        return None if number is None or not self._state.artifact(number).is_dir() else self.load(number)

    def last(self) -> int:
        """The highest number given so far, 0 before the first."""
        return max((known.number for known in self._store.versions()), default=0)
