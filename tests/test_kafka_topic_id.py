"""What is said beside an offset: of which topic it is."""

from __future__ import annotations

import pytest
from streamad_connectors.kafka.topic_id import Mark

ID = "jw/KzrOiTZKPQeOQ0nEs8w"


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        (ID, Mark(ID)),
        (f"{ID}:6", Mark(ID, partitions=6)),
        (f"{ID}~:6", Mark(ID, anew=True, partitions=6)),
    ],
)
def test_a_mark_is_read_as_it_was_written(text, mark):
    assert (Mark.of(text), str(mark)) == (mark, text)


@pytest.mark.parametrize("text", [None, "", "reset by hand", "v2", ID[1:], f"{ID}:", f"{ID}:six", "{}"])
def test_what_others_say_beside_an_offset_tells_nothing(text):
    assert Mark.of(text) == Mark()
