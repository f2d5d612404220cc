"""What a sample is recognised as."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import polars as pl
import pytest
import zstandard

from streamad.errors import InputError
from streamad.records.batch import MISSING_TIME, Block
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.records.infer import infer
from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_FIELDS
from streamad.records.sample import SAMPLE_LINES, read_sample, sample_of, sample_stream
from streamad.records.schema import PayloadFormat
from streamad.records.template import config_text

ROWS = [(f"host{k % 4}", k * 1.5 - 3, "yes" if k % 3 else "no") for k in range(40)]
WORDS = {"host": "categorical", "load": "numeric", "up": "boolean"}


def csv(delimiter=",", end="\n", header="host,load,up"):
    lines = [header.replace(",", delimiter)] if header else []
    lines += [delimiter.join(map(str, row)) for row in ROWS]
    return (end.join(lines) + end).encode()


def read(data):
    return infer(sample_of(data, "sample"))


def read_file(path, data):
    path.write_bytes(data)
    return infer(read_sample(path))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_header_and_the_delimiter_are_found(delimiter):
    found = read(csv(delimiter))
    assert found.payload == PayloadFormat(format="csv", header=True, delimiter=delimiter)
    assert found.schema.fields == WORDS
    assert (found.rows, found.unreadable) == (40, 0)


def test_decimal_commas_do_not_hide_the_delimiter():
    rows = "".join(f"{k % 3};{k % 7},5\n" for k in range(60))
    found = read(b"room;heat\n" + rows.encode())
    assert (found.payload.delimiter, tuple(found.schema.fields)) == (";", ("room", "heat"))


def test_a_file_without_header_gets_numbered_columns():
    found = read(csv(header=""))
    assert found.payload == PayloadFormat(format="csv", header=False)
    assert found.schema.fields == {
        "column_1": "categorical",
        "column_2": "numeric",
        "column_3": "boolean",
    }
    assert found.rows == 40


def test_byte_order_mark_crlf_blanks_and_quotes_are_everyday():
    found = read(b"\xef\xbb\xbf" + csv(end="\r\n", header='"host", load , "up"'))
    assert found.schema.fields == WORDS
    assert found.unreadable == 0


def test_a_quoted_field_may_hold_delimiters_and_newlines():
    rows = "".join(f'"a, b\nc{k % 2}",{k + 0.5}\n' for k in range(40))
    found = read(b"text,value\n" + rows.encode())
    assert found.schema.fields == {"text": "categorical", "value": "numeric"}
    assert (found.rows, found.unreadable) == (40, 0)


def test_a_header_over_nothing_but_text_is_a_header():
    found = read(b"colour,shape\n" + b"red,round\nblue,square\n" * 20)
    assert found.payload.header
    assert tuple(found.schema.fields) == ("colour", "shape")


def test_a_file_of_nothing_but_text_without_header_has_none():
    found = read(b"red,round\nblue,square\n" * 20)
    assert not found.payload.header
    assert found.rows == 40


def test_nested_json_is_flattened_with_dots():
    lines = [
        json.dumps({"src": {"ip": f"10.0.0.{k % 5}", "port": 1.5 * k}, "ok": k % 2 == 0}) for k in range(40)
    ]
    found = read("\n".join(lines).encode())
    assert found.payload.format == "ndjson"
    assert found.schema.fields == {"src.ip": "categorical", "src.port": "numeric", "ok": "boolean"}


def test_json_fields_that_come_late_are_found():
    lines = [json.dumps({"a": k / 2} | ({"b": "x"} if k > 30 else {})) for k in range(40)]
    assert read("\n".join(lines).encode()).schema.fields == {"a": "numeric", "b": "categorical"}


def test_parquet_reads_like_its_rows_as_json(tmp_path):
    frame = pl.DataFrame(ROWS, schema=["host", "load", "up"], orient="row")
    frame = frame.with_columns(pl.col("up") == "yes", pl.struct(x=pl.col("load")).alias("deep"))
    frame.write_parquet(tmp_path / "t.parquet")
    found = infer(read_sample(tmp_path / "t.parquet"))
    assert found.payload.format == "parquet"
    assert found.schema.fields == {**WORDS, "deep.x": "numeric"}


def test_binary_values_in_parquet_structs_and_lists_do_not_stop_the_sample(tmp_path):
    rows = [{"raw": b"\xff", "x": k / 2, "all": [b"\x01", None]} for k in range(40)]
    pl.DataFrame({"s": rows}).write_parquet(tmp_path / "t.parquet")
    sample = read_sample(tmp_path / "t.parquet")
    assert json.loads(sample.lines[1]) == {"s": {"raw": "ff", "x": 0.5, "all": ["01", None]}}


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_files_are_told_by_their_first_bytes(tmp_path, pack):
    found = read_file(tmp_path / "packed", pack(csv()))
    assert found.schema.fields == WORDS


def test_standard_input_is_read_no_further_than_the_sample():
    stream = io.BytesIO(csv() * 10_000)
    sample = sample_stream(stream)
    assert len(sample.lines) == SAMPLE_LINES
    assert 0 < stream.tell() < 2_000_000


def test_a_few_bad_rows_change_nothing():
    data = csv() * 3 + b"too,many,fields,here\nx\n"
    data = data.replace(b"\nhost,load,up\n", b"\n")
    found = read(data)
    assert found.schema.fields == WORDS
    assert (found.rows, found.unreadable) == (120, 2)


def test_kdd_is_told_by_its_columns():
    row = b"0,tcp,http,SF," + b",".join([b"1"] * 37) + b",normal.\n"
    found = read(row * 50)
    assert found.payload == PayloadFormat(format="kdd")
    assert tuple(found.schema.fields) == KDD_FIELDS
    assert read(row.replace(b"tcp", b"xyz") * 50).payload.format == "csv"


def test_the_real_kddcup99_file_is_read_as_its_format(kdd_path):
    found = infer(read_sample(kdd_path))
    assert found.payload.format == "kdd"
    assert found.schema.names("categorical") == KDD_CATEGORICAL
    assert found.schema.names("boolean") == KDD_BOOLEAN
    assert found.schema.label == "label"
    assert len(found.schema.names("numeric")) == 33
    assert (found.rows, found.unreadable) == (SAMPLE_LINES, 0)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\x00\x01\x02" * 50, "holds NUL bytes"),
        (bytes(range(128, 256)) * 20, "is binary"),
        (b"\x1f\x8bnonsense that is no gzip stream", "is damaged"),
        (b"\x28\xb5\x2f\xfdnonsense", "is damaged"),
        (gzip.compress(csv() * 1000, mtime=0)[:-300], "is damaged"),
        (b"PAR1 and nothing more", "is a damaged Parquet file"),
        (b"[\n{}\n]", "is a JSON array"),
        (
            b'{"x": {"y": 1}, "x.y": 5}\n' * 10,
            "in 10 of its first 10 lines a key occurs twice .*'x.y' occurs",
        ),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "1 of its first 1 lines cannot be read .nested deeper than 32"),
        (b"{ not json\n" * 10, "only 0 of its first 10 lines are JSON objects"),
        (
            b"Dear reader,\nthis is a letter.\nIt has, now and then, a comma.\nYours\n",
            "no table that streamad knows",
        ),
        (b"#separator \\x09\n#fields\tts\n1.5\tx\n", "is a Zeek log"),
        (b"a,b,c\n", "holds a header and no record"),
        (b"id,label\n" + b"".join(b"u%d,normal\n" % k for k in range(50)), "no column looks like a feature"),
        (b"x" * 300 + b",b\n" + b"1,2\n" * 9, "longer than 256 characters"),
        (b"x" * (9 << 20), "no line end in its first 8 MiB"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, data, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read_file(tmp_path / "feed", data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("feed")


def test_a_missing_file_and_a_directory_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_sample(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="is a directory"):
        read_sample(tmp_path)


def test_kdd_columns_under_a_header_are_csv():
    row = b"0,tcp,http,SF," + b",".join([b"1"] * 37) + b",normal.\n"
    found = read(",".join(KDD_FIELDS).encode() + b"\n" + row * 200)
    assert found.payload == PayloadFormat(format="csv", header=True)
    assert tuple(found.schema.fields) == KDD_FIELDS


FEEDS = {
    "csv": csv(";"),
    "kdd": b"0,tcp,http,SF," + b",".join([b"1"] * 37) + b",normal.\n",
    "ndjson": b'{"t": 1767225600.5, "a": {"b": "x"}, "ok": true}\n{"t": 1767225601, "a": {"b": "y"}, "ok": false}\n',
}


@pytest.mark.parametrize("data", FEEDS.values(), ids=FEEDS)
def test_the_decoder_accepts_what_was_inferred(data):
    found = read(data)
    sample = sample_of(data, "sample")
    columns = None
    if found.payload.header and found.payload.format == "csv":
        columns = tuple(sample.lines.pop(0).decode().split(found.payload.delimiter))
    batch = Decoder(found.schema, found.payload, Dictionary(found.schema.categories)).decode(
        block(sample.lines, columns), 0
    )
    assert batch.rejections == {}
    assert np.isfinite(batch.numbers).all()
    assert (batch.codes >= 0).all()
    assert (batch.times != MISSING_TIME).all() == (found.schema.time is not None)


def block(lines, columns):
    sizes = np.array([len(line) for line in lines])
    ends = np.cumsum(sizes)
    data = np.frombuffer(b"".join(lines), np.uint8).copy()
    return Block({"t": {}}, data, ends - sizes, ends, np.arange(1, len(lines) + 1), columns=columns)


def ndjson(records):
    return "\n".join(map(json.dumps, records)).encode()


def test_keys_that_hardly_any_record_has_are_left_out_and_counted():
    records = [{"a": k / 2} | ({"b": "x"} if k < 4 else {}) for k in range(400)]
    records[7] |= {f"junk{k}": k for k in range(5)}
    records[8] |= {"junk0": 1, "line\nend": 2}
    found = read(ndjson(records))
    assert found.schema.fields == {"a": "numeric", "b": "categorical"}
    (omission,) = found.omissions
    assert omission.startswith("left out as fewer than 1 in 100 sampled records have them")
    assert omission.endswith(": 6 fields ('junk0', 'junk1', 'junk2' and 3 more)")


def test_in_a_small_sample_no_key_is_rare():
    records = [{"a": k / 2} | ({"b": "x"} if k == 5 else {}) for k in range(99)]
    found = read(ndjson(records))
    assert found.schema.fields == {"a": "numeric", "b": "categorical"}
    assert found.omissions == ()


def test_a_rare_label_is_the_truth_unless_a_common_field_is():
    records = [{"a": k / 2} | ({"label": "dos"} if k in {3, 5} else {}) for k in range(400)]
    assert read(ndjson(records)).schema.label == "label"
    records = [record | {"attack": "no" if k % 9 else "yes"} for k, record in enumerate(records)]
    assert read(ndjson(records)).schema.label == "attack"


@pytest.mark.parametrize("tags", [[[]], [["a", "b"]], [[1], [2, 3], [], None], [[{"x": 1}]]])
def test_json_arrays_are_ignored(tags):
    records = [{"a": k / 2, "tags": tags[k % len(tags)]} for k in range(200)]
    found = read(ndjson(records))
    assert found.schema.fields == {"a": "numeric", "tags": "ignore"}
    assert found.notes["tags"] == "JSON arrays; a feature is a single value"


def test_text_in_brackets_in_a_csv_file_is_text():
    rows = "".join(f"[{'ab'[k % 2]}],{k}.5\n" for k in range(60))
    assert read(b"mark,x\n" + rows.encode()).schema.fields == {"mark": "categorical", "x": "numeric"}


def test_of_columns_named_alike_the_first_counts_and_that_is_said():
    found = read(b"a,a,b\n" + b"".join(b"%d.5,x,%d.25\n" % (k % 7, k % 11) for k in range(60)))
    assert found.schema.fields == {"a": "numeric", "b": "numeric"}
    assert found.omissions == ("more than one column is named so, and the first counts: 1 field ('a')",)
    assert f"\n  # {found.omissions[0]}\n  fields:\n" in config_text(found, "feed", {"type": "stdin"})
