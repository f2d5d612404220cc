"""When a training begins, where its files are, and what comes of it."""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import structlog

from streamad.errors import StateError, StoreError
from streamad.scoring.sound import read_sound
from streamad.training.process import CHAMPION
from streamad.training.trainer import Done, Failed, Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from streamad.state.artifacts import Artifact
    from streamad.training.options import TrainingOptions
    from streamad.training.snapshot import Snapshot

log = structlog.get_logger()


@dataclass(slots=True)
class Plan:
    """What the checkpoint keeps of training."""

    last_version: int = 0
    """The newest version that a training was begun for."""
    begun_at: int = 0
    """The record number at which it began."""
    label_position: int = 0
    """How many label changes it learned from."""
    under_way: bool = False
    failures: int = 0
    """Failed trainings in a row; each doubles the wait for the next."""


class Retraining:
    """At most one training at a time, each in a process of its own."""

    def __init__(self, options: TrainingOptions, artifacts: Path, jobs: Path) -> None:
        self._options, self._artifacts, self._jobs = options, artifacts, jobs
        self._trainer: Trainer | None = None
        self._reader = ThreadPoolExecutor(1, "artifact")  # so that no batch waits for it
        self._reading: Future[Artifact] | None = None
        self.plan = Plan()
        self.peak_rss_mb = 0.0
        """The largest trainer process so far."""
        self.seconds = 0.0
        """What trainings took so far, those that failed left out."""

    def state(self) -> dict[str, Any]:
        """The plan for the checkpoint."""
        return asdict(self.plan)

    def restore(self, state: dict[str, Any], last_version: int) -> None:
        """Take the plan of an earlier run; a training that was under way is redone from its snapshot.

        `last_version` is the highest number given so far, by ``fit`` too.
        """
        self.plan = Plan(**state)
        if not self.plan.under_way:
            self.plan.last_version = max(self.plan.last_version, last_version)
        if self.plan.under_way and not self._finished(self.plan.last_version):
            self._start(self.plan.last_version)

    def due(self, records: int, label_position: int, drifted_at: int = 0) -> bool:
        """Whether a training should begin after this many records and label changes, and a drift before a record."""
        plan, options = self.plan, self._options
        if plan.under_way:
            return False
        backoff = 2 ** min(plan.failures, 6)
        by_records = options.every_records and records - plan.begun_at >= options.every_records * backoff
        new_labels = label_position - plan.label_position
        by_labels = options.every_labels and new_labels >= options.every_labels * backoff
        return bool(by_records or by_labels or drifted_at > plan.begun_at)

    def begin(self, snapshot: Snapshot, records: int) -> None:
        """Write the snapshot and start the trainer on it.

        Raises `StoreError` where the disk refuses; the training then begins after a restart, at the same record.
        """
        version = snapshot.version
        job = self._jobs / name(version)
        # What an earlier run left under this number was never committed: its data may be other data.
        shutil.rmtree(self._artifacts / name(version), ignore_errors=True)
        shutil.rmtree(job, ignore_errors=True)
        try:
            job.mkdir()
            snapshot.save(job)
            self._set_champion(snapshot.parent, job)
        except OSError as error:
            raise StoreError(f"{job} cannot be written: {error.strerror or error}") from None
        self.plan = Plan(
            version, records, snapshot.label_position, under_way=True, failures=self.plan.failures
        )
        self._start(version)

    def _set_champion(self, parent: int | None, job: Path) -> None:
        """Copy the version in force: the trial needs it, whatever is removed meanwhile."""
        if parent is not None and self._options.promote == "better" and self._finished(parent):
            shutil.copytree(self._artifacts / name(parent), job / CHAMPION)

    def effective(self, records: int) -> bool:
        """Replay: whether the training under way takes effect before record number `records`."""
        return self.plan.under_way and records >= self.plan.begun_at + self._options.effect_after

    def outcome(self, timeout: float) -> Artifact | Failed | None:
        """The finished artifact, a failure, or None while the trainer is still at work after `timeout` s."""
        version = self.plan.last_version
        if not self._finished(version):
            assert self._trainer is not None
            result = self._trainer.wait(timeout)
            if result is None:
                return None
            if isinstance(result, Failed):
                return self._failed(result)
            self._keep(version, result)
        if self._reading is None:
            self._reading = self._reader.submit(read_sound, self._artifacts / name(version), version)
        try:
            artifact = self._reading.result(timeout)
        except TimeoutError:
            return None
        except StateError as error:
            return self._failed(Failed(str(error)))
        self.plan.under_way = False
        self._trainer = self._reading = None
        shutil.rmtree(self._jobs / name(version), ignore_errors=True)
        self.plan.failures = 0
        return artifact

    def drop(self) -> None:
        """Give up the training under way."""
        self.stop()
        self.plan.under_way = False
        shutil.rmtree(self._jobs / name(self.plan.last_version), ignore_errors=True)

    def stop(self) -> None:
        """Kill the trainer, leaving no child."""
        if self._trainer is not None:
            self._trainer.kill()
        self._trainer = self._reading = None

    def _start(self, version: int) -> None:
        log.info("training_started", version=version, at_record=self.plan.begun_at)
        self._trainer = Trainer(timeout=self._options.timeout)
        self._trainer.start(self._jobs / name(version))

    def _finished(self, version: int) -> bool:
        return (self._artifacts / name(version)).is_dir()

    def _keep(self, version: int, done: Done) -> None:
        self._artifacts.mkdir(exist_ok=True)
        done.path.rename(self._artifacts / name(version))
        self.peak_rss_mb = max(self.peak_rss_mb, done.peak_rss_mb)
        self.seconds += done.seconds
        log.info("training_done", version=version, seconds=round(done.seconds, 2))

    def _failed(self, failure: Failed) -> Failed:
        self.plan.under_way = False
        self.plan.failures += 1
        self._trainer = self._reading = None
        log.warning("training_failed", version=self.plan.last_version, reason=failure.reason)
        return failure


def name(version: int) -> str:
    """The folder of a version: sorts as numbers do."""
    return f"{version:06d}"
