"""The parts of ``streamad bench stream``: streams, the analyst, the judgement."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from stream_help import short

from streamad.bench.stream.analyst import WARM_UP, Analyst
from streamad.bench.stream.judge import Emitted, judge
from streamad.bench.stream.peers import Unlabeled, prequential
from streamad.bench.stream.streams import KDD_FILE, NORMAL, STREAMS, Stream, generated, load
from streamad.errors import UserError


def stream_of(family, labels_end=None, held_back=()):
    family = np.array(family)
    lines = tuple(b"line\n" for _ in family)
    return Stream("test", lines, family, len(lines) if labels_end is None else labels_end, held_back)


def counts_of(stream, rows=slice(None)):
    names, counts = np.unique(stream.family[rows], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


# ---- streams -------------------------------------------------------------------------------------


@pytest.fixture
def kdd(tmp_path):
    """A file in KDDCUP99's format: 980 normal records, 300 of each of two attacks, 50 of a third, mixed."""
    family = np.repeat(["normal", "smurf", "neptune", "phf"], [980, 300, 300, 50])
    family = np.random.default_rng(0).permutation(family)
    lines = [f"{number},tcp,http,SF,{'0,' * 37}{name}.\n" for number, name in enumerate(family)]
    path = tmp_path / KDD_FILE
    path.parent.mkdir()
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return tmp_path


def number_of(line):
    return int(line.partition(b",")[0])


def test_two_percent_are_attacks_and_all_normal_records_stay_in_file_order(kdd):
    stream = load("kdd-2pct", kdd, 0)
    assert (len(stream), int(stream.truth.sum())) == (1000, 20)
    numbers = [number_of(line) for line in stream.lines]
    assert numbers == sorted(numbers)
    assert [line.rpartition(b",")[2] for line in stream.lines] == [
        f"{name}.\n".encode() for name in stream.family
    ]


def test_a_seed_gives_the_same_stream_again_and_another_one_other_attacks(kdd):
    assert load("kdd-2pct", kdd, 1).lines == load("kdd-2pct", kdd, 1).lines != load("kdd-2pct", kdd, 2).lines


def test_each_family_is_there_a_hundred_times_at_most(kdd):
    assert counts_of(load("kdd-100-each", kdd, 0)) == {"normal": 980, "smurf": 100, "neptune": 100, "phf": 50}


def test_a_family_held_back_comes_only_after_the_labels_end(kdd):
    first, second = load("kdd-held-back", kdd, 0), load("kdd-held-back", kdd, 1)
    assert (first.held_back, second.held_back) == (("neptune",), ("smurf",))
    assert first.labels_end == 600
    assert counts_of(first, slice(first.labels_end)).keys() <= {"normal", "smurf", "phf"}
    assert counts_of(first, slice(first.labels_end, None))["neptune"] == 200


def test_without_the_file_one_sentence_says_where_it_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"kddcup.data_10_percent.gz does not exist; name the folder"):
        load("kdd-2pct", tmp_path, 0)


@pytest.mark.parametrize(
    "text", [b"no gzip", gzip.compress(b"no comma\n", mtime=0), gzip.compress(b"a,b\n", mtime=0)[:-9]]
)
def test_another_file_in_its_place_is_named(kdd, text):
    (kdd / KDD_FILE).write_bytes(text)
    with pytest.raises(UserError, match="is no KDDCUP99 file"):
        load("kdd-2pct", kdd, 0)


def test_generated_traffic_goes_on_where_its_first_part_ended():
    whole = generated(3, 300, drift=True)
    assert whole[200:] == generated(3, 100, drift=True, start=200)
    assert len(whole) == 300


def test_there_are_five_streams():
    assert list(STREAMS) == [
        "kdd-2pct",
        "kdd-100-each",
        "kdd-held-back",
        "generator-stationary",
        "generator-drifting",
    ]


# ---- the analyst ---------------------------------------------------------------------------------


def test_questions_are_spread_evenly_behind_the_warm_up_and_end_with_the_labels():
    stream = stream_of([NORMAL] * 20_000, labels_end=18_000)
    analyst = Analyst(stream, labels=4, delay=0, wrong=0.0, seed=0)
    moments = []
    for records in range(0, 20_000, 100):
        due = analyst.questions(records)
        analyst.ask(range(len(analyst.asked), len(analyst.asked) + due), records)
        moments += [records] * due
    assert moments == [11_000, 13_000, 15_000, 17_000]
    assert WARM_UP == 10_000


