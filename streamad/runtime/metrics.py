"""A process in numbers, as Prometheus reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from streamad.runtime.health import Status
    from streamad.runtime.watch import Watch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Read = Callable[["Status", float], Any]
"""(status, now in seconds of `time.monotonic`) -> a number, numbers by the value of a label, or None for nothing"""


class Metric(NamedTuple):
    """One name, with what it means to people. A name in ``_total`` is a counter."""

    name: str
    text: str
    read: Read
    label: str | None = None


def _at(*path: str, scale: float = 1.0) -> Read:
    def read(status: Status, _now: float) -> Any:  # noqa: ANN401  # as the status has it
        found = _found(status, path)
        return found if found is None or isinstance(found, Mapping) else found * scale

    return read


def _since(*path: str) -> Read:
    def read(status: Status, now: float) -> float | None:
        moment = _found(status, path)
        return None if moment is None else now - moment

    return read


def _found(status: Status, path: tuple[str, ...]) -> Any:  # noqa: ANN401  # as the status has it
    return reduce(lambda tree, key: tree.get(key, {}), path[:-1], status).get(path[-1])


def _outcomes(status: Status, _now: float) -> dict[str, int] | None:
    return {name: status[name] for name in ("scored", "rejected")} if "scored" in status else None


_COMMITTED = (
    Metric("streamad_records_total", "Records committed, by what became of them.", _outcomes, "outcome"),
    Metric("streamad_records_in_flight", "Records scored and not yet committed.", _at("in_flight")),
    Metric("streamad_alerts_total", "Alerts committed.", _at("alerts")),
    Metric("streamad_alerts_muted_total", "Alerts committed that are muted.", _at("muted")),
    Metric("streamad_transactions_total", "Commits made since the start.", _at("sink", "transactions")),
    Metric("streamad_transactions_aborted_total", "Commits rolled back since the start.", _at("sink", "aborted")),
    Metric("streamad_commit_seconds", "What the last commit took.", _at("sink", "last_ms", scale=1e-3)),
    Metric("streamad_commit_age_seconds", "Time since the last commit.", _since("sink", "committed_at")),
)  # fmt: skip
"""Of who commits what it scores, as all do but a cluster's trainer."""

_READ = (
    Metric("streamad_trainer_records_total", "Records the trainer read, by what became of them.", _outcomes, "outcome"),
)  # fmt: skip
"""Of a cluster's trainer, in their place."""

_OF_ALL = (
    Metric("streamad_records_held", "Records held back until there is a model.", _at("held")),
    Metric("streamad_model_version", "The version that scores.", _at("version")),
    Metric("streamad_threshold", "The p-value under which a record is an alert.", _at("threshold")),
    Metric("streamad_labels", "Labels in force, and those that wait for their record.", _at("labels"), "verdict"),
    Metric("streamad_labels_applied_total", "Changes of labels applied.", _at("labels_applied")),
    Metric("streamad_poll_age_seconds", "Time since the source was last asked.", _since("source", "polled_at")),
    Metric("streamad_lag_records", "Records known to lie behind the last commit.", _at("source", "lag"), "partition"),
    Metric("streamad_drift_alarms_total", "Drifts of the feed, by field.", _at("drift", "alarms"), "field"),
    Metric("streamad_training", "1 while a training is under way.", _at("training")),
    Metric("streamad_failed_trainings", "Trainings that failed since the last good one.", _at("failed_trainings")),
    Metric("streamad_training_seconds_total", "What good trainings took since the start.", _at("training_seconds")),
)  # fmt: skip

METRICS = (*_COMMITTED, *_READ, *_OF_ALL)
"""Those of which the status of a process says nothing are left out."""


class Exposition:
    """Everything there is to say of a watched process."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """In format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """For the registry."""
        verdict, status, now = self._watch.verdict, self._watch.status or {}, time.monotonic()
        yield GaugeMetricFamily("streamad_healthy", "Whether /healthz answers 200.", not verdict.red)
        yield GaugeMetricFamily("streamad_ready", "Whether /readyz answers 200.", not verdict.unready)
        for metric in (*(_READ if status.get("trainer") else _COMMITTED), *_OF_ALL):
            found = metric.read(status, now)
            if found is not None:
                yield _family(metric, found)


def _family(metric: Metric, found: Any) -> CounterMetricFamily | GaugeMetricFamily:  # noqa: ANN401  # see `Read`
    make = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
    family = make(metric.name, metric.text, labels=[metric.label] if metric.label else [])
    for value, number in (found if metric.label else {"": found}).items():
        family.add_metric([value] if metric.label else [], number)
    return family
