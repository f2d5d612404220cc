"""The papers' data sets as matrices: ODDS and UCI files, and KDDCUP99 read as the UAI paper reads it."""

from __future__ import annotations

import functools
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import sklearn.datasets
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from streamad.errors import UserError
from streamad.records.kdd import KDD_FIELDS, KDD_LABEL

_ODDS: Final = (
    "annthyroid", "arrhythmia", "breastw", "cardio", "glass", "http", "ionosphere", "letter", "lympho",
    "mammography", "musk", "optdigits", "pendigits", "pima", "satellite", "satimage-2", "shuttle", "smtp",
    "thyroid", "vertebral", "vowels", "wbc", "wine",
)  # fmt: skip
_UAI: Final = ("abalone", "ann_thyroid_1v3", "ctg", "mmg", "shuttle_1v23567", "yeast")
_KDD: Final = "kddcup99/kddcup.data_10_percent.gz"
_DIGITS_FILE: Final = Path(sklearn.datasets.__file__).parent / "data/digits.csv.gz"

FILES: Final = (
    {name: f"odds/{name}.npz" for name in _ODDS}
    | {name: f"uai/{name}.npz" for name in _UAI}
    | {"covtype": "odds/cover.npz", "kddcup": _KDD, "kddcup-rev": _KDD, "digits-0": ""}
)
"""Where each data set lies in the data folder. Thyroid and arrhythmia are the ODDS files in every table."""

DIGITS: Final = "digits-0"
"""The one data set that comes with scikit-learn instead of lying in the data folder."""

KDD_SYMBOLIC: Final = (
    "protocol_type", "service", "flag", "land", "logged_in", "is_host_login", "is_guest_login",
)  # fmt: skip
"""The seven fields that KDDCUP99's own description calls symbolic."""

NORMAL: Final = "normal"
"""The family of the connections that are no attack."""

_REV_ATTACKS = 24_319
_DIGITS_SEED = 0
_REV_SEED = 0


@dataclass(frozen=True, slots=True)
class DataSet:
    """n rows of D features as the file has them, unscaled."""

    name: str
    x: NDArray[np.float64]
    """[n, D]"""
    y: NDArray[np.int8]
    """[n] 1 anomaly, 0 normal."""
    family: NDArray[np.str_] | None = None
    """[n] the attack of each connection, or `NORMAL`; only of KDDCUP99."""


def load(folder: Path, name: str) -> DataSet:
    """Read one data set by its name in `FILES`.

    Raises `UserError` where its file is missing or is not what it should be.
    """
    if name == DIGITS:
        return _digits()
    path = file_of(folder, name)
    if FILES[name] == _KDD:
        return _kddcup(path, name)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["X"].astype(np.float64), arrays["y"].astype(np.int8)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no NPZ file with the arrays X and y ({error})") from error
    return DataSet(name, x, y)


def file_of(folder: Path, name: str) -> Path:
    """The file that holds a data set. Raises `UserError` where there is none."""
    path = _DIGITS_FILE if name == DIGITS else folder / FILES[name]
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; name the folder of the data sets with --data DIR or STREAMAD_DATA"
        )
    return path


@functools.cache
def digest(path: Path) -> str:
    """The first 16 hex digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _digits() -> DataSet:
    """The UAI paper's MNIST-0 on scikit-learn's digits: 64 pixels in [0, 1], then the class as 9 indicators.

    A tenth of the zeros stay, with a random other class: they are the anomalies (section 4.1).
    """
    digits = load_digits()
    random = np.random.default_rng(_DIGITS_SEED)
    zeros = random.permutation(np.flatnonzero(digits.target == 0))
    rows = np.sort(np.concatenate([np.flatnonzero(digits.target), zeros[: round(len(zeros) / 10)]]))
    anomalous = digits.target[rows] == 0
    kind = np.where(anomalous, random.integers(1, 10, len(rows)), digits.target[rows])
    x = np.concatenate([digits.data[rows] / 16, kind[:, None] == np.arange(1, 10)], axis=1)
    return DataSet(DIGITS, x, anomalous.astype(np.int8))


def _kddcup(path: Path, name: str) -> DataSet:
    """KDDCUP99's 10 % file, or its reverse.

    ``kddcup`` takes the 97,278 normal connections for the anomalies, since attacks are the majority (Zong et al.
    2018). ``kddcup-rev`` keeps all of them as the normal rows and draws 24,319 attacks, a fifth of the set.
    """
    frame = _frame(path)
    family = frame[KDD_LABEL].str.strip_chars_end(".").to_numpy().astype(np.str_)
    attack = family != NORMAL
    if name == "kddcup":
        return DataSet(name, _encoded(frame, np.arange(len(attack))), (~attack).astype(np.int8), family)
    drawn = np.random.default_rng(_REV_SEED).choice(np.flatnonzero(attack), _REV_ATTACKS, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(~attack), drawn]))
    return DataSet(name, _encoded(frame, rows), attack[rows].astype(np.int8), family[rows])


@functools.lru_cache(maxsize=1)
def _frame(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path, has_header=False, new_columns=list(KDD_FIELDS), infer_schema_length=10_000)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} is no KDDCUP99 file ({error})") from error


def _encoded(frame: pl.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Features [n, 120] of n rows: 34 numbers, then an indicator for each value of a symbolic field that varies.

    `is_host_login` is 0 throughout this file, hence 120 columns as in the papers and not 121.
    """
    taken = frame[rows]
    columns = [taken[name] for name in frame.columns if name not in {*KDD_SYMBOLIC, KDD_LABEL}]
    for name in KDD_SYMBOLIC:
        values = frame[name].unique().sort()
        if len(values) > 1:
            columns += [taken[name] == value for value in values]
    return np.stack([column.to_numpy().astype(np.float64) for column in columns], axis=1)
