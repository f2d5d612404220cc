"""What a feed's fields mean, guessed from a sample: the schema that `streamad init` proposes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from streamad.errors import InputError
from streamad.records.clocks import Clock, find_clock, steadiness
from streamad.records.kdd import KDD_BOOLEAN, KDD_CATEGORICAL, KDD_LABEL
from streamad.records.sample import Sample
from streamad.records.schema import FieldWord, PayloadFormat, Schema, TruthSpec
from streamad.records.table import MAJORITY, Column, Table, is_number, rare_fields, read_table
from streamad.records.values import FALSE_WORDS, TRUE_WORDS, shown

_LABEL_NAMES = (
    "label", "labels", "isanomaly", "anomaly", "isfraud", "fraud", "isattack", "attack", "attacktype",
    "attackcat", "isoutlier", "outlier", "groundtruth", "truth", "class",
)  # fmt: skip
_TWO_VALUED_LABELS = frozenset({"target", "y", "malicious", "ismalicious"})
"""Names of many things besides the truth: only a column with two values is taken for it."""

_NORMAL_WORDS = frozenset({
    "normal", "benign", "ok", "legit", "legitimate", "background", "genuine", "good", "none", "no", "false", "0",
})  # fmt: skip
_CODE_WORDS = ("code", "status", "type", "port", "proto", "protocol", "vlan", "category")
"""Last words of the names of integers that are names of things, not amounts."""

_MAX_TRUTHS = 100
_FEW = 20
"""Below so many values, uniqueness and small alphabets say nothing."""
_MAX_CATEGORIES = 1000
_ONE_HOT_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Inferred:
    """How a sample reads."""

    payload: PayloadFormat
    schema: Schema
    notes: dict[str, str]
    """field -> why it was taken for what it is, one line without control characters."""
    rows: int
    """How many sampled records that rests on."""
    unreadable: int
    """Sampled rows that are no records of the format."""
    remarks: tuple[str, ...] = ()
    """What the user should check about the time."""
    omissions: tuple[str, ...] = ()
    """What of the sample is not in the schema, each a sentence without control characters."""


@dataclass(slots=True)
class _Field:
    """One column while it is being judged."""

    name: str
    column: Column
    counts: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = Counter(value for value in self.column if value is not None)

    @property
    def present(self) -> int:
        return self.counts.total()

    @property
    def unique(self) -> bool:
        return len(self.counts) == self.present

    @property
    def plain_name(self) -> str:
        """Lower case, without marks between words."""
        return "".join(ch for ch in self.name.lower() if ch.isalnum())

    def share(self, values: Iterable[str]) -> float:
        """The share of the present values that are among these."""
        return sum(self.counts[value] for value in values) / self.present


Verdict = tuple[FieldWord, str]


def infer(sample: Sample) -> Inferred:
    """Propose how to read a feed. Raises `InputError` where nothing is recognisable or no field can be a feature."""
    table = read_table(sample)
    if table.payload.format == "kdd":
        return _kdd(table)
    fields = [_Field(name, column) for name, column in table.columns.items()]
    verdicts: dict[str, Verdict] = {}
    truth = _take_truth(fields, verdicts, table.rare)
    left_out = [each.name for each in fields if each.name in table.rare and each.name not in verdicts]
    fields = [each for each in fields if each.name not in left_out]
    if table.payload.format in {"ndjson", "parquet"}:
        _pass_by_arrays(fields, verdicts)
    clock = _take_clock(fields, verdicts)
    _take_key(fields, verdicts)
    for each in fields:
        if each.name not in verdicts:
            verdicts[each.name] = _feature(each)
    words = {each.name: verdicts[each.name][0] for each in fields}
    if not {"numeric", "categorical", "boolean"} & set(words.values()):
        raise InputError(f"{sample.name}: no column looks like a feature, so there is nothing to score")
    omissions = (*table.omissions, rare_fields(left_out)) if left_out else table.omissions
    return _inferred(table, words, verdicts, truth, clock, omissions)


def _inferred(
    table: Table,
    words: dict[str, FieldWord],
    verdicts: dict[str, Verdict],
    truth: TruthSpec,
    clock: Clock | None,
    omissions: tuple[str, ...],
) -> Inferred:
    schema = Schema(fields=words, time=clock.spec if clock else None, truth=truth)
    notes = {name: verdicts[name][1] for name in words}
    return Inferred(table.payload, schema, notes, table.rows, table.unreadable, _remarks(clock), omissions)


def _remarks(clock: Clock | None) -> tuple[str, ...]:
    if clock is None:
        return ()
    if clock.relative:
        return (
            "the time counts from a zero of its own and is read as seconds since 1970: only differences mean something",
        )
    return () if clock.zoned else ("the times carry no zone: say here which one they are in",)


def _kdd(table: Table) -> Inferred:
    """The standard fields; what they are is part of the format."""
    words: dict[str, FieldWord] = dict.fromkeys(table.columns, "numeric")
    words.update(dict.fromkeys(KDD_CATEGORICAL, "categorical"))
    words.update(dict.fromkeys(KDD_BOOLEAN, "boolean"))
    words[KDD_LABEL] = "label"
    notes = dict.fromkeys(words, "")
    notes[KDD_LABEL] = "the truth, for evaluation only: it never reaches a model"
    notes |= {name: _constant_note(column) for name, column in table.columns.items() if len(set(column)) == 1}
    return Inferred(table.payload, Schema(fields=words), notes, table.rows, table.unreadable)


def _constant_note(column: Column) -> str:
    return f"always {shown(column[0] or '')} in the sample"


def _take_truth(fields: list[_Field], verdicts: dict[str, Verdict], rare: Collection[str]) -> TruthSpec:
    """Find the label column; a second one would give the answer away, so it is ignored."""
    found = [each for each in fields if _is_truth(each)]
    found.sort(
        key=lambda each: (
            each.name in rare,
            _LABEL_NAMES.index(each.plain_name) if each.plain_name in _LABEL_NAMES else 99,
        )
    )
    if not found:
        return TruthSpec()
    label, *others = found
    verdicts[label.name] = "label", "named like the truth: for evaluation only, it never reaches a model"
    for other in others:
        verdicts[other.name] = "ignore", f"a second column named like the truth, beside {shown(label.name)}"
    return _normal_values(label)


def _is_truth(each: _Field) -> bool:
    if each.plain_name in _TWO_VALUED_LABELS:
        return len(each.counts) == 2
    return each.plain_name in _LABEL_NAMES and 0 < len(each.counts) <= min(
        _MAX_TRUTHS, max(2, each.present // 2)
    )


def _normal_values(label: _Field) -> TruthSpec:
    """The label's values that mean normal; where no word says so, the most frequent one."""
    known = tuple(value for value in label.counts if value.lower().removesuffix(".") in _NORMAL_WORDS)
    return TruthSpec(normal=known or (label.counts.most_common(1)[0][0],))


