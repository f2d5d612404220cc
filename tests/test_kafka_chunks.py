"""What lies on the models' and the control topic, without a broker: cut, described, signed, read by who trusts nobody."""

from __future__ import annotations

import json
from concurrent.futures import Future
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamad_connectors.kafka.chunks import (
    DamagedError,
    Description,
    cut,
    describe,
    from_json,
    join,
    to_json,
)
from streamad_connectors.kafka.control import (
    PROMOTED,
    read_description,
    read_object,
    read_reference,
    version_key,
    version_of,
    write_description,
    write_reference,
)
from streamad_connectors.kafka.ledger import Ledger
from streamad_connectors.kafka.order import Order
from streamad_connectors.kafka.promotions import Promotions
from structlog.testing import capture_logs

from streamad.errors import WorldError
from streamad.ports import Promoted, Reference

FILES = {"manifest.json": b"{}", "manifest.sha256": b"0" * 64, "tensors.safetensors": bytes(range(256)) * 5}
SIZE = sum(map(len, FILES.values()))
KEY = b"a key that nobody knows"
LIMIT = 1 << 20


def description(version=7, offsets=(3, 4, 9), files=FILES):
    return describe(version, files, offsets)


def tree(**changes):
    return json.loads(json.dumps(to_json(description()))) | changes


# ---- chunks


@given(st.integers(1, 2000))
def test_what_was_cut_is_joined_again_and_no_chunk_is_larger_than_was_asked(size):
    chunks = [*cut(FILES, size)]
    assert max(map(len, chunks)) <= size
    assert join(description(), chunks) == FILES


def test_an_empty_file_comes_back_empty():
    files = {"manifest.json": b"", "tensors.safetensors": b"x"}
    assert join(description(files=files), cut(files, 10)) == files


def test_a_description_comes_back_from_json_as_it_was():
    assert from_json(tree(), LIMIT) == description()


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([b"x" * SIZE], "it does not have its checksum"),
        ([b"x" * (SIZE - 1)], "its chunks hold fewer bytes than were described"),
        ([b"x" * SIZE, b"x"], "its chunks hold more bytes than were described"),
        ([], "its chunks hold fewer bytes than were described"),
    ],
)
def test_chunks_that_are_not_what_was_described_are_damaged(chunks, reason):
    with pytest.raises(DamagedError) as damaged:
        join(description(), chunks)
    assert str(damaged.value) == reason


def test_a_file_whose_checksum_is_not_its_own_is_damaged_though_the_whole_is_right():
    files = [["manifest.json", 3, "0" * 64], *tree()["files"][1:]]
    files[1][1] -= 1
    with pytest.raises(DamagedError, match=r"^manifest\.json does not have its checksum$"):
        join(from_json(tree(files=files), LIMIT), cut(FILES, 100))


def test_no_more_memory_than_was_described_is_taken():
    def endless():
        while True:
            yield b"x" * 1000
            taken.append(1000)

    taken = []
    with pytest.raises(DamagedError):
        join(description(), endless())
    assert sum(taken) <= SIZE


HOSTILE = [
    {"version": 0},
    {"version": -1},
    {"version": 10**9},
    {"version": "7"},
    {"version": 7.0},
    {"version": True},
    {"version": None},
    {"version": [7]},
    {"bytes": 0},
    {"bytes": -1},
    {"bytes": LIMIT + 1},
    {"bytes": 10**30},
    {"bytes": SIZE + 1},
    {"sha256": None},
    {"sha256": "z" * 64},
    {"sha256": "0" * 63},
    {"sha256": "\ud800" * 64},
    {"chunks": None},
    {"chunks": []},
    {"chunks": {}},
    {"chunks": [3]},
    {"chunks": [[0, -1]]},
    {"chunks": [[0, 2**63]]},
    {"chunks": [[0, 1.0]]},
    {"chunks": [[0]]},
    {"chunks": [[1, 3]]},
    {"chunks": [[False, 3]]},
    {"chunks": [[0, 3]] * 70_000},
    {"files": None},
    {"files": []},
    {"files": [["manifest.json", SIZE]]},
    {"files": [["../manifest.json", SIZE, "0" * 64]]},
    {"files": [["/etc/passwd", SIZE, "0" * 64]]},
    {"files": [[["manifest.json"], SIZE, "0" * 64]]},
    {"files": [["manifest.json", -SIZE, "0" * 64]]},
    {"files": [["manifest.json", SIZE, "0" * 64], ["manifest.json", 0, "0" * 64]]},
    {"files": [["manifest.json", 10**30, "0" * 64]]},
]


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: repr(change)[:60])
def test_a_hostile_description_is_damaged(change):
    with pytest.raises(DamagedError):
        from_json(tree(**change), LIMIT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(sorted(tree())), JSON)
