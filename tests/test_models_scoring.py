from __future__ import annotations

import numpy as np
import pytest
import torch
from detectors_help import DETECTORS, worn

from streamad.features.encoder import Encoder
from streamad.features.options import FeatureOptions
from streamad.models.base import find_detector, make_detector
from streamad.models.head_features import LIMIT, FeatureStats, raw_features
from streamad.models.options import DetectorOptions
from streamad.models.scoring_model import CHUNK, ScoringModel
from streamad.records.schema import Schema

SCHEMA = Schema(fields={"a": "numeric", "proto": "categorical", "b": "numeric"})
VALUES = (("", "tcp", "udp"),)
OPTIONS = DetectorOptions(members=3, hidden=(5, 4), latent=2)
SEEDS = (1, 2, 3)
FOR_FEEDS = tuple(name for name in DETECTORS if find_detector(name).FEEDS)


def parts(name="dp_vae", norm=0):
    options = OPTIONS.model_copy(update={"name": name, "settings": {"norm": norm}})
    generator = np.random.default_rng(0)
    numbers, codes = generator.normal(size=(50, 2)), generator.integers(1, 3, (50, 1)).astype(np.int32)
    encoder = Encoder.fit(SCHEMA, numbers, codes, VALUES, FeatureOptions())
    detector = worn(make_detector(name, encoder.width, options, SEEDS))
    manifest = {"encoder": encoder.meta(), "detector": options.model_dump()}
    stats = FeatureStats(torch.zeros(7), torch.ones(7))
    tensors = {f"encoder.{key}": value for key, value in encoder.tensors().items()}
    tensors |= {f"model.{key}": value.numpy() for key, value in detector.state_dict().items()}
    tensors |= {f"stats.{key}": value for key, value in stats.tensors().items()}
    return manifest, tensors


def model(name="dp_vae", norm=0):
    return ScoringModel.from_parts(*parts(name, norm), "cpu", 1)


def rows(n, width=5):
    return np.random.default_rng(2).normal(size=(n, width)).astype(np.float32)


@pytest.mark.parametrize("norm", [0, 1])
@pytest.mark.parametrize("name", DETECTORS)
def test_a_score_does_not_depend_on_its_neighbours_however_a_batch_is_cut(name, norm):
    scorer, x = model(name, norm), rows(3 * CHUNK + 17)
    whole = scorer.score(x)
    for size in (1, 2, 63, 64, 65, 100, CHUNK - 1, CHUNK, CHUNK + 1, 1000):
        cuts = [x[i : i + size] for i in range(0, len(x), size)][:40]
        scored = [scorer.score(cut) for cut in cuts]
        n = sum(map(len, cuts))
        assert np.concatenate([s.score for s in scored]).tobytes() == whole.score[:n].tobytes()
        assert np.concatenate([s.features for s in scored]).tobytes() == whole.features[:n].tobytes()
        few = [scorer.score_few(cut).score for cut in cuts]
        assert np.concatenate(few).tobytes() == whole.score[:n].tobytes()


@pytest.mark.parametrize("width", [1, 5, 7, 9, 11, 31, 118])
@pytest.mark.parametrize(("members", "hidden", "latent"), [(5, (32, 16), 8), (1, (9,), 5), (3, (5, 7), 1)])
@pytest.mark.parametrize("name", FOR_FEEDS)
def test_a_row_scores_alike_at_every_place_of_a_chunk(name, width, members, hidden, latent):
    options = DetectorOptions(members=members, hidden=hidden, latent=latent)
    detector = make_detector(name, width, options, range(members))
    detector.prepare()
    row = torch.randn(1, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        x = row.expand(CHUNK, -1).contiguous()
        scores, latents = detector.score(x)
    assert (scores == scores[:, :1]).all()
    assert (latents == latents[:, :1]).all()


def test_the_score_is_the_mean_over_the_members_and_the_features_are_latents_and_level():
    scorer, x = model(), rows(5)
    detector = worn(make_detector("dp_vae", 5, OPTIONS, SEEDS))
    scores, latents = detector.score(torch.from_numpy(x))
    scored = scorer.score(x)
    assert scored.score == pytest.approx(scores.mean(0).detach().numpy(), rel=1e-5)
    expected = raw_features(scores.mean(0), latents).detach().numpy()
    assert scored.features == pytest.approx(expected, abs=1e-5)
    assert expected[:, 2] == pytest.approx(latents[1, :, 0].detach().numpy())
    assert scored.score.dtype == scored.features.dtype == np.float64


def test_head_features_are_standardised_on_the_rows_they_were_fitted_on_and_clipped():
    raw = torch.from_numpy(rows(200, 3)) * 5 + 2
    stats = FeatureStats.fit(raw)
    inside = stats.apply(raw)
    assert inside.mean(0).tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert inside.std(0, correction=0).tolist() == pytest.approx([1] * 3, abs=1e-5)
    assert stats.apply(raw * 1e9).abs().max() == LIMIT


def test_a_feature_that_never_moved_is_not_blown_up():
    stats = FeatureStats.fit(torch.ones(10, 3))
    assert stats.apply(torch.full((1, 3), 1.001)).abs().max() < 1.1


def test_the_most_extreme_rows_have_finite_scores():
    x = np.array([[1e6] * 5, [-1e6] * 5, [0] * 5], np.float32)
    scored = model().score(x)
    assert np.isfinite(scored.score).all()
    assert np.isfinite(scored.features).all()
    assert scored.score[0] > scored.score[2]


def test_no_rows_have_no_scores():
    scorer = model()
    assert scorer.score(rows(0)).score.shape == (0,)
    assert scorer.score(rows(0)).features.shape == (0, 7)
    assert scorer.score_few(rows(0)).score.shape == (0,)


def test_weights_that_do_not_fit_or_are_not_finite_are_refused():
    manifest, tensors = parts()
    name = next(key for key in tensors if key.endswith("weight"))
    with pytest.raises(ValueError, match="not finite"):
        ScoringModel.from_parts(manifest, tensors | {name: tensors[name] * np.float32("nan")}, "cpu", 1)
    with pytest.raises(ValueError, match="do not fit"):
        ScoringModel.from_parts(manifest, tensors | {name: tensors[name][:1]}, "cpu", 1)
    del tensors[name]
    with pytest.raises(ValueError, match="do not fit"):
        ScoringModel.from_parts(manifest, tensors, "cpu", 1)
