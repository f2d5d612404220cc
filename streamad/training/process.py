"""The trainer process: ``python -m streamad.training.process JOB_DIR``.

Reads the snapshot in JOB_DIR, fits, compares the result with the version in force where it is asked to, writes
``JOB_DIR/artifact``, and tells about it in NDJSON on stdout:
``{"epoch": 1, …}`` lines while it goes on, then ``{"done": …}`` with exit code 0, or ``{"error": …}`` with 1.
It ends at once when its stdin ends, which it does when the parent dies, however it dies.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

ARTIFACT = "artifact"
"""Where in the job's directory the result appears, complete or not at all."""
CHAMPION = "champion"
"""Where in it the version in force lies, if the result is to be compared with it."""
PRIORITY = 10
"""How much nicer than scoring training is."""


def main(job: Path) -> int:
    """Do the job; returns the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(PRIORITY)
    started = time.monotonic()
    try:
        imported = _work(job, started)
    except Exception as error:  # noqa: BLE001  # the parent counts every failure alike, by its sentence
        _say({"error": _sentence(error), "world": _is_of_the_world(error)})
        return 1
    seconds = time.monotonic() - started
    _say({"done": 1, "import_seconds": imported, "seconds": seconds, "peak_rss_mb": peak_rss_mb()})
    return 0


def peak_rss_mb() -> float:
    """The most memory that this process has held.

    From /proc, since what getrusage says of a process includes its parent at the moment of the start.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _work(job: Path, started: float) -> float:
    """Fit the snapshot and write the artifact; returns the seconds that importing took."""
    # torch takes a second to import: until then the parent's death must already be noticed
    import torch  # noqa: PLC0415

    from streamad.state.artifacts import read_artifact, write_artifact  # noqa: PLC0415
    from streamad.training.fit import fit  # noqa: PLC0415
    from streamad.training.snapshot import Snapshot  # noqa: PLC0415
    from streamad.training.trial import on_trial  # noqa: PLC0415

    torch.set_num_threads(1)
    imported = time.monotonic() - started
    snapshot = Snapshot.load(job)
    manifest, tensors = fit(snapshot, _say)
    if (job / CHAMPION).is_dir():
        trial = on_trial(read_artifact(job / CHAMPION), (manifest, tensors), snapshot)
        manifest["trial"] = asdict(trial)
    write_artifact(job / ARTIFACT, manifest, tensors)
    return imported


def _sentence(error: Exception) -> str:
    """Our own errors speak for themselves; others need their name."""
    from streamad.errors import StreamadError  # noqa: PLC0415  # not before the parent is watched

    return str(error) if isinstance(error, StreamadError) else f"{type(error).__name__}: {error}"


def _is_of_the_world(error: Exception) -> bool:
    """Whether the same training may go well another time, as when the disk is full."""
    from streamad.errors import StoreError  # noqa: PLC0415  # as above

    return isinstance(error, OSError | StoreError)


def _say(line: Mapping[str, float | str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    """Wait for the end of stdin, then end without ceremony: whatever is half written is only a temporary."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
