"""What a scorer makes of a version that was promoted and is not for it: it says so, and keeps its own."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs
from test_training_fit import SCHEMA, snapshot

from streamad.ports import GivenLabel, Promoted
from streamad.records.schema import Schema
from streamad.runtime.published import Published, Unfit
from streamad.state.artifacts import read_files, write_artifact
from streamad.training.fit import fit

NAMES = [*SCHEMA.fields]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The files of version 7."""
    folder = tmp_path_factory.mktemp("fitted") / "000007"
    write_artifact(folder, *fit(snapshot(version=7)))
    return read_files(folder)


def changed(files, change):
    """The same artifact with another manifest, rightly sealed."""
    manifest = json.dumps(change(json.loads(files["manifest.json"]))).encode()
    seal = hashlib.sha256(manifest).hexdigest().encode()
    return files | {"manifest.json": manifest, "manifest.sha256": seal}


def news(folder, promoted, schema=SCHEMA):
    """What comes of a promotion, and what was said."""
    updates = SimpleNamespace(poll=lambda: [Promoted(7, promoted)])
    published = Published(updates, folder, "feed", schema)
    with capture_logs() as logs:
        found = published.news().promoted
    return found, [(log["event"], log["version"], log.get("reason")) for log in logs]


def test_a_version_of_this_format_and_schema_is_taken(tmp_path, fitted):
    found, said = news(tmp_path, fitted)
    assert (found[0]["version"], said) == (7, [])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda tree: tree | {"format": 2},
            "was made by a newer streamad: its format is 2, this streamad reads format 1",
        ),
        (
            lambda tree: tree | {"format": 0},
            "is damaged: its format is 0, this streamad reads format 1",
        ),
        (
            lambda tree: {**tree, "schema": None},
            "is damaged: manifest.json: schema: Input should be a valid dictionary",
        ),
        (
            lambda tree: {key: value for key, value in tree.items() if key != "schema"},
            "is damaged: manifest.json: schema: Field required",
        ),
        (lambda tree: tree | {"version": 8}, "is damaged: manifest.json is of version 8"),
    ],
)
def test_a_version_that_cannot_be_read_is_told_in_a_sentence_and_not_taken(tmp_path, fitted, change, why):
    found, said = news(tmp_path, changed(fitted, change))
    reason = f"artifact {tmp_path}/000007 {why}"
    assert found == Unfit(7, reason, of_another_schema=False)
    assert said == [("version_unreadable", 7, reason)]


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        (
            {**{name: SCHEMA.fields[name] for name in NAMES[1:]}, "other": "numeric"},
            f"other is new; {NAMES[0]} is gone",
        ),
        (
            {**SCHEMA.fields, NAMES[0]: "ignore"},
            f"{NAMES[0]} was {SCHEMA.fields[NAMES[0]]}, is ignore",
        ),
        (dict(reversed(SCHEMA.fields.items())), "the fields are in another order"),
    ],
)
def test_a_version_of_another_schema_is_told_naming_the_fields_and_not_taken(
    tmp_path, fitted, fields, changes
):
    found, said = news(tmp_path, fitted, Schema(fields=fields))
    reason = (
        f"the schema changed since version 7 was made: {changes} (streamad trainer --new-schema takes it over, and scorers "
        "start after it)"
    )
    assert found == Unfit(7, reason, of_another_schema=True)
    assert said == [("version_of_another_schema", 7, reason)]


def test_a_version_that_does_not_tell_the_order_of_its_fields_is_taken(tmp_path, fitted):
    before = changed(fitted, lambda tree: {key: value for key, value in tree.items() if key != "columns"})
    found, said = news(tmp_path, before)
    assert (found[0]["version"], said) == (7, [])


def test_labels_that_name_no_event_are_told_in_one_line_with_their_number_however_many(tmp_path):
    given = [GivenLabel(number, {"label": "normal"}) for number in range(1000)]
    published = Published(SimpleNamespace(poll=lambda: given), tmp_path, "feed", SCHEMA)
    with capture_logs() as logs:
        published.news()
        published.news()
    assert [(log["event"], log["count"], log["number"]) for log in logs] == [("labels_refused", 1000, 0)]
