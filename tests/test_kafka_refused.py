"""What of control does not count at a desk, and that people are told of it, without a broker."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from streamad_connectors.kafka import desk as desks
from streamad_connectors.kafka.chunks import describe
from streamad_connectors.kafka.control import (
    MUTE,
    PROMOTED,
    WANTED,
    version_key,
    write_description,
    write_mute,
    write_request,
)
from streamad_connectors.kafka.topics import Topics
from structlog.testing import capture_logs

from streamad.ports import Mute

KEY = b"a key that nobody knows"
DESCRIPTION = describe(1, {"manifest.json": b"{}"}, [0])
MUTES = Mute("1f", "user == a", "ann", "", "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z")


def control(key):
    """Version 1 and a mute, as a trainer and an analyst with this key say them, and the end of another mute."""
    return [
        (version_key(1), write_description("version", DESCRIPTION, key)),
        (PROMOTED, write_description("promoted", DESCRIPTION, key, 1)),
        (WANTED, write_request(1, "now", key, 1)),
        (MUTE + b"1f", write_mute(MUTES, key, 1)),
        (MUTE + b"2f", None),
    ]


@pytest.fixture
def seen(monkeypatch):
    """What a desk with the key sees of these messages, as often as it is asked, and the warnings of all that."""

    def ask(*said):
        messages = [
            SimpleNamespace(key=lambda k=k: k, value=lambda v=v: v, timestamp=lambda: (1, 0)) for k, v in said
        ]
        reader = SimpleNamespace(read_to_end=lambda: messages, close=lambda: None)
        monkeypatch.setattr(desks, "TopicReader", lambda *_: reader)
        context = SimpleNamespace(feed="net", source=SimpleNamespace(folder=Path()))
        desk = desks.KafkaDesk(None, None, Topics(*Topics._fields), context, key=KEY)
        with capture_logs() as logs:
            for _ in range(2):
                versions, mutes = desk.versions(), desk.mutes()
        return len(versions), len(mutes), logs

    return ask


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "it is not signed, and a signing key is set"),
        (b"another", "its signature is not that of the signing key"),
    ],
)
def test_a_desk_says_once_how_much_of_control_it_refused_and_why(seen, key, reason):
    warning = {"topic": "control", "count": 4, "first_reason": reason}
    assert seen(*control(key)) == (
        0,
        0,
        [{"event": "messages_refused", "log_level": "warning", **warning}],
    )


def test_where_all_is_rightly_signed_nothing_is_said(seen):
    assert seen(*control(KEY)) == (1, 1, [])
