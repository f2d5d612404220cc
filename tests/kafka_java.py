"""What a broker of the tests is started from: its jars, free ports, and a java process that ends with pytest."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

POM = Path(__file__).parent / "pom.xml"
LIBS = Path(__file__).parent / ".kafka" / "libs"

NOT_OURS = "STREAMAD_KAFKA names a broker that is not ours to end, and this test needs one that is"

_STARTER = ThreadPoolExecutor(1)
"""The kernel ends a child with the thread that started it, so brokers are started from one that lives as long as
pytest; a test may then restart a broker from a thread of its own."""


def lacking(what: str) -> NoReturn:
    """Skip on a desk; fail in CI, where skips go unseen."""
    complain = pytest.fail if os.environ.get("CI") else pytest.skip
    complain(f"no Kafka broker: {what}")


def java() -> str:
    """The path of java: JAVA_HOME's, or the first one on PATH."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    return found or lacking(
        "java is missing: install a JDK, 17 or newer, or name a running broker in STREAMAD_KAFKA"
    )


def libs() -> Path:
    """The folder of the broker's jars: KAFKA_HOME's, else the cache, which Maven fills the first time."""
    if "STREAMAD_KAFKA" in os.environ:
        pytest.skip(NOT_OURS)
    home = os.environ.get("KAFKA_HOME")
    if home is None:
        return _fetched()
    if not [*Path(home, "libs").glob("kafka_2*.jar")]:
        lacking(f"there are no jars in {home}/libs, which KAFKA_HOME names")
    return Path(home, "libs")


def _fetched() -> Path:
    """The cached jars, each pom's own."""
    pom = POM.read_text(encoding="utf-8")
    kept = LIBS / POM.name
    if kept.is_file() and kept.read_text(encoding="utf-8") == pom:
        return LIBS
    fresh = LIBS.with_name(f"libs.{os.getpid()}")  # whole or not there, also when two sessions fetch at once
    _fetch(fresh)
    shutil.copy(POM, fresh)
    shutil.rmtree(LIBS, ignore_errors=True)
    fresh.rename(LIBS)
    return LIBS


def _fetch(folder: Path) -> None:
    """Copy what the pom names, and what that needs, into a folder."""
    if shutil.which("mvn") is None:
        lacking("mvn is missing, which fetches its jars: install Maven, or set KAFKA_HOME or STREAMAD_KAFKA")
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    done = subprocess.run(
        ["mvn", "-q", "-B", "-f", POM, *goal], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        lacking(f"Maven could not fetch its jars: {(done.stdout + done.stderr)[:500]}")


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, below the range that Linux takes for outgoing connections: a client that
    reconnects to a killed broker could else be given the broker's own port, and keep it.
    """
    held: list[socket.socket] = []
    while len(held) < count:
        taken = socket.socket()
        try:
            taken.bind(("127.0.0.1", random.randrange(10_000, 32_768)))
        except OSError:
            taken.close()
        else:
            held.append(taken)
    ports = [taken.getsockname()[1] for taken in held]
    for taken in held:
        taken.close()
    return ports


def launch(*arguments: str, log: Path, cpu: int | None) -> subprocess.Popen[bytes]:
    """Start java with what it says appended to a log; the kernel kills it when pytest is gone, however that ended."""
    pin = [] if cpu is None else ["taskset", "--cpu-list", str(cpu)]
    command = ["setpriv", "--pdeathsig", "KILL", *pin, java(), "-cp", f"{libs()}/*", *arguments]
    with log.open("ab") as out:
        return _STARTER.submit(
            subprocess.Popen,
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is pytest's: brokers are stopped in order by their fixtures
        ).result()