def test_no_description_makes_the_reader_crash(name, value):
    with suppress(DamagedError):
        assert to_json(from_json(tree(**{name: value}), LIMIT)) == tree(**{name: value})


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_message_makes_the_reader_crash(value):
    for key in (None, KEY):
        with pytest.raises(DamagedError):
            read_description("promoted", value, key, LIMIT)
        with pytest.raises(DamagedError):
            read_reference(value, key)
    version_of(value)


# ---- control


@pytest.mark.parametrize("key", [None, KEY])
def test_a_description_is_read_as_it_was_written(key):
    for kind in ("promoted", "version"):
        value = write_description(kind, description(), key)
        assert read_description(kind, value, key, LIMIT) == description()
        assert version_of(value) == 7


@pytest.mark.parametrize("key", [None, KEY])
def test_a_reference_is_read_as_it_was_written(key):
    reference = Reference(7, 0.1 + 0.2, b"\n\x00 any bytes \n")
    assert read_reference(write_reference(reference, key), key) == reference


def why(read, *arguments):
    with pytest.raises(DamagedError) as damaged:
        read(*arguments)
    return str(damaged.value)


def test_once_a_key_is_set_only_what_it_signed_counts():
    unsigned, other = (
        "it is not signed, and a signing key is set",
        "its signature is not that of the signing key",
    )
    for given_key, reason in ((None, unsigned), (b"another key", other)):
        value = write_description("promoted", description(), given_key)
        assert why(read_description, "promoted", value, KEY, LIMIT) == reason
        assert why(read_reference, write_reference(Reference(7, 0.5, b""), given_key), KEY) == reason


def test_a_signature_holds_for_what_was_signed_and_for_nothing_else():
    signed = json.loads(write_description("version", description(), KEY))
    other = "its signature is not that of the signing key"
    for change in (
        {"version": 8},
        {"bytes": 1},
        {"kind": "promoted"},
        {"more": 1},
        {"hmac": "ä"},
        {"hmac": [1]},
    ):
        value = json.dumps(signed | change).encode()
        assert why(read_description, "version", value, KEY, LIMIT) == other
    spelled = json.dumps(signed, indent=3, sort_keys=False).encode()
    assert read_description("version", spelled, KEY, LIMIT) == description()
    assert (
        why(read_description, "promoted", spelled, KEY, LIMIT)
        == "it does not say that it is a promoted message"
    )


def test_what_is_signed_is_read_without_a_key_too():
    assert (
        read_description("promoted", write_description("promoted", description(), KEY), None, LIMIT)
        == description()
    )


def test_arrays_that_were_changed_behind_a_signed_head_do_not_count():
    value = write_reference(Reference(7, 0.5, b"true"), KEY)
    assert (
        why(read_reference, value.replace(b"true", b"lies"), KEY) == "its arrays do not have their checksum"
    )


@pytest.mark.parametrize(
    "threshold", ["NaN", "Infinity", "1e999", "1" + "0" * 400, '"1"', "null", "true", "[1.0]"]
)
def test_a_threshold_that_is_no_number_does_not_count(threshold):
    head, _, arrays = write_reference(Reference(7, 0.5, b"x"), None).partition(b"\n")
    value = head.replace(b'"threshold":0.5', b'"threshold":' + threshold.encode()) + b"\n" + arrays
    assert value != head + b"\n" + arrays
    for key in (None, KEY):
        why(read_reference, value, key)


