"""What becomes of good and bad challengers: ``python tests/benchmarks/trial.py [--repeats N] [KIND …]``.

Champion and challengers are trained on KDDCUP99's normal records in file order; how many of each kind are promoted,
and why the others are not, is printed. Needs the data folder (STREAMAD_DATA).
"""

from __future__ import annotations

import argparse
import functools
import gzip
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from streamad_connectors.files import FilesOptions
from streamad_connectors.memory import memory_block

from streamad.bench.stream.streams import KDD_FILE, NORMAL, families
from streamad.config import load_config
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.state.artifacts import Artifact
from streamad.training.fit import fit
from streamad.training.snapshot import Snapshot
from streamad.training.trial import Trial, on_trial

Rows = NDArray[np.int64]

WINDOW = 20_000
LABELED = 60


class World:
    """KDDCUP99, decoded, and what is drawn from it with one seed."""

    def __init__(self, folder: Path) -> None:
        lines = gzip.decompress((folder / KDD_FILE).read_bytes()).splitlines(keepends=True)
        self.config = load_config(Path(__file__).parents[2] / "configs" / "kddcup99.yaml")
        dictionary = Dictionary(self.config.schema_.categories)
        decoder = Decoder(
            self.config.schema_, FilesOptions(type="files", paths=["-"], format="kdd"), dictionary
        )
        batch = decoder.decode(memory_block("kdd", lines, range(len(lines)), {}), 0)
        self.numbers, self.codes = batch.numbers, batch.codes
        fields = range(len(self.config.schema_.categories))
        self.values = tuple(tuple(dictionary.values(field)) for field in fields)
        self.family = families(tuple(lines))
        self.normal = np.flatnonzero(self.family == NORMAL)
        self.attacks = np.flatnonzero(self.family != NORMAL)

    def snapshot(self, rows: Rows, labeled: Rows, seed: int, version: int) -> Snapshot:
        """A training on some rows of the file."""
        return Snapshot(
            numbers=self.numbers[rows],
            codes=self.codes[rows],
            records=np.arange(len(rows)),
            values=self.values,
            labeled_numbers=self.numbers[labeled],
            labeled_codes=self.codes[labeled],
            labeled_verdict=(self.family[labeled] != NORMAL).astype(np.int8),
            labeled_events=tuple(f"kdd/{row}" for row in labeled.tolist()),
            label_position=len(labeled),
            schema=self.config.schema_,
            features=self.config.features,
            detector=self.config.detector,
            seed=seed,
            version=version,
            parent=1,
            feed="kdd",
            prior_rate=0.01,
        )

    def labeled(self, seed: int) -> Rows:
        """Half attacks, of the large families, half normal records."""
        random = np.random.default_rng((seed, 1))
        kinds = [self.attacks[self.family[self.attacks] == one] for one in LARGE]
        some = [random.choice(kind, LABELED // 2 // len(LARGE), replace=False) for kind in kinds]
        return np.concatenate([*some, random.choice(self.normal[:WINDOW], LABELED // 2, replace=False)])


FOES = ("smurf", "neptune", "back", "satan")
LARGE = ("smurf", "neptune", "back", "satan", "ipsweep", "warezclient")


class Case:
    """One seed's champion, the snapshot of an honest challenger, and what can be done to it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        start = 1000 * seed
        self.labels = world.labeled(seed)
        self.first = world.normal[start : start + WINDOW]
        self.champion = fit(world.snapshot(self.first, self.labels, seed, 1))
        self.recent = world.normal[start + WINDOW : start + 2 * WINDOW]
        self.honest = world.snapshot(self.recent, self.labels, seed, 2)
        self.random = np.random.default_rng((seed, 2))
        self.foe = FOES[seed % len(FOES)]

    @functools.cached_property
    def challenger(self) -> Artifact:
        """What an honest training makes."""
        return fit(self.honest)

    @property
    def unaware(self) -> Rows:
        """The labels without those of one family."""
        return self.labels[self.world.family[self.labels] != self.foe]

    def contaminated(self, attacks: Rows, share: float, labels: Rows) -> Snapshot:
        """The recent window with so many of its rows replaced by attacks, in runs of a hundred."""
        rows, runs = self.recent.copy(), round(share * WINDOW / 100)
        for start in self.random.choice(WINDOW // 100, runs, replace=False) * 100:
            rows[start : start + 100] = self.random.choice(attacks, 100)
        return self.world.snapshot(rows, labels, self.seed, 2)

    @property
    def foes(self) -> Rows:
        """All rows of that family."""
        return np.flatnonzero(self.world.family == self.foe)


def shuffled(case: Case) -> Trial:
    """Every column in an order of its own."""
    shot = case.honest
    mixed = replace(
        shot,
        numbers=case.random.permuted(shot.numbers, axis=0),
        codes=case.random.permuted(shot.codes, axis=0),
    )
    return judged(case, fit(mixed), shot)


def family(case: Case) -> Trial:
    """30 % of the window is one attack that nobody labeled."""
    shot = case.contaminated(case.foes, 0.3, case.unaware)
    return on_trial(fit(case.world.snapshot(case.first, case.unaware, case.seed, 1)), fit(shot), shot)


def attacks(case: Case) -> Trial:
    """5 % of the window are attacks."""
    shot = case.contaminated(case.world.attacks, 0.05, case.labels)
    return judged(case, fit(shot), shot)


def flipped(case: Case) -> Trial:
    """30 % of its labels are wrong."""
    wrong = case.random.random(len(case.labels)) < 0.3
    verdict = np.where(wrong, 1 - case.honest.labeled_verdict, case.honest.labeled_verdict).astype(np.int8)
    return judged(case, fit(replace(case.honest, labeled_verdict=verdict)), case.honest)


def hour(case: Case) -> Trial:
    """It has seen a twentieth of the window, at one go."""
    rows, start = WINDOW // 20, int(case.random.integers(WINDOW * 19 // 20))
    part = case.world.snapshot(case.recent[start : start + rows], case.labels, case.seed, 2)
    return judged(case, fit(part), case.honest)


def forgot(case: Case) -> Trial:
    """It was never told of one labeled family, and had 2 % of it in its window."""
    return judged(case, fit(case.contaminated(case.foes, 0.02, case.unaware)), case.honest)


def doubled(case: Case) -> Trial:
    """Its reference lacks every second of the most surprising tenth, so that it alerts twice as often."""
    manifest, tensors = case.challenger
    order, tenth = np.argsort(tensors["reference.score"]), len(tensors["reference.score"]) // 10
    kept = np.sort(np.concatenate([order[:-tenth], order[-tenth::2]]))
    thinner = {name: tensors[name][kept] for name in ("reference.score", "reference.features")}
    return judged(case, (manifest, tensors | thinner), case.honest)


def nan(case: Case) -> Trial:
    """One of its weights is no number."""
    manifest, tensors = case.challenger
    name = next(name for name in tensors if name.startswith("model."))
    broken = tensors[name].copy()
    broken.flat[0] = np.nan
    return judged(case, (manifest, {**tensors, name: broken}), case.honest)


def constant(case: Case) -> Trial:
    """All records look the same to it."""
    manifest, tensors = case.challenger
    zero = {name: np.zeros_like(t) for name, t in tensors.items() if name == "encoder.factor"}
    blind = {name: np.full_like(t, -1) for name, t in tensors.items() if name.startswith("encoder.slots")}
    return judged(case, (manifest, {**tensors, **zero, **blind}), case.honest)


def equal(case: Case) -> Trial:
    """The champion's own data, another seed."""
    return on_trial(case.challenger, fit(replace(case.honest, version=7)), case.honest)


def tenfold(case: Case) -> Trial:
    """The champion knows the first 5,000 records alone."""
    first = case.world.normal[1000 * case.seed :]
    shot = case.world.snapshot(first[:50_000], case.labels, case.seed, 2)
    return on_trial(fit(case.world.snapshot(first[:5000], case.labels, case.seed, 1)), fit(shot), shot)


KINDS: dict[str, Callable[[Case], Trial]] = {
    one.__name__: one
    for one in (shuffled, family, attacks, flipped, hour, forgot, doubled, nan, constant, equal, tenfold)
}


def judged(case: Case, challenger: Artifact, evidence: Snapshot) -> Trial:
    """As the trainer does after a training."""
    return on_trial(case.champion, challenger, evidence)


def main() -> None:
    """Run the kinds named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    world = World(Path(os.environ.get("STREAMAD_DATA", "../shared/data")))
    outcomes: dict[str, list[Trial]] = {kind: [] for kind in args.kinds or KINDS}
    for seed in range(args.repeats):
        case = Case(world, seed)
        for kind, trials in outcomes.items():
            trials.append(KINDS[kind](case))
            sys.stdout.write(f"{seed} {kind}: {trials[-1].promoted}, {trials[-1].reason}\n")
            sys.stdout.flush()
    for kind, trials in outcomes.items():
        sys.stdout.write(f"{kind}: {sum(one.promoted for one in trials)} of {len(trials)} promoted\n")


if __name__ == "__main__":
    main()
