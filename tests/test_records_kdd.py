"""The real KDDCUP99 file, read by both decoders."""

from __future__ import annotations

import gzip
import itertools
import json

from records_help import block, both
from records_same import meaning

from streamad.records import compiled
from streamad.records.kdd import KDD_FIELDS, kdd_object
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


def test_a_line_as_an_object_has_numbers_where_the_format_has_them():
    line = b"0,tcp,http,SF,181,5450" + b",0.25" * 35 + b",normal.\n"
    found = json.loads(kdd_object(line))
    expected = dict.fromkeys(KDD_FIELDS, 0.25) | {
        "duration": 0, "protocol_type": "tcp", "service": "http", "flag": "SF", "src_bytes": 181, "dst_bytes": 5450,
        "label": "normal.",
    }  # fmt: skip
    assert found == expected
    assert isinstance(found["src_bytes"], int)
