"""The real KDDCUP99 file, read by both decoders."""

from __future__ import annotations

import gzip
import itertools

from records_help import block, both
from records_same import meaning

from streamad.records import compiled
from streamad.records.schema import PayloadFormat, Schema

WORDS = {1: "categorical", 2: "categorical", 3: "categorical", 6: "boolean", 11: "boolean", 41: "label"}
SCHEMA = Schema(fields={f"f{column}": WORDS.get(column, "numeric") for column in range(42)})


def test_the_kdd_file_takes_the_fast_way_and_reads_the_same(kdd_path):
    with gzip.open(kdd_path) as lines:
        rows = [line.rstrip(b"\r\n") for line in itertools.islice(lines, 20_000)]
    fast, slow = both(PayloadFormat(format="kdd"), SCHEMA)
    read = fast.decode(block(rows), 0), slow.decode(block(rows), 0)
    assert meaning(fast, read[0]) == meaning(slow, read[1])
    assert read[0].rejections == {}
    assert set(read[0].truth.tolist()) == {0, 1}
    assert not compiled.AVAILABLE or read[0].fast_rows >= 0.99 * len(rows)
