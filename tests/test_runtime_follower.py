"""A scorer's head: the same for one version and one place in the order of labels, whichever it met first."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from engines import engine
from feeds import FEED
from streamad_connectors.memory import Records
from streamad_connectors.synthetic import generate_lines
from structlog.testing import capture_logs
from test_runtime_published import changed

from streamad.learning.labels import LabelBook
from streamad.ports import GivenLabel, Promoted
from streamad.runtime.follower import Follower
from streamad.runtime.published import Published
from streamad.runtime.tutor import Tutor
from streamad.state.artifacts import read_files

LINES = generate_lines(5, 0, 2100, anomaly_share=0.05).splitlines()


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def seconds(self):
        return self.now

    def text(self):
        return "2026-01-01T00:00:00.000Z"


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A feed that has trained version 1."""
    with engine(tmp_path_factory.mktemp("live"), [Records("p0", LINES)]) as made:
        made.engine.run()
        yield made


@pytest.fixture
def version(live):
    """Version 1 as if it had learned the first two labels."""
    files = read_files(live.state.artifacts / "000001")
    return Promoted(1, changed(files, lambda tree: tree | {"label_position": 2}))


@pytest.fixture
def labels(live):
    """The first three labels of the feed's order."""
    record = dict.fromkeys(live.feed.config.schema_.fields, "0")
    return [
        GivenLabel(n, {"event_id": f"{FEED}/t/0@{n}", "label": verdict, "record": record})
        for n, verdict in enumerate(["anomaly", "normal", "anomaly"])
    ]


def tutor(feed, published, folder):
    """A trainer that is active, and finds no records."""
    publisher = SimpleNamespace(wait_until_active=lambda _: True, complete=None)
    lookup = SimpleNamespace(payload=lambda _: None)
    return Tutor(feed, published, publisher, lookup, folder, new_schema=False)


class One:
    """A scorer or a trainer, told of one thing after another."""

    def __init__(self, live, folder, role="scorer"):
        self.clock, self.coming = Clock(), []
        config = live.feed.config
        book = LabelBook(FEED, live.feed.decoder, None, 100)
        feed = replace(live.feed, book=book, clock=self.clock)
        updates = SimpleNamespace(poll=lambda: [self.coming.pop(0)] if self.coming else [])
        published = Published(updates, folder, FEED, config.schema_)
        self.follower = Follower(feed, published) if role == "scorer" else tutor(feed, published, folder)

    def told(self, *news):
        """Each by a look of its own."""
        self.coming += news
        for _ in news:
            self.follower.take_news(0, ())
        return self

    @property
    def head(self):
        return self.follower.scorer and self.follower.scorer.head.mean.tobytes()


def test_a_version_that_comes_before_the_labels_that_it_has_learned_waits_for_them(
    live, tmp_path, version, labels
):
    early = One(live, tmp_path / "early").told(*labels[:2], version, labels[2])
    late = One(live, tmp_path / "late").told(version)
    assert late.head is None
    assert late.told(labels[0]).head is None
    assert late.told(labels[1]).head is not None
    assert late.told(labels[2]).head == early.head
    assert late.follower.labels_applied == early.follower.labels_applied == 3


def test_labels_that_never_come_are_waited_for_half_a_minute(live, tmp_path, version, labels):
    one = One(live, tmp_path).told(version, labels[0])
    one.clock.now += 30
    one.follower.take_news(0, ())
    assert one.head is None
    one.clock.now += 1
    with capture_logs() as logs:
        one.follower.take_news(0, ())
    assert one.head is not None
    assert [
        (log["version"], log["count"]) for log in logs if log["event"] == "labels_of_version_missing"
    ] == [(1, 1)]


@pytest.mark.parametrize("role", ["scorer", "trainer"])
def test_labels_that_wait_for_their_record_are_counted_until_it_comes(live, tmp_path, labels, role):
    bare = GivenLabel(3, {"event_id": f"{FEED}/t/0@3", "label": "normal", "record": None})
    one = One(live, tmp_path, role).told(*labels, bare)
    assert one.follower.status()["labels"] == {"anomaly": 2, "normal": 1, "waiting": 1}
    one.told(GivenLabel(4, bare.label | {"record": labels[0].label["record"], "completes": 3}))
    assert one.follower.status()["labels"] == {"anomaly": 2, "normal": 2, "waiting": 0}


@pytest.mark.parametrize("role", ["scorer", "trainer"])
def test_a_trainer_says_that_it_is_one_in_numbers(live, tmp_path, role):
    assert One(live, tmp_path, role).follower.status().get("trainer", False) == (role == "trainer")
