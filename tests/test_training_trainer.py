from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from streamad.features.options import FeatureOptions
from streamad.models.options import DetectorOptions
from streamad.records.schema import Schema
from streamad.state.artifacts import read_artifact
from streamad.training.fit import fit
from streamad.training.snapshot import Snapshot
from streamad.training.trainer import Done, Failed, Trainer


def job(tmp_path, rows=200, epochs=1):
    generator = np.random.default_rng(0)
    shot = Snapshot(
        numbers=generator.normal(size=(rows, 2)),
        codes=np.empty((rows, 0), np.int32),
        records=np.arange(rows),
        values=(),
        labeled_numbers=np.empty((0, 2)),
        labeled_codes=np.empty((0, 0), np.int32),
        labeled_verdict=np.empty(0, np.int8),
        labeled_events=(),
        label_position=0,
        schema=Schema(fields={"a": "numeric", "b": "numeric"}),
        features=FeatureOptions(),
        detector=DetectorOptions(members=2, hidden=(4,), latent=2, epochs=epochs, batch=8),
        seed=1,
        version=1,
        parent=None,
        feed="feed",
        prior_rate=0.001,
    )
    shot.save(tmp_path)
    return shot


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Put a module of one line in the place of the real child."""

    def write(code):
        (tmp_path / "stand_in.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return Trainer(timeout=60.0, module="stand_in")

    return write


def gone(pid):
    """Whether no such process is left, not even as a zombie of somebody else's."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_training_in_the_child_gives_the_artifact_that_a_fit_here_gives(tmp_path):
    shot = job(tmp_path)
    trainer = Trainer(timeout=120.0)
    trainer.start(tmp_path)
    assert trainer.busy
    done = trainer.wait()
    assert isinstance(done, Done), done
    assert done.path == tmp_path / "artifact"
    assert 0 < done.import_seconds < done.seconds
    assert 50 < done.peak_rss_mb < 2000
    manifest, tensors = read_artifact(done.path)
    expected, expected_tensors = fit(shot)
    assert {key: manifest[key] for key in expected} == expected
    assert all(tensors[key].tobytes() == tensor.tobytes() for key, tensor in expected_tensors.items())
    assert (trainer.busy, trainer.poll(), trainer.wait()) == (False, None, None)


def test_a_training_that_cannot_be_done_fails_with_its_reason(tmp_path):
    job(tmp_path, rows=0)
    trainer = Trainer(timeout=120.0)
    trainer.start(tmp_path)
    outcome = trainer.wait()
    assert isinstance(outcome, Failed)
    assert outcome.reason == "the window holds no records to train on"
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit(7)", "the trainer process ended with exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", "the trainer process was killed by signal 9"),
        ("print('not json')", "the trainer process ended with exit code 0"),
        ("print('{\"done\": 1}')", "the trainer process ended with exit code 0"),
        ('print(\'{"error": "out of luck"}\'); exit(1)', "out of luck"),
    ],
)
def test_a_crash_is_a_failure_with_one_sentence(tmp_path, child, code, reason):
    trainer = child(code)
    trainer.start(tmp_path)
    outcome = trainer.wait()
    assert isinstance(outcome, Failed)
    assert outcome.reason == reason


def test_a_child_that_hangs_is_killed_after_the_timeout(tmp_path, child):
    trainer = child("import time; time.sleep(1000)")
    trainer.timeout = 0.5
    trainer.start(tmp_path)
    pid = trainer._job.process.pid
    outcome = trainer.wait()
    assert isinstance(outcome, Failed)
    assert outcome.reason == "the training took longer than 0.5 seconds"
    assert not Path(f"/proc/{pid}").exists()


def test_a_hung_child_is_found_by_poll_as_well(tmp_path, child):
    now = [0.0]
    trainer = child("import time; time.sleep(1000)")
    trainer.clock = lambda: now[0]
    trainer.start(tmp_path)
    assert trainer.poll() is None
    now[0] = 61.0
    assert isinstance(trainer.poll(), Failed)
    assert not trainer.busy


def test_waiting_a_little_gives_nothing_while_the_training_goes_on(tmp_path, child):
    trainer = child("import time; time.sleep(1000)")
    trainer.start(tmp_path)
    assert trainer.wait(0.01) is None
    assert trainer.busy
    trainer.kill()


def test_a_killed_trainer_leaves_no_child_and_can_start_another(tmp_path, child):
    trainer = child("import time; time.sleep(1000)")
    for _ in range(2):
        trainer.start(tmp_path)
        with pytest.raises(RuntimeError, match="already running"):
            trainer.start(tmp_path)
        pid = trainer._job.process.pid
        trainer.kill()
        assert not Path(f"/proc/{pid}").exists()
    trainer.kill()


def test_progress_is_the_last_line_that_the_child_said(tmp_path, child):
    trainer = child(
        "import time; print('{\"epoch\": 1}'); print('{\"epoch\": 2}', flush=True); time.sleep(1000)"
    )
    assert trainer.progress == {}
    trainer.start(tmp_path)
    deadline = time.monotonic() + 20
    while trainer.progress != {"epoch": 2}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    trainer.kill()


def test_the_death_of_the_parent_ends_the_child_within_five_seconds(tmp_path):
    job(tmp_path, rows=2000, epochs=100_000)
    code = (
        "import sys, time; from pathlib import Path; from streamad.training.trainer import Trainer\n"
        f"t = Trainer(timeout=600); t.start(Path({str(tmp_path)!r})); print(t._job.process.pid, flush=True)\n"
        "while not t.progress: time.sleep(0.05)\n"
        "print('training', flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == b"training\n"
        assert not gone(pid)
        assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
        parent.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 5
        while not gone(pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def test_the_trainer_process_imports_neither_polars_nor_numba_nor_scikit_learn():
    code = (
        "import json, sys; import streamad.training.process, streamad.training.fit, streamad.state.artifacts\n"
        "print(json.dumps(sorted({'polars', 'numba', 'sklearn'} & set(sys.modules))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(found.stdout) == []


def test_starting_a_trainer_needs_no_torch():
    code = "import sys, streamad.training.trainer, streamad.training.snapshot; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert found.stdout == b"False\n"
