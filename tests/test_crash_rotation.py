"""A daemon killed around the rotation of the file that it follows: no record is missing, none is there twice."""

from __future__ import annotations

import signal

from feeds import FEED, committed, stored, write_config, write_log
from processes import say, start, wait_for


def test_kills_during_a_rotation_lose_no_record_and_repeat_none(tmp_path):
    lines = write_log(tmp_path, 9000)
    log, state = tmp_path / "kdd.log", tmp_path / "feed.state"
    text = [line + b"\n" for line in lines]
    log.write_bytes(b"".join(text[:3000]))
    training = {"warm_up": {"records": 1000}, "every_records": None}
    config = write_config(tmp_path, source={"follow": True}, labels={"sample": 1.0}, training=training)

    def daemon(records):
        process = start("run", config, log=tmp_path / "log")
        wait_for(lambda: committed(state) >= records, process)
        return process

    def kill(process, when):
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        say(f"killed {when}, {committed(state):,} records committed")

    process = daemon(3000)
    with log.open("ab") as writer:
        log.rename(tmp_path / "kdd.log.1")
        writer.writelines(text[3000:3400])  # whoever wrote the log has not noticed yet
        writer.flush()
        kill(process, "between the rename and the new file")
        writer.writelines(text[3400:3500])
    log.write_bytes(b"".join(text[3500:6000]))
    process = daemon(6000)
    log.rename(tmp_path / "kdd.log.2")
    log.write_bytes(b"".join(text[6000:6200]) + text[6200][:40])
    wait_for(lambda: committed(state) > 6000, process)
    kill(process, "in the new file")
    with log.open("ab") as writer:
        writer.write(text[6200][40:] + b"".join(text[6201:]))
    process = daemon(9000)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0

    sizes = {"kdd.log": 3500, "kdd.log~1": 2500, "kdd.log~2": 3000}
    events = [event for (event,) in stored(state, "SELECT event_id FROM pool")]
    assert sorted(events) == sorted(
        f"{FEED}/{name}:{line}" for name, size in sizes.items() for line in range(1, size + 1)
    )
    assert committed(state) == 9000
