"""What training minimises, against values worked out by hand, each term by itself."""

from __future__ import annotations

import math

import pytest
import torch
from detectors_help import detector, labels
from losses_help import LN3, LN4, Noise, batch, constant, loss, mirror, silence, tiny

from streamad.models.base import make_detector
from streamad.models.options import DetectorOptions


def test_the_autoencoders_score_is_the_squared_error_averaged_over_features():
    for name in ("ae", "dae"):
        made = tiny(name)
        constant(made.encoder, 0.5, -0.5)
        constant(made.decoder, 1.0, 3.0)
        scores, latents = made.score(batch([0.0, 0.0], [1.0, 3.0])[0])
        assert scores.tolist() == [[5.0, 0.0]] * 3
        assert latents.tolist() == [[[0.5, -0.5]] * 2] * 3


@pytest.mark.parametrize("name", ["ae", "dae"])
def test_an_autoencoder_learns_from_every_row_but_labeled_anomalies(name):
    made = tiny(name)
    constant(made.decoder, 1.0, 3.0)
    x = batch([0.0, 0.0], [1.0, 3.0], [9.0, 9.0])  # errors 5, 0 and 50
    assert loss(made, x, (-1, 0, 1)) == 2.5
    assert loss(made, x, (1, 1, 1)) == 0


def test_the_dae_reconstructs_the_clean_row_out_of_the_noisy_one():
    made = tiny("dae", noise=0.5)
    mirror(made.encoder)
    mirror(made.decoder)
    assert loss(made, batch([1.0, 3.0]), (-1,), noise=2.0) == pytest.approx(
        1
    )  # one more than the row in each column
    assert loss(made, batch([1.0, 3.0]), (-1,), noise=0.0) == 0


def ae_sad(**settings):
    """AE-SAD that reconstructs every row as (0.5, 0.75)."""
    made = tiny("ae_sad", **settings)
    constant(made.decoder, 0.0, LN3)
    return made


@pytest.mark.parametrize("alpha", [0, 0.1, 1, 2])
def test_ae_sad_is_equation_2_over_the_rows_that_are_no_anomalies(alpha):
    made, x, y = ae_sad(alpha=alpha), batch([0.5, 0.25], [0.0, 0.75], [0.5, 0.75], [1.0, 0.0]), (-1, 0, -1, 1)
    (stage,) = made.stages()
    stage.begin([(x[:, :1], labels(*y[:1])), (x[:, 1:], labels(*y[1:]))])
    n, s = 3, 1
    heavier = 1 + alpha * (n / s - 1)
    # each row against (0.5, 0.75), the anomaly (1, 0) as its opposite (0, 1)
    normal, anomaly = (0.25 + 0.25 + 0) / 2, (0.25 + 0.0625) / 2
    expected = (normal + heavier * anomaly) / n
    assert loss(made, x, y) == pytest.approx(expected)


def test_ae_sad_without_labeled_anomalies_is_an_autoencoder():
    made, x = ae_sad(), batch([0.5, 0.25], [0.0, 0.75])
    made.stages()[0].begin([(x, labels(-1, 0))])
    assert loss(made, x, (-1, 0)) == pytest.approx((0.125 + 0.125) / 2)


def test_ae_sads_score_is_the_error_of_the_row_itself():
    scores, _ = ae_sad().score(batch([0.5, 0.25], [1.0, 0.0])[0])
    assert scores[0].tolist() == pytest.approx([0.125, (0.25 + 0.5625) / 2])


def deep(name="deep_sad", **settings):
    """A network that hands positive rows on, around the centre (1, 1)."""
    made = tiny(name, **settings)
    mirror(made.network)
    made.centre[:] = 1.0
    return made


POINTS = batch([2.0, 1.0], [1.0, 3.0], [4.0, 1.0])  # squared distances 1, 4 and 9


@pytest.mark.parametrize("eta", [1.0, 2.5])
def test_deep_sad_is_equation_8(eta):
    made = deep(eta=eta)
    assert loss(made, POINTS, (-1, 0, 1)) == pytest.approx((1 + eta * 4 + eta / (9 + 1e-6)) / 3)
    assert loss(made, POINTS, (1, 1, 0)) == pytest.approx(eta * (1 / (1 + 1e-6) + 1 / (4 + 1e-6) + 9) / 3)


def test_deep_sad_without_labels_is_the_mean_squared_distance():
    assert loss(deep(eta=7.0), POINTS, (-1, -1, -1)) == pytest.approx((1 + 4 + 9) / 3)


def test_an_anomaly_at_the_centre_costs_a_million():
    assert loss(deep(), batch([1.0, 1.0]), (1,)) == pytest.approx(1e6)


def test_deep_sad_pretrains_on_the_error_of_all_but_labeled_anomalies():
    made = deep()
    mirror(made.decoder, scale=2.0)  # so the error is the row itself
    x = batch([2.0, 0.0], [1.0, 3.0], [9.0, 9.0])
    assert loss(made, x, (-1, 0, 1), of="reconstruction_loss") == pytest.approx((2 + 5) / 2)


