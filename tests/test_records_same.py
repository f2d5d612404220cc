"""Two decoders, one meaning: the compiled decoder and the general one read every row alike."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from records_same import properties

from streamad.records import compiled

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")


@pytest.mark.parametrize("prop", properties(300), ids=lambda prop: prop.__name__)
def test_both_decoders_read_random_and_mutated_rows_alike(prop):
    prop()


def test_the_kernels_stay_within_their_arrays(tmp_path):
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    program = Path(__file__).with_name("records_same.py")
    done = subprocess.run(
        [sys.executable, str(program), "60"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
