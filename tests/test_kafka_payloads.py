"""From Kafka's messages to blocks and batches, without a broker."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from pydantic import ValidationError
from records_help import both, decoder
from streamad_connectors.kafka.payloads import Beside, block_of
from streamad_connectors.kafka.source import KafkaOptions

from streamad.config import config_error
from streamad.errors import UserError
from streamad.records.batch import MISSING_TIME, OTHER_CODE, REASONS, Rejection
from streamad.records.kdd import KDD_FIELDS
from streamad.records.schema import PayloadFormat, Schema, TimeSpec

SCHEMA = Schema(fields={"n": "numeric", "c": "categorical"})
JSON = PayloadFormat(format="ndjson")
OPTIONS = {"type": "kafka", "brokers": "broker:9092", "topic": "records"}

PRETTY = json.dumps({"n": 1, "c": "a"}, indent=4).encode()
FRAMED = b"\0\0\0\x01\x02" + b'{"n": 1}'
FRAMED_DETAIL = (
    "framed by the Avro, Protobuf or JSON Schema serialiser of a schema registry (schema id 258): "
    "let the producer write plain text, in Kafka Connect by JsonConverter with schemas.enable=false"
)


def message(offset, value, partition=2, key=None, headers=None, moment=None):
    timestamp = None if moment is None else (TIMESTAMP_CREATE_TIME, moment)
    return Message("topic", partition, offset, key=key, value=value, headers=headers, timestamp=timestamp)


def block(*values, record_bytes=1000):
    messages = [message(1042 + place, value) for place, value in enumerate(values)]
    return block_of("topic", messages, {}, record_bytes, Beside())


def payloads(got):
    return [got.payload(row) for row in range(len(got))]


def test_rows_of_several_partitions_keep_their_order_and_have_their_positions():
    messages = [message(7, b"a", 10), message(3, b"b", 2), message(9, b"c", 10), message(4, b"", 2)]
    got = block_of("topic", messages, {}, 1000, Beside())
    assert payloads(got) == [b"a", b"b", b"c", b""]
    positions = [got.position(row) for row in range(4)]
    assert positions == ["topic/10@7", "topic/2@3", "topic/10@9", "topic/2@4"]
    assert got.cursors == {"topic/2": {"offset": 5}, "topic/10": {"offset": 10}}
    assert got.rows_of("topic/10").tolist() == [True, False, True, False]
    assert got.rows_of("topic/1").tolist() == [False] * 4


def test_a_cursor_goes_up_to_the_end_past_what_was_aborted_also_of_a_partition_without_rows():
    got = block_of("topic", [message(9, b"a", 1), message(70, b"b", 3)], {1: 62, 3: 8, 0: 5}, 1000, Beside())
    assert got.cursors == {"topic/0": {"offset": 5}, "topic/1": {"offset": 62}, "topic/3": {"offset": 71}}
    assert [got.position(row) for row in range(2)] == ["topic/1@9", "topic/3@70"]
    assert got.rows_of("topic/0").tolist() == [False, False]


def test_a_block_may_have_no_rows_at_all_and_is_decoded():
    got = block_of("topic", [], {1: 62}, 1000, Beside())
    assert got.cursors == {"topic/1": {"offset": 62}}
    for one in both(JSON, SCHEMA):
        assert len(one.decode(got, 0)) == 0


def test_one_line_end_is_cut_off():
    got = block(b"a\n", b"b\r\n", b"c\n\n", b"d\r", b"\r\n", b"\n", b"e")
    assert payloads(got) == [b"a", b"b", b"c\n", b"d\r", b"", b"", b"e"]
    assert got.faults == dict.fromkeys((4, 5), Rejection("empty", None, "an empty message"))


def test_what_is_framed_stays_as_it_came():
    short = b"\0\0\0\0\n"
    got = block(FRAMED + b"\r\n", short)
    assert payloads(got) == [FRAMED + b"\r\n", short]
    assert {fault.reason for fault in got.faults.values()} == {"framed"}


def test_what_can_be_no_record_says_why():
    long, framed_long = b'{"n": ' + b"1" * 5000 + b"}", FRAMED + b" " * 5000
    got = block(b'{"n":1}', None, b"", FRAMED, long, framed_long, b"\0\0\0\0", record_bytes=5000)
    assert got.faults == {
        1: Rejection("empty", None, "a tombstone"),
        2: Rejection("empty", None, "an empty message"),
        3: Rejection("framed", None, FRAMED_DETAIL),
        4: Rejection("too_long", None, "5007 bytes"),
        5: Rejection("framed", None, FRAMED_DETAIL),
    }
    assert payloads(got)[3:] == [FRAMED, long, framed_long, b"\0\0\0\0"]
    assert {fault.reason for fault in got.faults.values()} <= set(REASONS)


def test_the_faults_reach_the_batch_and_the_other_rows_are_read():
    got = block(b'{"n": 1, "c": "a"}', None, FRAMED, b"\0", b"[1]", PRETTY, b'{"n": 2}\r\n')
    for one in both(JSON, SCHEMA):
        batch = one.decode(got, 0)
        assert [(row, why.reason) for row, why in sorted(batch.rejections.items())] == [
            (1, "empty"),
            (2, "framed"),
            (3, "invalid_json"),
            (4, "not_an_object"),
        ]
        np.testing.assert_array_equal(batch.numbers[:, 0], [1, *[np.nan] * 4, 1, 2])


def test_pretty_printed_json_is_read_by_the_compiled_decoder_too():
    compiled, general = both(JSON, SCHEMA)
    got = block(PRETTY, PRETTY.replace(b"\n", b"\r\n"), PRETTY + b"\n")
    batches = [one.decode(got, 0) for one in (compiled, general)]
    assert [batch.fast_rows for batch in batches] == [3, 0]
    for batch in batches:
        assert (batch.numbers.tolist(), batch.rejections) == ([[1.0]] * 3, {})
        assert len(set(batch.codes[:, 0].tolist())) == 1


def test_csv_lines_are_in_schema_order_and_may_hold_quoted_newlines():
    options = KafkaOptions.model_validate(OPTIONS | {"format": "csv"})
    for one in both(options, SCHEMA):
        batch = one.decode(block(b"1,a", b'2,"a\nb"\n', b"3"), 0)
        assert batch.numbers[:2, 0].tolist() == [1, 2]
        assert one.record_of(batch.block, 1) == {"n": 2, "c": "a\nb"}
        assert {row: why.reason for row, why in batch.rejections.items()} == {2: "too_few_fields"}


def test_kdd_lines_are_read():
    schema = Schema(fields=dict.fromkeys(KDD_FIELDS, "ignore") | {"src_bytes": "numeric", "label": "label"})
    line = b"0,tcp,http,SF,181,5450" + b",0" * 35 + b",normal.\n"
    batch = decoder(PayloadFormat(format="kdd"), schema).decode(block(line, line), 0)
    assert (batch.numbers.tolist(), batch.truth.tolist(), batch.fast_rows) == ([[181], [181]], [0, 0], 2)


KEYED = Schema(
    fields={"n": "numeric", "id": "id", "at": "time"}, time=TimeSpec(field="at", format="epoch_ms")
)


def test_a_timestamp_that_no_time_can_be_is_none():
    far = [1 << 62, -(1 << 62), (1 << 63) // 1000 + 1]
    messages = [message(offset, b"{}", moment=moment) for offset, moment in enumerate([*far, 1_000])]
    got = block_of("topic", messages, {}, 1000, Beside(time_field="at"))
    assert [*got.beside["at"]] == [MISSING_TIME] * 3 + [1_000_000]


def test_keys_headers_and_timestamps_count_as_key_and_event_time():
    messages = [
        message(0, b'{"n": 1}', key=b"k0", headers=[("h", b"h0"), ("other", None)], moment=1500),
        message(1, b'{"n": 2, "id": "forged", "at": 5}', key=b"k\xff1", headers=[("h", None)], moment=2500),
        message(2, b"no record", key=b"k2", moment=3500),
        message(3, b'{"n": 3}'),
    ]
    for beside, keys in (
        (Beside("id", None, "at"), ["k0", "k\N{REPLACEMENT CHARACTER}1", None]),
        (Beside("id", "h", "at"), ["h0", None, None]),
    ):
        got = block_of("topic", messages, {}, 1000, beside)
        for one in both(JSON, KEYED):
            batch = one.decode(got, 0)
            assert batch.times.tolist() == [1_500_000, 2_500_000, MISSING_TIME, MISSING_TIME]
            assert [one.record_of(got, row)["id"] for row in (0, 1, 3)] == keys
            assert one.record_of(got, 0)["n"] == 1


@pytest.mark.parametrize(
    ("time", "texts"),
    [
        (TimeSpec(field="at", format="epoch_ms"), ("1500", "1500.5", "soon")),
        (TimeSpec(field="at"), ("1970-01-01T00:00:01.5Z", " 1970-01-01T01:00:01.5005+01:00 ", "1970-13-01")),
    ],
)
def test_a_header_gives_the_event_time_as_the_schema_has_times_written(time, texts):
    one_and_a_half, a_moment_later, wrong = texts
    messages = [
        message(0, b'{"n": 1}', headers=[("t", one_and_a_half.encode())], moment=9500),
        message(1, b'{"n": 2}', headers=[("t", a_moment_later)], moment=9500),
        message(2, b'{"n": 3, "c": "new"}', headers=[("t", wrong.encode())], moment=9500),
        message(3, b'{"n": 4}', headers=[("t", b"")], moment=9500),
        message(4, b'{"n": 5}', headers=[("t", None)]),
        message(5, b'{"n": 6}', moment=9500),
        message(6, b"", headers=[("t", wrong.encode())]),
    ]
    schema = Schema(fields={"n": "numeric", "c": "categorical", "at": "time"}, time=time)
    got = block_of("topic", messages, {}, 1000, Beside(time_field="at", time_header="t"))
    for one in both(JSON, schema):
        batch = one.decode(got, 0)
        assert batch.times.tolist() == [1_500_000, 1_500_500, *[MISSING_TIME] * 5]
        assert {row: why[:2] for row, why in batch.rejections.items()} == {
            2: ("bad_time", "at"),
            6: ("empty", None),
        }
        assert one.decode(batch.block, 0).times.tolist() == batch.times.tolist()
        assert (
            one.dictionary.code(0, "new", None, learn=False) == OTHER_CODE
        )  # only good rows bring new values


def test_a_feature_cannot_be_filled_from_beside_the_payload():
    for field, words in (("c", "categorical"), ("x", "no such field")):
        got = block_of("topic", [message(0, b"{}", key=b"k")], {}, 1000, Beside(key_field=field))
        expected = (
            f"source: {field} is to be filled with what comes beside the records, which can only be the field with "
            f"the word id or time; schema.fields has {words}"
        )
        with pytest.raises(UserError) as caught:
            decoder(JSON, SCHEMA).decode(got, 0)
        assert str(caught.value) == expected


def test_what_is_not_said_has_its_default():
    options = KafkaOptions.model_validate(OPTIONS)
    assert (options.group, options.start, options.on_lost, options.format) == (
        None,
        "earliest",
        "stop",
        "ndjson",
    )


@pytest.mark.parametrize(
    "start", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)]
)
def test_a_start_may_be_a_time_with_its_zone(start):
    assert KafkaOptions.model_validate(OPTIONS | {"start": start}).start == datetime(2026, 1, 1, tzinfo=UTC)


START = "expected committed, earliest, latest or a time with its zone, such as 2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "2026-01-01T00:00:00"}, f"source.start: found '2026-01-01T00:00:00'; {START}"),
        ({"start": "soon"}, f"source.start: found 'soon'; {START}"),
        ({"start": 17}, f"source.start: found 17; {START}"),
        (
            {"topic": "^.*"},
            "source.topic: found '^.*'; expected a topic's name: letters, digits, dots, underscores, hyphens",
        ),
        ({"on_lost": "ignore"}, "source.on_lost: found 'ignore'; expected 'earliest', 'latest' or 'stop'"),
        ({"format": "parquet"}, "source.format: found 'parquet'; expected 'csv', 'kdd' or 'ndjson'"),
        ({"format": "csv", "header": True}, "source.header: found True; expected false"),
    ],
)
def test_an_option_that_cannot_be_is_named_with_what_could_be(options, said):
    tree = OPTIONS | options
    with pytest.raises(ValidationError) as caught:
        KafkaOptions.model_validate(tree)
    assert (
        str(config_error(Path("feed.yaml"), caught.value, tree, KafkaOptions, "source"))
        == f"feed.yaml: {said}"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"format": "csv", "key_field": "id"},
            "key_field and time_field with format ndjson only: the columns of a line are all its own",
        ),
        ({"key_header": "h"}, "key_field beside key_header: the field that the header's value goes to"),
        ({"time_header": "h"}, "time_field beside time_header: the field that the header's value goes to"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(ValidationError, match=said):
        KafkaOptions.model_validate(OPTIONS | options)