def test_an_answer_arrives_once_and_not_before_its_delay():
    analyst = Analyst(stream_of([NORMAL, "smurf"]), labels=2, delay=100, wrong=0.0, seed=0)
    analyst.ask([1, 0], records=500)
    assert analyst.answers(599) == []
    assert analyst.answers(600) == [(1, True), (0, False)]
    assert analyst.answers(600) == []
    assert analyst.asked == [1, 0]


def test_the_share_of_wrong_answers_is_as_asked_for_and_the_same_each_time():
    stream = stream_of([NORMAL] * 1000)

    def wrong(share, seed):
        analyst = Analyst(stream, labels=1000, delay=0, wrong=share, seed=seed)
        analyst.ask(range(1000), records=0)
        return [answer.row for answer in analyst.answers(0) if answer.anomalous]

    assert wrong(0.0, 0) == []
    assert len(wrong(1.0, 0)) == 1000
    assert 60 < len(wrong(0.1, 0)) < 140
    assert wrong(0.1, 0) == wrong(0.1, 0) != wrong(0.1, 1)


# ---- the judgement -------------------------------------------------------------------------------


def test_only_the_second_half_counts():
    stream = stream_of(["smurf", NORMAL, "smurf", NORMAL])
    found = judge(stream, Emitted(np.array([0.0, 9.0, 5.0, 1.0])), [])
    assert (found.average_precision, found.auroc, found.recall_at_budget) == (1.0, 1.0, 1.0)


def test_equal_p_values_are_ranked_by_score_and_equal_scores_stay_equal():
    emitted = Emitted.by_p_value(
        np.array([0.5, 1e-12, 1e-12, 1e-12, 1e-3]), np.array([9.0, 1.0, 3.0, 3.0, 0.0]), alerts=[2]
    )
    assert emitted.score.tolist() == [1, 3, 4, 4, 2]
    assert emitted.alerts.tolist() == [False, False, True, False, False]


def test_recall_is_judged_at_one_percent_of_the_normal_records_and_per_family():
    family = [NORMAL] * 2000
    family[1000:1010] = ["smurf"] * 8 + ["phf"] * 2
    score = np.zeros(2000)
    score[1010:1020] = 5.0  # one percent of the normal records of the second half
    score[1000:1006] = 9.0
    found = judge(stream_of(family), Emitted(score), asked=[1000, 1001, 1009, 5])
    assert found.recall_at_budget == pytest.approx(6 / 10)
    assert found.family_recall == pytest.approx((6 / 8 + 0) / 2)
    assert found.families_found == 2


def test_recall_of_families_held_back_counts_the_highest_one_percent_without_other_attacks():
    family = np.array([NORMAL] * 1000)
    family[990:1000] = "pod"
    family[700:800] = "smurf"
    score = np.zeros(1000)
    score[700:800], score[990:992], score[900] = 9.0, 5.0, 7.0
    stream = stream_of(family, labels_end=500, held_back=("pod",))
    # 390 normal and 10 held back make a budget of 4: the normal 900, two of pod, and the first of those at 0
    assert judge(stream, Emitted(score), []).recall_unseen == pytest.approx(2 / 10)
    assert judge(stream_of(family), Emitted(score), []).recall_unseen is None


def test_a_curve_has_no_value_where_there_is_no_attack():
    family = np.array([NORMAL] * 200)
    family[[15, 195]] = "smurf"
    score = np.zeros(200)
    score[[15, 196]] = 1.0
    curve = judge(stream_of(family), Emitted(score), []).curve
    assert (len(curve), curve[1], curve[0]) == (20, 1.0, None)
    assert curve[19] == pytest.approx(1 / 10)


# ---- peers ---------------------------------------------------------------------------------------


class Numbered(Unlabeled):
    """Scores a record by its number, and notes what it is taught."""

    def __init__(self):
        self.taken, self.taught = [], []

    def take(self, start, stop):
        self.taken.append((start, stop))
        return np.arange(start, stop, dtype=float)

    def learn(self, answers):
        self.taught.append((self.taken[-1][1], [answer.row for answer in answers]))


def test_a_peer_asks_only_about_what_it_has_scored_and_learns_after_the_delay():
    stream, peer = stream_of([NORMAL] * 13_000), Numbered()
    analyst = Analyst(stream, labels=3, delay=1000, wrong=0.0, seed=0)
    emitted = prequential(peer, stream, analyst)
    assert emitted.score.tolist() == list(range(13_000))
    assert [stop for _, stop in peer.taken][:2] == [512, 1024]
    assert analyst.asked == [10_751, 11_775, 12_799]
    assert peer.taught == [(11_776, [10_751]), (12_800, [11_775])]


def test_a_short_stream_of_the_tests_has_attacks_behind_its_warm_up():
    assert counts_of(short("x", 0))["rare"] == 5