def test_another_format_is_told_apart():
    value = write_description("promoted", description(), None).replace(b'"format":1', b'"format":2')
    assert (
        why(read_description, "promoted", value, None, LIMIT)
        == "its format is not 1, which this streamad reads"
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"{", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b'{"a":NaN}', "it is no JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b"7", "it is no JSON object"),
        (b'{"a":"' + b"x" * 100 + b'"}', "it has 108 bytes, more than 50"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_object_is_damaged(value, reason):
    assert why(read_object, value, 50 if len(value) == 108 else 1 << 20) == reason


# ---- which versions there are


def published(ledger, *versions, key=None):
    for version in versions:
        ledger.enter(version_key(version), write_description("version", description(version), key))
        ledger.enter(PROMOTED, write_description("promoted", description(version), key))


def test_the_last_versions_are_kept_and_the_one_in_force_until_now():
    ledger = Ledger(None, LIMIT)
    assert (ledger.last, ledger.expired(1, 2)) == (0, [])
    published(ledger, 1, 2, 3)
    assert ledger.expired(4, 2) == [description(1), description(2)]
    assert ledger.expired(4, 1) == [description(1), description(2)]
    ledger.enter(PROMOTED, write_description("promoted", description(1), None))
    assert ledger.expired(4, 2) == [description(2)]
    ledger.enter(version_key(2), None)
    assert (ledger.expired(4, 2), ledger.last, sorted(ledger.versions)) == ([], 3, [1, 3])


def test_versions_that_are_pinned_are_kept_beside_the_last_ones():
    ledger = Ledger(None, LIMIT)
    published(ledger, 1, 2, 3, 4)
    assert ledger.expired(5, 2, pinned=(1, 3, 99)) == [description(2)]


def said(key, version, order, signed=KEY):
    """A message of control: its key and value."""
    return key, write_description("promoted", description(version), signed, order)


def test_a_promotion_that_somebody_says_again_does_not_count():
    ledger = Ledger(KEY, LIMIT)
    first, second = said(PROMOTED, 1, 100), said(PROMOTED, 2, 200)
    for message, promoted in (
        (first, 1),
        (second, 2),
        (first, 2),
        (second, 2),
        (said(PROMOTED, 1, 300, signed=b"another key"), 2),
        (said(PROMOTED, 1, 200 + 1), 1),
    ):
        ledger.enter(*message)
        assert ledger.promoted == promoted


def test_orders_grow_whatever_the_clock_says(monkeypatch):
    order = Order()
    monkeypatch.setattr("streamad_connectors.kafka.order.time.time_ns", lambda: 5_000_000_000)
    assert order.next(PROMOTED) == 5000
    order.take(*said(PROMOTED, 1, 9000))
    assert (order.next(PROMOTED), order.next(b"wanted")) == (9001, 5000)
    with pytest.raises(DamagedError, match="said before what is in force"):
        order.take(*said(PROMOTED, 1, 8999))
    for odd in (b"-1", b"1.5", b"true", b'"9"', b"null"):
        value = said(PROMOTED, 1, 9001)[1].replace(b'"order":9001', b'"order":' + odd)
        with pytest.raises(DamagedError, match="its order is no number"):
            order.take(PROMOTED, value)


def test_what_is_unsigned_or_no_message_changes_nothing():
    ledger = Ledger(KEY, LIMIT)
    published(ledger, 1, key=KEY)
    published(ledger, 2)
    for key in (
        b"",
        b"version/",
        b"version/x",
        b"version/-00001",
        b"version/000001/0",
        b"\xff",
        b"version/" + b"9" * 99,
    ):
        ledger.enter(key, None)
        ledger.enter(key, write_description("version", description(9), KEY))
    ledger.enter(version_key(3), write_description("version", description(4), KEY))
    ledger.enter(PROMOTED, None)
    assert (sorted(ledger.versions), ledger.promoted) == ([1], 1)


# ---- which version is in force


class Fetches:
    """Gives futures, and fulfils them when it is told to."""

    def __init__(self):
        self.asked = []

    def __call__(self, wanted):
        self.asked.append((wanted.version, Future()))
        return self.asked[-1][1]

    def end(self, result):
        future = self.asked[-1][1]
        (future.set_exception if isinstance(result, Exception) else future.set_result)(result)


DAMAGED = DamagedError("a chunk of it is not there")


def promotions(*versions):
    fetches = Fetches()
    made = Promotions(fetches)
    for version in versions:
        made.promote(description(version))
    return made, fetches


def test_nothing_promoted_is_nothing_new():
    made, fetches = promotions()
    assert (made.news(), made.settled(), fetches.asked) == ([], [], [])


def test_of_all_that_was_promoted_the_newest_is_fetched_and_once():
    made, fetches = promotions(1, 2, 3)
    assert made.news() == made.news() == []
    fetches.end(FILES)
    assert made.news() == [Promoted(3, FILES)]
    assert made.news() == []
    assert [version for version, _ in fetches.asked] == [3]


def test_of_damaged_versions_each_is_told_and_the_one_before_is_taken():
    made, fetches = promotions(1, 2, 3)
    with capture_logs() as logs:
        for _ in range(2):
            assert made.news() == []
            fetches.end(DAMAGED)
        assert made.news() == []
        fetches.end(FILES)
        assert made.news() == [Promoted(1, FILES)]
    assert [(log["version"], log["reason"]) for log in logs] == [(3, str(DAMAGED)), (2, str(DAMAGED))]


def test_a_damaged_version_leaves_the_one_in_force():
    made, fetches = promotions(1)
    made.news()
    fetches.end(FILES)
    assert made.news() == [Promoted(1, FILES)]
    made.promote(description(2))
    assert made.news() == []
    fetches.end(DAMAGED)
    assert made.news() == []
    made.promote(description(1))
    assert (made.news(), len(fetches.asked)) == ([], 2)


def test_going_back_while_a_newer_version_is_fetched_ends_with_the_older():
    made, fetches = promotions(1)
    made.news()
    fetches.end(FILES)
    made.news()
    made.promote(description(2))
    assert made.news() == []
    made.promote(description(1))
    fetches.end({})
    assert made.news() == [Promoted(2, {})]
    fetches.end(FILES)
    assert made.news() == [Promoted(1, FILES)]


def test_a_reference_comes_with_its_version_and_not_before_only_the_newest():
    made, fetches = promotions(7)
    made.calibrate(Reference(7, 0.1, b"old"))
    made.calibrate(Reference(7, 0.2, b"new"))
    assert made.news() == []
    fetches.end(FILES)
    assert made.news() == [Promoted(7, FILES), Reference(7, 0.2, b"new")]
    made.calibrate(Reference(8, 0.3, b"for another"))
    assert made.news() == []


def test_without_a_broker_the_first_reading_ends_and_later_ones_try_again():
    results = [WorldError("no broker"), WorldError("no broker"), FILES]

    def fetch(_wanted):
        future = Future()
        result = results.pop(0)
        (future.set_exception if isinstance(result, Exception) else future.set_result)(result)
        return future

    made = Promotions(fetch)
    made.promote(description(1))
    with pytest.raises(WorldError, match="no broker"):
        made.settled()
    assert (made.news(), made.news(), made.news()) == ([], [], [Promoted(1, FILES)])


def test_a_flood_of_hostile_promotions_is_told_of_a_hundred_times_at_most():
    made, _ = promotions()
    with capture_logs() as logs:
        for version in range(1000):
            made.ignore("promotion", version, "why")
            made.ignore("promotion", version, "why")
    assert len(logs) == 100


def test_descriptions_are_compared_with_all_that_they_say():
    assert description() == Description(*description())
    assert description() != description(offsets=(3, 4, 10))
