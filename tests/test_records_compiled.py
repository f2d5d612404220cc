"""The kernels' cache: private, per version of the sources, or none at all."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys

import pytest

from streamad.records import compiled

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")


def test_the_cache_is_closed_to_others(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compiled._cache_folder()
    assert folder is not None
    assert folder.parent == tmp_path / "streamad" / "numba"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)] == [0o700, 0o700]


def test_an_open_cache_is_closed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "streamad" / "numba").mkdir(parents=True, mode=0o777)
    (tmp_path / "streamad" / "numba").chmod(0o777)
    folder = compiled._cache_folder()
    assert folder is not None
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_link_in_place_of_the_cache_is_not_followed(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "streamad").mkdir()
    (tmp_path / "streamad" / "numba").symlink_to(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert compiled._cache_folder() is None
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "compiled kernels are not kept between runs"
    ]


def test_without_a_writable_place_the_kernels_work_uncached(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    program = "from streamad.records.kernels import is_blank; print(is_blank(32), is_blank.stats.cache_path)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True None\n"
    assert done.stderr.count("compiled kernels are not kept between runs") == 1


def test_the_next_process_finds_the_compiled_kernels(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    program = (
        "from streamad.records.kernels import is_blank as k; k(32); print(sum(k.stats.cache_hits.values()))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment | {"XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert said == ["0\n", "1\n"]


def test_importing_the_decoder_imports_no_numba():
    program = "import sys, streamad.records.decoder; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
