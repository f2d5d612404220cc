"""What a cluster published, and the scores of its alerts' records by that: computed once more, apart."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.topics import Topics
from streamad_connectors.kafka.updates import KafkaUpdates

from streamad.job import Job
from streamad.learning.given import GivenLabels
from streamad.learning.labels import LabelBook
from streamad.ports import GivenLabel, Promoted
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.scoring.scorer import Scorer
from streamad.state.artifacts import read_artifact, write_files
from streamad.wiring.cluster import member


class Published(threading.Thread):
    """Keeps every promoted version and every label, in their orders."""

    def __init__(self, folder, broker, topics):
        super().__init__(daemon=True)
        names = Topics(**{name: topics.get(name, "") for name in Topics._fields})
        self._updates = KafkaUpdates(KafkaClient(brokers=broker.bootstrap), Path(), names)
        self._folder, self._over = folder / "versions", threading.Event()
        self.labels, self.versions = [], {}
        self._take()

    def _take(self):
        for news in self._updates.poll():
            if isinstance(news, GivenLabel):
                self.labels.append(news)
            elif isinstance(news, Promoted):
                directory = self._folder / f"{news.version}"
                write_files(directory, news.files)
                self.versions[news.version] = read_artifact(directory)

    def run(self):
        while not self._over.wait(0.1):
            self._take()

    def end(self):
        self._over.set()
        self.join()
        self._take()
        self._updates.close()


class Heads:
    """Scorers as they must be, by version and place in the labels' order."""

    def __init__(self, config, published):
        self._member = member(Job("run", config))
        self._published = published

    def mismatches(self, alerts):
        """The events of alerts whose score and probability are not those of the version and the labels that they name."""
        groups = defaultdict(list)
        for alert in alerts:
            groups[alert["version"], alert["labels_applied"]].append(alert)
        return [
            alert["event_id"]
            for pair, group in groups.items()
            for alert, expected in zip(group, self._expected(*pair, group), strict=True)
            if (alert["score"], alert["anomaly_probability"]) != expected
        ]

    def _expected(self, version, labels, alerts):
        decoder, scorer = self._scorer(version, labels)
        if scorer is None:
            return ["labels behind the version"] * len(alerts)
        numbers, codes, _ = decoder.decode_records([alert["record"] for alert in alerts])
        found = scorer.score(numbers, codes)
        probabilities = [None] * len(alerts) if found.probability is None else found.probability.tolist()
        return [
            (score, p and round(p, 6)) for score, p in zip(found.score.tolist(), probabilities, strict=True)
        ]

    def _scorer(self, version, labels):
        """None where the version was made with labels beyond these."""
        config, schema = self._member.config, self._member.config.schema_
        dictionary = Dictionary(schema.categories)
        decoder = Decoder(schema, self._member.source, dictionary)
        book = LabelBook(config.feed, decoder, None, config.training.window.labeled)
        scorer = Scorer(*self._published.versions[version], device="cpu", threads=1, reference_rows=1)
        nothing = np.empty((0, len(schema.categories)), np.int32)
        dictionary.rebuild(nothing, scorer.model.encoder.categories, config.features.min_count)
        scorer.bind(tuple(tuple(dictionary.values(field)) for field in range(len(schema.categories))))
        book.take(self._changes(labels), 0, None)
        book.adopt(scorer)
        return decoder, scorer if scorer.label_position <= book.position else None

    def _changes(self, labels):
        given = GivenLabels(self._member.config.feed)
        changes = (given.take(label) for label in self._published.labels if label.number < labels)
        return [change for change in changes if change is not None]
