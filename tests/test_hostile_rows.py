"""Bad records are rejected with reason and bytes, the good ones around them are scored, and nothing goes missing."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import zlib

from inputs_help import FIELDS, feed, rows  # noqa: F401  # a fixture

HEADER = "user,bytes,service\n"
LONG = b"x" * 10_000_000
CSV = {
    "too_few_fields": b"u,1",
    "too_many_fields": b"u,1,http,more",
    "not_a_number": b"u,many,http",
    "not_finite": b"u,NaN,http",
    "not_finite ": b"u,-Infinity,http",
    "not_finite  ": b"u,1e999,http",
    "invalid_utf8": b"u,1,\xff\xfe",
    "too_long": LONG,
}
JSON = {
    "invalid_json": b'{"user": "u", "bytes": 1, ',
    "duplicate_key": b'{"bytes": 1, "bytes": 2, "service": "dns"}',
    "too_deep": b'{"bytes": 1, "x": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "too_deep ": b'{"x":' * 1000 + b"1" + b"}" * 1000,
    "not_finite ": b'{"bytes": NaN}',
    "not_finite": b'{"bytes": 1e999}',
    "not_a_number": b'{"bytes": "many"}',
    "not_an_object": b"[1, 2]",
    "invalid_utf8": b'{"service": "\xff"}',
    "too_long": b'{"service": "' + LONG + b'"}',
}


def seen(entry):
    """What a rejected entry says, its bytes checked against what it says of them."""
    kept = base64.b64decode(entry["bytes_base64"])
    assert len(kept) == min(entry["length"], 4096)
    if entry["length"] <= 4096:
        assert entry["sha256"] == hashlib.sha256(kept).hexdigest()
    return entry["position"], entry["reason"], entry["length"], kept


def expected(name, bad, every, *, header=1):
    """The entries of `bad` lines that stand behind every so many good ones."""
    return [
        (f"{name}:{(i + 1) * (every + 1) + header}", reason.strip(), len(line), line[:4096])
        for i, (reason, line) in enumerate(bad.items())
    ]


def test_bad_csv_rows_are_rejected_with_reason_and_bytes(feed):  # noqa: F811
    good = (HEADER + rows(400)).encode().splitlines(keepends=True)
    parts = [good[0]]
    for i, line in enumerate(CSV.values()):
        parts += [*good[1 + 40 * i : 1 + 40 * (i + 1)], line + b"\n"]
    feed.file("log.csv", b"".join(parts))
    summary = feed.replayed()
    assert (summary["records_in"], summary["scored"], summary["rejected"]) == (328, 320, 8)
    assert [seen(entry) for entry in feed.lines("rejected")] == expected("log.csv", CSV, 40)


def test_bad_json_rows_are_rejected_with_reason_and_bytes(feed):  # noqa: F811
    good = [
        json.dumps(dict(zip(FIELDS, line.split(","), strict=True))).encode() for line in rows(400).split()
    ]
    parts = []
    for i, line in enumerate(JSON.values()):
        parts += [*good[40 * i : 40 * (i + 1)], line]
    feed.file("log.ndjson", b"\n".join(parts) + b"\n")
    feed.source(format="ndjson", paths=["log.ndjson"])
    summary = feed.replayed()
    assert (summary["records_in"], summary["scored"], summary["rejected"]) == (410, 400, 10)
    assert [seen(entry) for entry in feed.lines("rejected")] == expected("log.ndjson", JSON, 40, header=0)


def member(content):
    """One gzip member."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(content) + packer.flush()


def test_a_line_of_10_gb_out_of_a_gz_of_10_mb_is_passed_by_in_bounded_memory(feed):  # noqa: F811
    piece = member(b"a" * 10_000_000)
    packed = feed.file(
        "log.csv.gz",
        b"".join(
            (
                member((HEADER + rows(300)).encode()),
                *[piece] * 1000,
                member(("\n" + rows(300, first=300)).encode()),
            )
        ),
    )
    assert packed.stat().st_size < 11_000_000
    feed.source(paths=["log.csv.gz"])
    program = (
        "import sys; from streamad.cli import main; from streamad.training.process import peak_rss_mb;"
        "code = main(sys.argv[1:]); print(peak_rss_mb()); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "replay", str(feed.path)], capture_output=True, check=True, timeout=60
    )
    summary, peak_mb = map(json.loads, done.stdout.splitlines())
    assert (summary["records_in"], summary["scored"], summary["rejected"]) == (601, 600, 1)
    assert peak_mb < 1200
    (entry,) = feed.lines("rejected")
    assert (entry["position"], entry["reason"], entry["length"]) == ("log.csv.gz:302", "too_long", 10**10)


def test_a_feed_that_is_mostly_bad_is_stopped_and_goes_on_when_called_again(feed):  # noqa: F811
    feed.write(limits={"batch_records": 50, "commit_batches": 1, "rejected_window": 200})
    feed.file("log.csv", HEADER + rows(300) + "junk\n" * 300 + rows(300, first=300))
    assert feed.call("replay", code=3).err.splitlines()[-1] == (
        "streamad: 150 of the last 200 records were rejected, so the feed itself is broken; "
        "streamad rejected shows them"
    )
    stops = 1
    while (ended := feed.ended("replay")) == 3:
        stops += 1
    assert ended == 0
    assert stops < 20
    entries = feed.lines("rejected", "--limit", "0")
    assert [entry["position"] for entry in entries] == [f"log.csv:{n}" for n in range(302, 602)]
    assert "is finished" in feed.call("replay").err


def test_a_feed_that_is_bad_from_the_start_is_stopped_before_the_first_model(feed):  # noqa: F811
    feed.write(limits={"batch_records": 50, "rejected_window": 100})
    feed.file("log.csv", HEADER + rows(20) + "junk\n" * 300)
    assert feed.call("replay", code=3).err.splitlines()[-1] == (
        "streamad: 80 of the first 100 records were rejected; the first, log.csv:22: too_few_fields"
    )