def test_the_centre_is_the_mean_code_without_labeled_anomalies_kept_away_from_zero():
    made = deep()
    parts = [(POINTS[:, :2], labels(-1, 0)), (POINTS[:, 2:], labels(1))]
    made.stages()[-1].begin(parts)
    assert made.centre.tolist() == [[[1.5, 2.0]]] * 3
    made.stages()[-1].begin([(batch([0.02, 1.0]), labels(-1))])
    assert made.centre.flatten().tolist() == pytest.approx([0.1, 1.0] * 3)
    made.stages()[-1].begin([(batch([-3.0, 1.0]), labels(-1))])  # -0.03 behind the leaky ReLU
    assert made.centre.flatten().tolist() == pytest.approx([-0.1, 1.0] * 3)


def test_deep_sads_score_is_the_distance_in_units_of_its_mean_in_training():
    made = deep()
    made.finish([(POINTS[:, :1], labels(-1)), (POINTS[:, 1:], labels(0, 1))])
    assert made.level.flatten().tolist() == [1.5] * 3
    scores, codes = made.score(POINTS[0])
    assert scores[0].tolist() == pytest.approx([1 / 1.5, 2 / 1.5, 3 / 1.5])
    assert torch.equal(codes, POINTS)


def test_a_row_at_the_centre_scores_nothing():
    made = deep().eval()
    scores, _ = made.score(torch.ones(1, 2))
    assert scores.tolist() == [[0.0]] * 3


def test_one_class_deep_svdd_is_the_mean_squared_distance_without_labeled_anomalies():
    assert loss(deep("deep_svdd"), POINTS, (-1, 0, 1)) == pytest.approx(2.5)
    assert loss(deep("deep_svdd"), POINTS, (1, 1, 1)) == 0


def test_a_soft_boundary_is_the_radius_and_what_sticks_out_of_it():
    made, x = deep("deep_svdd", nu=0.5), torch.cat((POINTS, batch([9.0, 9.0])), 1)
    # half of the squared distances 1, 4 and 9 lie within R^2 = 4
    assert loss(made, x, (-1, 0, -1, 1)) == pytest.approx(4 + 5 / 3 / 0.5)
    assert loss(made, x, (-1, 0, -1, 1), progress=0.05) == pytest.approx(14 / 3)
    assert loss(made, x, (1, 1, 1, 1)) == 0


def test_a_soft_boundary_pulls_only_at_rows_outside_of_it():
    made = deep("deep_svdd", nu=0.5)
    x = POINTS.clone().requires_grad_()
    made.loss(x, labels(-1, -1, -1), 1.0, Noise(0.0)).sum().backward()
    assert x.grad[0].abs().sum(1).tolist() == pytest.approx([0, 0, 2 * 3 / 3 / 0.5])


def test_the_supervised_loss_is_binary_cross_entropy_with_unlabeled_rows_as_normal():
    made = tiny("supervised")
    silence(made.output, 1.5)
    anomaly, normal = math.log(1 + math.exp(-1.5)), math.log(1 + math.exp(1.5))
    assert loss(made, POINTS, (-1, 0, 1)) == pytest.approx((2 * normal + anomaly) / 3)
    assert loss(made, POINTS, (-1, -1, -1)) == pytest.approx(normal)
    assert made.score(POINTS[0])[0].flatten().tolist() == pytest.approx([normal] * 9)


def test_the_classifiers_loss_is_the_cross_entropy_of_the_class_in_the_last_columns():
    made = detector("classifier", 5, hidden=(2,), classes=3).train()
    silence(made.output, 0.0, LN3, LN4)  # probabilities 1/8, 3/8 and 4/8
    x = batch([7.0, 7.0, 1.0, 0.0, 0.0], [7.0, 7.0, 0.0, 0.0, 1.0], [7.0, 7.0, 0.0, 1.0, 0.0])
    costs = [math.log(8), math.log(2), math.log(8 / 3)]
    assert made.score(x[0])[0][0].tolist() == pytest.approx(costs)
    assert loss(made, x, (-1, 0, 1)) == pytest.approx((costs[0] + costs[1]) / 2)
    assert loss(made, x, (1, 1, 1)) == 0


@pytest.mark.parametrize(
    ("anomalies", "drawn", "expected"),
    [(50, 0.0, 0.05 + 0.1 * 0.95), (2, 0.0, (0.002 + 0.1 * 0.998) * 11 / 2), (2, 0.125, 0.002 + 0.1 * 0.998)],
    ids=["in every batch", "in two of eleven batches", "drawn into every batch"],
)
def test_ae_sads_anomalies_weigh_the_same_over_an_epoch_however_few_they_are(anomalies, drawn, expected):
    options = DetectorOptions(members=1, hidden=(4,), latent=2, batch=100, labeled_share=drawn)
    made = make_detector("ae_sad", 3, options, [0])
    y = torch.full((1, 1000 + anomalies), -1, dtype=torch.int8)
    y[:, :anomalies] = 1
    begin = made.stages()[0].begin
    begin([(torch.zeros(1, 1000 + anomalies, 3), y)])
    assert made.weight.tolist() == pytest.approx([expected], rel=1e-6)