def _pass_by_arrays(fields: list[_Field], verdicts: dict[str, Verdict]) -> None:
    """JSON arrays are ignored: a field is one value."""
    for each in fields:
        arrays = [value for value in each.counts if value.startswith("[") and value.endswith("]")]
        if each.name not in verdicts and arrays and each.share(arrays) >= MAJORITY:
            verdicts[each.name] = "ignore", "JSON arrays; a feature is a single value"


def _take_clock(fields: list[_Field], verdicts: dict[str, Verdict]) -> Clock | None:
    clocks = {each.name: find_clock(each.name, each.column) for each in fields if each.name not in verdicts}
    found = {name: clock for name, clock in clocks.items() if clock is not None}
    if not found:
        return None
    best = max(found, key=lambda name: found[name].rank)
    for name, clock in found.items():
        if name == best:
            verdicts[name] = "time", f"grows like a clock, written as {clock.spec.format}"
        elif not clock.relative:
            verdicts[name] = "ignore", f"another time; the event time is {shown(best)}"
    return found[best]


def _take_key(fields: list[_Field], verdicts: dict[str, Verdict]) -> None:
    """Of the columns whose values never repeat, the most id-like is the key."""
    unique = [each for each in fields if each.name not in verdicts and _is_key(each)]
    unique.sort(key=lambda each: not _has_key_name(each))
    for place, each in enumerate(unique):
        if place == 0:
            verdicts[each.name] = "id", f"{each.present} values, none twice: carried as the key"
        else:
            verdicts[each.name] = "ignore", f"{each.present} values, none twice: nothing to learn from"


