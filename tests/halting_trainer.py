"""The trainer process, but that of version $HALT_VERSION stops for ever behind the artifact's first file."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from streamad.state import artifacts
from streamad.training import process

_write = artifacts._write_file
_job = Path(sys.argv[1])


def _write_and_halt(path, data):
    _write(path, data)
    if _job.name == f"{int(os.environ['HALT_VERSION']):06d}":
        (_job / "halted").touch()
        time.sleep(600)


if __name__ == "__main__":
    artifacts._write_file = _write_and_halt
    sys.exit(process.main(_job))
