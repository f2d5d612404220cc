"""What any test may ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import kafka_broker
import kafka_feed
import kafka_topics
import kafka_updates_help
import pytest
import structlog
import torch
from threadpoolctl import threadpool_limits

threadpool_limits(1, user_api="blas")  # as the command line has it

# A shell's background jobs ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(os.environ.get("STREAMAD_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True)
def logs_as_they_come():
    """What a command run in this process makes of the logs ends with its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real records. Without it tests are skipped on a desk, and fail in CI, where skips go unseen."""
    if not DATA.is_dir():
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain(f"no real records in {DATA}: set STREAMAD_DATA")
    return DATA


@pytest.fixture(scope="session")
def kdd_path(data_dir):
    """The KDDCUP99 file of 494,021 records."""
    return data_dir / "kddcup99" / "kddcup.data_10_percent.gz"


@pytest.fixture
def one_thread_and_few_trees(monkeypatch):
    """Estimators of small tables, fitted fast."""
    torch.set_num_threads(1)
    monkeypatch.setattr("streamad.estimators.shallow._TREES", 10)


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One Kafka broker for all tests that need not end it: STREAMAD_KAFKA's, or one with security, started once."""
    yield from kafka_broker.for_session(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def topics(broker):
    """Makes a test's own topics on `broker`, as kafka_topics.make_topics does, and removes them after it."""
    made = []

    def make(partitions, **config):
        names = kafka_topics.make_topics(broker, partitions, **config)
        made.extend(names.values())
        return names

    yield make
    if made:
        kafka_topics.delete_topics(broker, made)


@pytest.fixture
def names(broker):
    """A feed's own topics of a cluster, under fresh names."""
    with kafka_updates_help.new_topics(broker) as topics:
        yield topics


@pytest.fixture
def feed(broker, topics):
    """Makes a feed; its readers are closed after the test."""
    made = []

    def make(partitions=1, **config):
        made.append(kafka_feed.Feed(broker, topics({"records": partitions}, **config)["records"]))
        return made[-1]

    yield make
    for source in (source for one in made for source in one.opened):
        source.close()
