"""Every detector in a replay: fitted, given labels, trained again with them, and telling its reasons."""

from __future__ import annotations

import numpy as np
import pytest
from detectors_help import DETECTORS
from engines import engine, scored
from feeds import merged, stored, stored_alerts, write_labels, write_log
from inputs_help import feed  # noqa: F401  # a fixture
from streamad_connectors.memory import Records

from streamad.learning.label_file import give_labels
from streamad.models.base import find_detector
from streamad.records.kdd import KDD_FIELDS

RECORDS = 4000
TRAINING = {"warm_up": {"records": 1024}, "every_records": 1024, "every_labels": None, "effect_after": 512}
FOR_FEEDS = tuple(name for name in DETECTORS if find_detector(name).FEEDS)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("lines"), RECORDS, share=0.2)


def replay(folder, lines, name):
    """Every score, alert and version of a replay in which analysts label 40 of the first 2,000 records."""
    labels = write_labels(folder, lines[:2000], 40, first=1024, position=lambda row: f"p:{row}")
    changes = {
        "detector": {"name": name, "min_steps": 30},
        "features": {"scaling": find_detector(name).SCALING or "robust"},
        "labels": {"delay": 0},
    }
    with engine(folder, [Records("p", lines)], scores=True, training=TRAINING, **changes) as live:
        give_labels(live.store, labels)
        live.engine.run()
        assert live.engine.finished
        return scored(live, folder), stored_alerts(folder / "state"), live.feed.book.position


@pytest.mark.parametrize("name", FOR_FEEDS)
def test_every_detector_scores_a_feed_learns_from_labels_and_gives_reasons(tmp_path, lines, name):
    scores, alerts, position = replay(tmp_path, lines, name)
    assert len(scores) == RECORDS
    assert position == 40
    assert np.isfinite(scores["score"].to_numpy()).all()
    assert len(np.unique(scores["score"].to_numpy())) > RECORDS / 2
    versions = stored(tmp_path / "state", "SELECT number, status FROM versions ORDER BY number")
    assert [status for _, status in versions] == ["retired", "retired", "retired", "active"]
    assert {alert["detector"] for alert in alerts} == {name, f"{name}+uai"}
    for alert in alerts:
        shares = [reason["share"] for reason in alert["reasons"]]
        assert 1 <= len(shares) <= 3
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1.001
        assert {reason["field"] for reason in alert["reasons"]} <= set(KDD_FIELDS)


REFUSED = [
    (
        {"detector": {"name": "ae_sad"}},
        "net.yaml: features.scaling: found 'robust'; expected minmax, since the detector ae_sad reads nothing else",
    ),
    ({"detector": {"name": "classifier"}}, "detector.name: classifier is for tables, not for feeds"),
    (
        {"detector": {"name": "deep_sad", "settings": {"nu": 0.1}}},
        "detector.settings: deep_sad has no setting 'nu' (it has: eta, norm, pretraining)",
    ),
    (
        {"detector": {"name": "mml_vae", "settings": {"beta_cubo": 0.7}}},
        "detector.settings: beta_cubo is 0.7, but outliers are pushed away only between 0 and 0.5",
    ),
    (
        {"detector": {"settings": {"alpha": float("nan")}}},
        "net.yaml: detector.settings.alpha: found nan; expected a finite number",
    ),
    (
        {"detector": {"settings": {"alpha": "lots"}}},
        "net.yaml: detector.settings.alpha: found 'lots'; expected a valid number",
    ),
]


@pytest.mark.parametrize(("sections", "sentence"), REFUSED)
@pytest.mark.parametrize("command", ["replay", "run", "fit"])
def test_what_a_detector_cannot_work_with_is_refused_at_once(feed, command, sections, sentence):  # noqa: F811
    feed.write(**merged(feed.tree, sections))
    assert feed.refused(command=command) == sentence
    assert not feed.state.exists()


def test_minmax_scaling_lets_ae_sad_run(feed):  # noqa: F811
    feed.write(
        **merged(
            feed.tree, {"detector": {"name": "ae_sad", "min_steps": 10}, "features": {"scaling": "minmax"}}
        )
    )
    feed.call("replay")
