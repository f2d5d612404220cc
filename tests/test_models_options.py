from __future__ import annotations

import pytest

from streamad.models.options import AUTO, DetectorOptions


@pytest.mark.parametrize("given", ["auto", {"name": "auto"}, {}], ids=["a word", "a section", "nothing"])
def test_auto_is_the_detector_that_it_stands_for_in_every_way_of_saying_it(given):
    assert DetectorOptions.model_validate(given) == DetectorOptions(name=AUTO)


def test_a_word_names_a_detector():
    assert DetectorOptions.model_validate("deep_sad") == DetectorOptions(name="deep_sad")
