"""The isolation forest, which every sceptic tries first, on the features that the detectors see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import IsolationForest

from streamad.features.encoder import Encoder
from streamad.ports import End
from streamad.records.batch import Batch, Block
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamad.config import Config
    from streamad.ports import Source, SourceOptions


@dataclass(frozen=True, slots=True)
class Stream:
    """A bounded source, decoded and held in memory: n records in order."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]
    truth: NDArray[np.int8]
    """[n] 1 anomaly, 0 normal, -1 unknown."""
    values: tuple[tuple[str, ...], ...]
    """``values[field][code]``."""


def read_stream(config: Config, options: SourceOptions, source: Source) -> Stream:
    """Read a bounded source to its end."""
    schema = config.schema_
    dictionary = Dictionary(schema.categories)
    decoder = Decoder(schema, options, dictionary)
    batches: list[Batch] = []
    while not isinstance(got := source.poll(config.limits.batch_records, 1.0), End):
        if isinstance(got, Block):
            batches.append(decoder.decode(got, sum(map(len, batches))))
    return Stream(
        np.concatenate([batch.numbers for batch in batches]),
        np.concatenate([batch.codes for batch in batches]),
        np.concatenate([batch.truth for batch in batches]),
        tuple(tuple(dictionary.values(field)) for field in range(len(schema.categories))),
    )


def forest_scores(config: Config, stream: Stream, fitted: int, seed: int = 0) -> NDArray[np.float64]:
    """Anomaly scores [n] of scikit-learn's isolation forest (100 trees), higher = more anomalous.

    Encoder and forest are fitted on the first `fitted` records, without labels.
    """
    numbers, codes = stream.numbers[:fitted], stream.codes[:fitted]
    encoder = Encoder.fit(config.schema_, numbers, codes, stream.values, config.features)
    encoded = encoder.bind(stream.values).encode(stream.numbers, stream.codes)
    forest = IsolationForest(n_estimators=100, random_state=seed).fit(encoded[:fitted])
    scores: NDArray[np.float64] = -forest.score_samples(encoded)
    return scores
