"""The generator's traffic: reproducible, hard for an unlabeled detector, learnable from labels."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest
from sklearn.metrics import average_precision_score
from streamad_connectors.synthetic import generate_lines
from streamad_connectors.traffic import ATTACKS, CHUNK

from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_FIELDS, KDD_LABEL


def frame(seed, start, count, **options):
    text = generate_lines(seed, start, count, **options)
    return pl.read_csv(text, has_header=False, new_columns=list(KDD_FIELDS), infer_schema_length=None)


def encoded(records):
    numbers = records.drop(*KDD_CATEGORICAL, KDD_LABEL).cast(pl.Float64).to_numpy()
    return np.hstack([np.log1p(numbers), records.select(KDD_CATEGORICAL).to_dummies().to_numpy()])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    assert generate_lines(7, 0, 5000) == generate_lines(7, 0, 5000)
    assert generate_lines(7, 0, 5000) != generate_lines(8, 0, 5000)


@pytest.mark.parametrize("cut", [1, CHUNK - 1, CHUNK, CHUNK + 1, 9000])
def test_a_stream_cut_anywhere_is_the_same_stream(cut):
    whole = generate_lines(3, 100, 10_000)
    assert generate_lines(3, 100, cut) + generate_lines(3, 100 + cut, 10_000 - cut) == whole


def test_every_line_has_the_fields_of_kdd_in_their_ranges():
    records = frame(1, 0, 20_000)
    assert records.shape == (20_000, 42)
    rates = records.select(name for name in KDD_FIELDS if name.endswith("_rate"))
    assert rates.min_horizontal().min() == 0.0
    assert rates.max_horizontal().max() == 1.0
    assert records.select(KDD_BOOLEAN).to_numpy().max() == 1
    assert records.select("count", "srv_count").to_numpy().max() <= 511
    assert records.drop(*KDD_CATEGORICAL, KDD_LABEL).to_numpy().min() == 0
    assert set(records["protocol_type"]) == {"tcp", "udp", "icmp"}
    assert records[KDD_LABEL].str.ends_with(".").all()


def test_byte_counts_span_many_decades():
    sent = frame(1, 0, 100_000)["src_bytes"]
    assert sent.min() == 0
    assert sent.max() > 1e7
    assert 100 < sent.median() < 1000


def test_new_families_appear_at_their_record_and_not_before():
    labels = frame(5, 0, 260_000)[KDD_LABEL]
    seen = {family.label: labels.index_of(family.label) for family in ATTACKS}
    assert None not in seen.values()
    assert seen["icmpworm."] >= 60_000
    assert seen["dnstunnel."] >= 150_000
    assert max(seen[name] for name in seen if name not in {"icmpworm.", "dnstunnel."}) < 120_000


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_the_share_of_attacks_is_about_what_was_asked_for(share):
    found = (frame(2, 150_000, 150_000, anomaly_share=share)[KDD_LABEL] != "normal.").mean()
    assert found == pytest.approx(share, rel=0.25)


def test_attacks_come_in_bursts():
    flood = (frame(1, 0, 100_000)[KDD_LABEL] == "neptune.").to_numpy()
    after_another = flood[1:][flood[:-1]].mean()
    assert after_another > 10 * flood.mean()


def test_drift_moves_the_mix_of_services_and_its_absence_leaves_only_the_hour_of_the_day():
    def moved(*, drift):
        early, late = (
            frame(4, start, 50_000, drift=drift, anomaly_share=0)["service"] for start in (0, 200_000)
        )
        shares = [part.value_counts(normalize=True) for part in (early, late)]
        both = shares[0].join(shares[1], on="service", how="full", coalesce=True).fill_null(0)
        return (both["proportion"] - both["proportion_right"]).abs().sum()

    assert moved(drift=True) > 2 * moved(drift=False)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_isolation_forest_finds_some_of_it_and_labels_find_nearly_all(seed):
    records = frame(seed, 0, 75_000)
    features, truth = encoded(records), (records[KDD_LABEL] != "normal.").to_numpy()
    forest = IsolationForest(n_estimators=100, random_state=0).fit(features[:15_000])
    scores = -forest.score_samples(features[15_000:])
    assert 0.2 < average_precision_score(truth[15_000:], scores) < 0.7

    rows = np.random.default_rng(0).permutation(len(truth))
    learn, test = rows[:25_000], rows[25_000:50_000]
    trees = ExtraTreesClassifier(40, random_state=0).fit(features[learn], truth[learn])
    assert average_precision_score(truth[test], trees.predict_proba(features[test])[:, 1]) > 0.9


def test_it_is_made_faster_than_the_engine_reads():
    generate_lines(1, 0, 1)
    began = time.process_time()
    generate_lines(1, 0, 100_000)
    assert 100_000 / (time.process_time() - began) > 150_000
