"""The tables: which data sets, how they are split, how often, and in what unit a result is said."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamad.bench.papers.protocols import (
    KNOWN_FAMILIES,
    LABELS,
    POLLUTIONS,
    ae_sad_split,
    clustered_split,
    deep_sad_split,
    family_split,
    pollution_split,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streamad.bench.papers.datasets import DataSet
    from streamad.bench.papers.protocols import Split

_SIX: Final = ("arrhythmia", "cardio", "satellite", "satimage-2", "shuttle", "thyroid")
_ODDS: Final = (
    "annthyroid", "arrhythmia", "breastw", "cardio", "glass", "ionosphere", "letter", "lympho", "mammography",
    "musk", "optdigits", "pendigits", "pima", "satellite", "satimage-2", "shuttle", "thyroid", "vertebral",
    "vowels", "wbc", "wine",
)  # fmt: skip
_FEW_ANOMALIES: Final = frozenset({"glass", "lympho", "wine"})
_MORE_SEEDS: Final = 20
_SMALL: Final = (
    "arrhythmia", "breastw", "cardio", "glass", "ionosphere", "letter", "lympho", "pima", "vertebral", "vowels",
    "wbc", "wine",
)  # fmt: skip
"""Those of less than 2,000 rows."""
_UAI: Final = ("arrhythmia", "thyroid", "yeast", "abalone", "ctg", "covtype", "mmg", "shuttle_1v23567")
_KDD: Final = ("kddcup", "kddcup-rev")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a table varies on one data set: `pollution` the first three, Figure 4 of the UAI paper the next two."""

    pollution: float = 0.0
    """The share of anomalies among the unlabeled training rows."""
    labels: float = 0.0
    """The share of labeled anomalies in the training set."""
    families: int = 0
    """On KDDCUP99: of how many attack families there are labels; 0 where families play no part."""

    answers: int | None = None
    """In the UAI paper's Figure 4: how many rows have been asked about; else None."""
    new: bool = False
    """There: whether the recall is that of families unknown to the training rows."""
    given: int | None = None
    """In `few-labels`: how many anomalies are labeled; else None."""

    def __str__(self) -> str:
        if self.given is not None:
            return f"{self.given} labels"
        if self.answers is not None:
            return f"{self.answers:,} answers, {'new' if self.new else 'known'} families"
        if self.families:
            return f"labels of {self.families} attack famil{'y' if self.families == 1 else 'ies'}"
        return f"pollution {self.pollution:.0%}, labels {self.labels:.0%}"


PLAIN: Final = Setting()
"""The only setting of the other tables."""


ANSWERS: Final = (0, 1_000, 2_000, 4_000, 8_000)
NOVELTY: Final = tuple(Setting(answers=number, new=new) for new in (False, True) for number in ANSWERS)
"""The settings of the UAI paper's Figure 4."""


@dataclass(frozen=True, slots=True)
class Table:
    """A grid of cells: data sets and settings by methods."""

    name: str
    title: str
    metric: str
    datasets: tuple[str, ...]
    seeds: int
    settings: tuple[Setting, ...] = (PLAIN,)
    apart: tuple[str, ...] = ()
    """Data sets that run only when they are named, and then with one seed."""
    outside_mean: frozenset[str] = frozenset()
    """Data sets that are shown but not part of the means."""
    more_seeds: frozenset[str] = frozenset()
    """Data sets that get 20 splits, since fewer than ten anomalies are left to test one."""

    def seeds_for(self, dataset: str) -> int:
        """How many splits a data set gets."""
        if dataset in self.apart:
            return 1
        return _MORE_SEEDS if dataset in self.more_seeds else self.seeds

    def settings_for(self, dataset: str) -> tuple[Setting, ...]:
        """The settings in which a data set takes part; in `pollution` KDDCUP-Rev in those of families alone."""
        return tuple(
            s for s in self.settings if bool(s.families) == (self.name == "pollution" and dataset in _KDD)
        )


TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        Table("deep-sad-table-6", "Deep SAD, Table 6", "AUROC %", _SIX, 10),
        Table("dp-vae-table-6", "Deep Variational Semi-Supervised Novelty Detection, Table 6", "AUROC %", _SIX, 10),
        Table(
            "uainets-table-1", "UaiNets, Table 1", "F1", _UAI, 5, apart=_KDD,
            outside_mean=frozenset({"kddcup", "ctg", "covtype"}),
        ),
        Table(
            "ae-sad-table-2", "AE-SAD, Table 2", "AUC", _ODDS, 5, outside_mean=frozenset({"shuttle"}),
            more_seeds=_FEW_ANOMALIES,
        ),
        Table(
            "clustered", "AE-SAD's splits, the test anomalies from clusters that had no label", "AUC",
            tuple(name for name in _ODDS if name not in _FEW_ANOMALIES), 5,
            outside_mean=frozenset({"shuttle"}),
        ),
        Table(
            "few-labels", "AE-SAD's splits with no labeled anomaly, and with two", "AUC", _SMALL, 5,
            settings=(Setting(given=0), Setting(given=2)), more_seeds=_FEW_ANOMALIES,
        ),
        Table(
            "pollution", "Anomalies among the unlabeled training rows", "AUROC %", (*_SIX, "kddcup-rev"), 5,
            settings=(
                *(Setting(p, m) for p, m in itertools.product(POLLUTIONS, LABELS)),
                *(Setting(families=known) for known in KNOWN_FAMILIES),
            ),
        ),
        Table(
            "uainets-figure-4", "UaiNets, Figure 4: recall of known and of new attack families", "recall %",
            ("kddcup-rev",), 1, settings=NOVELTY,
        ),
        Table("uainets-digits", "UaiNets, the recipe of MNIST-0 on scikit-learn's digits", "F1", ("digits-0",), 5),
        Table("ablation", "What the parts of the methods are worth", "AUROC %", ("cardio", "satellite"), 10),
    )
}  # fmt: skip
"""By their names in the papers' tables.json, and some of our own."""

_SPLITS: Final[Mapping[str, Callable[[DataSet, int], Split]]] = {
    "deep-sad-table-6": deep_sad_split,
    "dp-vae-table-6": deep_sad_split,
    "ae-sad-table-2": ae_sad_split,
    "clustered": clustered_split,
    "ablation": deep_sad_split,
}


def split_for(table: str, data: DataSet, setting: Setting, seed: int) -> Split:
    """The split of one data set by a table's protocol; `uainets-table-1` has none, since its methods see all rows."""
    if setting.families:
        return family_split(data, seed, setting.families)
    if table == "pollution":
        return pollution_split(data, seed, setting.pollution, setting.labels)
    if setting.given is not None:
        return ae_sad_split(data, seed, setting.given)
    return _SPLITS[table](data, seed)