def _has_key_name(each: _Field) -> bool:
    return each.plain_name.endswith(("id", "key", "guid", "hash", "index", "no"))


def _is_key(each: _Field) -> bool:
    """Unique text, or unique integers that count up or are named like a key."""
    if not each.unique or each.present < (2 if _has_key_name(each) else _FEW):
        return False
    numbers = [value for value in each.counts if is_number(value)]
    if len(numbers) < MAJORITY * each.present:
        return True
    if not all(value.lstrip("+-").isdigit() for value in numbers):
        return False
    return _has_key_name(each) or steadiness([int(value) for value in numbers]) == 1.0


def _feature(each: _Field) -> Verdict:
    """The kind of a field that has no role."""
    if not each.present:
        return "ignore", "no value in the sample"
    numbers = [value for value in each.counts if is_number(value)]
    numeric = each.share(numbers) >= MAJORITY
    if _is_boolean(each) and not (numeric and _beyond_one(numbers)):
        return "boolean", _spelled(each)
    if numeric:
        return _number(each, numbers)
    return _text(each)


def _is_boolean(each: _Field) -> bool:
    """Both words of truth and hardly any other; a few rows of nothing but 0 and 1 may be counts."""
    words = {value: value.lower() for value in each.counts}
    if set(words.values()) <= {"true", "false"}:
        return True
    yes = [value for value, word in words.items() if word in TRUE_WORDS]
    no = [value for value, word in words.items() if word in FALSE_WORDS]
    enough = each.present >= _FEW or not set(words.values()) <= {"0", "1"}
    return bool(yes and no) and enough and each.share(yes + no) >= MAJORITY


def _beyond_one(numbers: list[str]) -> bool:
    """Whether there are other numbers than 0 and 1."""
    return not {"0", "1"} >= set(numbers)


def _number(each: _Field, numbers: list[str]) -> Verdict:
    kind = _category_of_integers(each, numbers)
    if kind:
        return "categorical", f"{kind}: {_spelled(each)}"
    bad = each.present - sum(each.counts[value] for value in numbers)
    if bad:
        return "numeric", f"{bad} of {each.present} values are no numbers; such rows are rejected"
    if len(each.counts) == 1:
        return "numeric", _constant_note([value for value in each.column if value is not None])
    values = [float(value) for value in numbers]
    return "numeric", f"from {min(values):g} to {max(values):g}"


def _category_of_integers(each: _Field, numbers: list[str]) -> str:
    """Why integers are names of things, or nothing where they are amounts, as nearly all 0 and 1 beside others are."""
    distinct = len(numbers)
    whole = all(value.lstrip("+-").isdigit() for value in numbers)
    if not whole or distinct < 2 or (_is_boolean(each) and _beyond_one(numbers)):
        return ""
    if distinct <= 3 and each.present >= 10 * distinct:
        return f"{distinct} integers"
    repeated = distinct <= each.present / 10
    if repeated and distinct <= 30 and {len(value) for value in numbers} in ({3}, {4}, {5}):
        return "integers of one length, like codes"
    if repeated and distinct <= _MAX_CATEGORIES and each.plain_name.endswith(_CODE_WORDS):
        return "named like a code"
    return ""


def _text(each: _Field) -> Verdict:
    distinct = len(each.counts)
    if distinct == 1:
        return "categorical", _constant_note([value for value in each.column if value is not None])
    if each.present > _FEW and distinct > each.present / 2:
        return "ignore", f"text, {distinct} different values in {each.present}"
    if distinct > _ONE_HOT_SLOTS:
        return (
            "categorical",
            f"{distinct} values; the {_ONE_HOT_SLOTS} most frequent are told apart, the others are one",
        )
    return "categorical", _spelled(each)


def _spelled(each: _Field) -> str:
    """A few of the values, the most frequent first."""
    values = [shown(value[:20]) for value, _ in each.counts.most_common(4)]
    more = len(each.counts) - len(values)
    return ", ".join(values) + (f" and {more} more" if more > 0 else "")
