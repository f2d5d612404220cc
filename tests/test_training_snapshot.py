from __future__ import annotations

import json

import numpy as np

from streamad.features.options import FeatureOptions
from streamad.models.options import DetectorOptions
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.records.schema import PayloadFormat, Schema
from streamad.training.snapshot import Snapshot

SCHEMA = Schema(fields={"bytes": "numeric", "service": "categorical", "flag": "categorical", "up": "boolean"})
RECORDS = [
    {"bytes": 1.5, "service": "http", "flag": "SF", "up": True},
    {"bytes": None, "service": "a\nb", "flag": "", "up": False},
    {"bytes": "much", "service": "never seen", "flag": None},
    {"bytes": 10**400, "service": {"nested": 1}, "flag": "REJ", "up": "1"},
]


def test_labeled_records_are_read_by_the_trainer_as_the_feed_would_read_them(tmp_path):
    dictionary = Dictionary(SCHEMA.categories)
    for field, value in enumerate(("http", "SF")):
        dictionary.code(field, value, 0, learn=True)
    dictionary.code(0, "a\nb", 1, learn=True)
    numbers, codes, _ = Decoder(SCHEMA, PayloadFormat(), dictionary).decode_records(RECORDS)
    Snapshot(
        numbers=numbers,
        codes=codes,
        records=np.arange(len(RECORDS)),
        values=tuple(tuple(dictionary.values(field)) for field in range(2)),
        labeled_numbers=np.empty((0, 2)),
        labeled_codes=np.empty((0, 2), np.int32),
        labeled_records="\n".join(map(json.dumps, RECORDS)),
        labeled_verdict=np.ones(len(RECORDS), np.int8),
        labeled_events=("a", "b", "c", "d"),
        label_position=4,
        schema=SCHEMA,
        features=FeatureOptions(),
        detector=DetectorOptions(),
        seed=1,
        version=1,
        parent=None,
        feed="feed",
        prior_rate=0.001,
    ).save(tmp_path)
    read = Snapshot.load(tmp_path)
    np.testing.assert_array_equal(read.labeled_numbers, numbers)
    np.testing.assert_array_equal(read.labeled_codes, codes)
    assert {*codes.flat} == {-1, 0, 1, 2}
