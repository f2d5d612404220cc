"""A replay that waits for its time shows that it lives, and changed files are noticed when it goes on."""

from __future__ import annotations

from feeds import checkpoint, committed, stored
from inputs_help import feed, rows  # noqa: F401  # a fixture
from processes import start, stop, wait_for


def beaten(state):
    """When the last heartbeat was written."""
    return stored(state, "SELECT updated_at FROM heartbeat")


def test_a_slow_replay_keeps_its_heartbeat_and_a_file_changed_meanwhile_is_named(feed):  # noqa: F811
    feed.write(limits={"batch_records": 100, "commit_batches": 1})
    process = start("replay", feed.path, "--rate", "25", log=feed.folder / "log")
    wait_for(lambda: committed(feed.state) >= 100, process)
    before = beaten(feed.state)
    wait_for(lambda: beaten(feed.state) != before, process, seconds=3)
    feed.call("status")  # not stale
    assert stop(process, 15)[0] == 0
    done = checkpoint(feed.state, "engine")["records"]
    original = (feed.folder / "log.csv").read_bytes()
    for changed in (
        "user,bytes,service\n" + rows(400, first=1),
        original[:200],
        b"service,bytes,user\n" + original,
    ):
        feed.file("log.csv", changed)
        said = feed.call("replay", code=2).err.splitlines()[-1]
        assert said == (
            f"streamad: {feed.folder}/log.csv changed behind line {done + 1}, where reading was to go on"
        )
        assert committed(feed.state) == done
    feed.file("log.csv", original)
    assert feed.replayed()["records_in"] == 400
