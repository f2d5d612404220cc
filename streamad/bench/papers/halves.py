"""The two halves of the data sets: on one every open choice is made, on the other it is only reported.

The papers leave values open (epochs, noise, scaling, the weight of a term). Each is chosen on the development
half alone, once for all sets. Files that come from the same records are twins and share a half.

The rule, which looks at no result: the tables in the order Deep SAD, AE-SAD, UAI, digits; within a table the origins not
yet placed, alphabetically; each goes to the half that holds fewer of that table's sets so far, at a tie to the
development half.
"""

from __future__ import annotations

from typing import Final, Literal

Half = Literal["development", "report"]

DEVELOPMENT: Final[tuple[frozenset[str], ...]] = (
    frozenset({"arrhythmia"}),
    frozenset({"satellite", "satimage-2"}),
    frozenset({"breastw", "wbc"}),
    frozenset({"ionosphere"}),
    frozenset({"lympho"}),
    frozenset({"musk"}),
    frozenset({"pendigits"}),
    frozenset({"vertebral"}),
    frozenset({"wine"}),
    frozenset({"abalone"}),
    frozenset({"covtype"}),
    frozenset({"kddcup", "kddcup-rev", "http", "smtp"}),
    frozenset({"digits-0"}),
)
"""Sets of one origin each, in the order in which the rule placed them."""

REPORT: Final[tuple[frozenset[str], ...]] = (
    frozenset({"cardio", "ctg"}),
    frozenset({"shuttle", "shuttle_1v23567"}),
    frozenset({"thyroid", "annthyroid", "ann_thyroid_1v3"}),
    frozenset({"glass"}),
    frozenset({"letter"}),
    frozenset({"mammography", "mmg"}),
    frozenset({"optdigits"}),
    frozenset({"pima"}),
    frozenset({"vowels"}),
    frozenset({"yeast"}),
)


def half_of(dataset: str) -> Half:
    """The half that a data set belongs to.

    Raises `KeyError` for a set that is in neither, so that a new one cannot be reported without having been placed.
    """
    if any(dataset in origin for origin in DEVELOPMENT):
        return "development"
    if any(dataset in origin for origin in REPORT):
        return "report"
    raise KeyError(dataset)
