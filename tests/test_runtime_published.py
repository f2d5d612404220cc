"""What a scorer makes of a version that was promoted and is not for it: it says so, and keeps its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

from structlog.testing import capture_logs

from streamad.ports import Promoted
from streamad.records.schema import Schema
from streamad.runtime.published import Published
from streamad.state.artifacts import read_files

GOLDEN = Path(__file__).with_name("golden") / "artifact_1"


FIELDS = {"bytes": "numeric"}


def files(**changes):
    """The golden artifact, with another manifest."""
    found = dict(read_files(GOLDEN))
    schema = {"schema": Schema(fields=FIELDS).model_dump(mode="json")}
    manifest = json.dumps(json.loads(found["manifest.json"]) | schema | changes).encode()
    return found | {
        "manifest.json": manifest,
        "manifest.sha256": hashlib.sha256(manifest).hexdigest().encode(),
    }


def news(folder, fields, promoted):
    """What comes of a promotion, and what was said."""
    updates = SimpleNamespace(poll=lambda: [Promoted(7, promoted)])
    published = Published(updates, folder, "feed", Schema(fields=fields))
    with capture_logs() as logs:
        found = published.news().promoted
    return found, [(log["event"], log["version"], log.get("reason")) for log in logs]


def test_a_version_of_this_format_and_schema_is_taken(tmp_path):
    found, said = news(tmp_path, FIELDS, files())
    assert (found[0]["format"], said) == (1, [])


def test_a_version_of_a_newer_format_is_told_and_not_taken(tmp_path):
    found, ((event, version, reason),) = news(tmp_path, FIELDS, files(format=2))
    assert (found, event, version) == (None, "version_unreadable", 7)
    assert reason.endswith("its format is 2, this streamad reads format 1")


def test_a_version_of_another_schema_is_told_and_not_taken(tmp_path):
    found, said = news(tmp_path, {"other": "numeric"}, files())
    assert (found, said) == (None, [("version_of_another_schema", 7, None)])
