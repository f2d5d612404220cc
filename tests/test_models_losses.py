"""What training minimises, against values worked out by hand, each term by itself."""

from __future__ import annotations

import math

import pytest
import torch
from detectors_help import detector, labels, rows

from streamad.models.layers import EnsembleLinear
from streamad.models.uai import SCORE_FLOOR, UAILayer
from streamad.models.vae import VAE, divergence

LN3, LN4 = math.log(3), math.log(4)


def tiny(name, **settings):
    """Three members of 2 columns, 2 hidden units and 2 latents, not normalised: `mirror` makes them readable."""
    return detector(name, 2, hidden=(2,), latent=2, **{"norm": 0, **settings}).train()


def mirror(network, *biases, scale=1.0):
    """The network hands on `scale` times its first inputs, where they are positive, plus the last biases."""
    for layer in network.layers:
        silence(layer)
        layer.weight.data[:] = torch.eye(*layer.weight.shape[1:])
    network.layers[-1].weight.data *= scale
    if biases:
        network.layers[-1].bias.data[:] = torch.tensor(biases)


def silence(layer, *biases):
    """The layer says its biases, whatever it reads."""
    layer.weight.data.zero_()
    if layer.bias is not None:
        layer.bias.data[:] = torch.tensor(biases or 0.0)


def constant(network, *biases):
    """The network says these values, whatever it reads."""
    for layer in network.layers[:-1]:
        silence(layer)
    silence(network.layers[-1], *biases)


def batch(*points):
    return torch.tensor([points] * 3)


class Noise:
    """In place of the members' random numbers: always this one."""

    def __init__(self, value):
        self.value = value

    def normal(self, rows, width):
        return torch.full((3, rows, width), self.value)


def loss(made, x, y, *, progress=1.0, noise=0.0, of="loss"):
    """The members' losses, which are all the same here."""
    one, two, three = getattr(made, of)(x, labels(*y), progress, Noise(noise)).tolist()
    assert one == two == three
    return one


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


def test_the_divergence_from_either_prior_is_the_textbooks():
    mean, log_variance = torch.tensor([1.0, -2.0]), torch.tensor([0.0, LN4])
    # half of: 1 + 4 (means), 1 + 4 (variances), - 2 - log 4; then with means 1 - 5 and -2 - 5
    assert divergence(mean, log_variance).item() == pytest.approx((5 + 5 - 2 - LN4) / 2)
    assert divergence(mean, log_variance, 5.0).item() == pytest.approx((16 + 49 + 5 - 2 - LN4) / 2)


def vae(name, **settings):
    """q = N((1, 2), diag(1, 4)) for every row; z is decoded as itself. The weight of the divergence is 0.5."""
    made = tiny(name, beta=0.5, **settings)
    constant(made.encoder, 1.0, 2.0, 0.0, LN4)
    mirror(made.decoder)
    return made


NORMAL_KL = (1 + 4 + 1 + 4 - 2 - LN4) / 2
OUTLIER_KL = (16 + 9 + 1 + 4 - 2 - LN4) / 2
X = batch([1.0, 2.0], [1.5, 3.0], [2.0, 6.0])  # noise of 0.5 makes z = (1.5, 3)
ERRORS = (0.125 + 0.5, 0.0, 0.125 + 4.5)
FAMILY = ("vae", "dp_vae", "mml_vae", "mml_dp_vae")


@pytest.mark.parametrize("name", FAMILY)
def test_the_elbo_of_normal_rows_is_error_and_weighted_divergence_under_the_given_noise(name):
    made = vae(name)
    expected = sum(ERRORS) / 3 + 0.5 * NORMAL_KL
    assert loss(made, X, (-1, 0, -1), noise=0.5) == pytest.approx(expected)
    assert loss(made, X[:, :1], (-1,), noise=0.0) == pytest.approx(0.5 * NORMAL_KL)


@pytest.mark.parametrize("name", FAMILY)
def test_the_divergence_counts_nothing_at_the_start_and_grows_in_a_line(name):
    made = vae(name, annealed=0.2)
    errors = sum(ERRORS) / 3
    assert loss(made, X, (-1, 0, -1), noise=0.5, progress=0.0) == pytest.approx(errors)
    assert loss(made, X, (-1, 0, -1), noise=0.5, progress=0.1) == pytest.approx(errors + 0.25 * NORMAL_KL)
    assert loss(made, X, (-1, 0, -1), noise=0.5, progress=0.3) == pytest.approx(errors + 0.5 * NORMAL_KL)
    at_once = vae(name, annealed=0)
    assert loss(at_once, X, (-1, 0, -1), noise=0.5, progress=0.01) == pytest.approx(errors + 0.5 * NORMAL_KL)


WITHOUT = (ERRORS[0] + ERRORS[1]) / 2 + 0.5 * NORMAL_KL


@pytest.mark.parametrize("name", FAMILY)
def test_outliers_are_left_out_during_the_warm_up_and_by_a_plain_vae_always(name):
    made = vae(name, **({} if name == "vae" else {"warm_up": 0.3}))
    assert loss(made, X, (-1, 0, 1), noise=0.5, progress=0.29) == pytest.approx(WITHOUT)
    later = loss(made, X, (-1, 0, 1), noise=0.5, progress=0.31)
    assert (later == pytest.approx(WITHOUT)) == (name == "vae")


@pytest.mark.parametrize("frozen", [0, 1])
def test_labeled_outliers_have_a_prior_and_a_mean_of_their_own(frozen):
    made = vae("dp_vae", alpha=5, frozen=frozen)
    outliers = ERRORS[2] + 0.5 * OUTLIER_KL
    assert loss(made, X, (-1, 0, 1), noise=0.5) == pytest.approx(WITHOUT + outliers)
    both = (ERRORS[0] + ERRORS[2]) / 2 + 0.5 * OUTLIER_KL
    assert loss(made, X, (1, 0, 1), noise=0.5) == pytest.approx(ERRORS[1] + 0.5 * NORMAL_KL + both)


def coefficient(mean, variance, a):
    """The Chernoff coefficient of N(mean, variance) and N(0, 1)."""
    mixed = a * variance + 1 - a
    return math.sqrt(variance**a / mixed) * math.exp(-a * (1 - a) * mean**2 / mixed / 2)


CUBO = coefficient(1, 1, 0.4) * coefficient(2, 4, 0.4)


def test_an_outliers_cubo_is_added_with_its_weight_and_without_its_error():
    made = vae("mml_vae", beta_cubo=0.2, gamma=3)
    assert loss(made, X, (-1, 0, 1), noise=0.5) == pytest.approx(WITHOUT + 3 * CUBO)


def test_mml_dp_vae_adds_both_terms():
    made = vae("mml_dp_vae", beta_cubo=0.2, gamma=3, alpha=5)
    outliers = ERRORS[2] + 0.5 * OUTLIER_KL + 3 * CUBO
    assert loss(made, X, (-1, 0, 1), noise=0.5) == pytest.approx(WITHOUT + outliers)


@pytest.mark.parametrize("name", FAMILY)
def test_a_vaes_score_is_the_negative_elbo_at_the_mean_whatever_the_label(name):
    made = vae(name, score_beta=0.25)
    scores, means = made.score(X[0])
    assert scores[0].tolist() == pytest.approx([e + 0.25 * NORMAL_KL for e in (0, 0.125 + 0.5, 0.5 + 8)])
    assert means.tolist() == [[[1.0, 2.0]] * 3] * 3


def moved(made, y):
    """Which parts a batch of rows with these labels has a gradient for."""
    x = rows(len(y), sets=3).rows
    made.loss(x, labels(*y), 1.0, Noise(0.5)).sum().backward()
    return {
        part
        for part, network in made.named_children()
        if any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    }


@pytest.mark.parametrize("norm", [0, 1])
@pytest.mark.parametrize("name", FAMILY[1:])
def test_outliers_train_the_encoder_but_not_the_decoder(name, norm):
    assert moved(detector(name, norm=norm).train(), (1, 1, 1, 1)) == {"encoder"}
    assert moved(detector(name, norm=norm).train(), (-1, 0, 1, 1)) == {"encoder", "decoder"}


def test_outliers_train_the_decoder_as_well_where_it_is_not_frozen():
    assert moved(detector("dp_vae", frozen=0).train(), (1, 1, 1, 1)) == {"encoder", "decoder"}
    assert moved(detector("vae").train(), (1, 1, 1, 1)) == set()


@pytest.mark.parametrize("frozen", [0, 1])
def test_outliers_are_no_batch_of_their_own_for_the_normalisation(frozen):
    made = detector("dp_vae", norm=1, frozen=frozen).train()
    made.loss(rows(8, sets=3).rows, labels(*[-1] * 6, 1, 1), 1.0, Noise(0.5))
    plain = detector("vae", norm=1).train()
    plain.loss(rows(8, sets=3).rows, labels(*[-1] * 8), 1.0, Noise(0.5))
    assert all(torch.equal(own, plain.get_buffer(name)) for name, own in made.named_buffers())


def test_the_supervised_loss_is_binary_cross_entropy_with_unlabeled_rows_as_normal():
    made = tiny("supervised")
    silence(made.output, 1.5)
    anomaly, normal = math.log(1 + math.exp(-1.5)), math.log(1 + math.exp(1.5))
    assert loss(made, X, (-1, 0, 1)) == pytest.approx((2 * normal + anomaly) / 3)
    assert loss(made, X, (-1, -1, -1)) == pytest.approx(normal)
    assert made.score(X[0])[0].flatten().tolist() == pytest.approx([normal] * 9)


def test_the_classifiers_loss_is_the_cross_entropy_of_the_class_in_the_last_columns():
    made = detector("classifier", 5, hidden=(2,), classes=3).train()
    assert isinstance(made.output, EnsembleLinear)
    silence(made.output, 0.0, LN3, LN4)  # probabilities 1/8, 3/8 and 4/8
    x = batch([7.0, 7.0, 1.0, 0.0, 0.0], [7.0, 7.0, 0.0, 0.0, 1.0], [7.0, 7.0, 0.0, 1.0, 0.0])
    costs = [math.log(8), math.log(2), math.log(8 / 3)]
    assert made.score(x[0])[0][0].tolist() == pytest.approx(costs)
    assert loss(made, x, (-1, 0, 1)) == pytest.approx((costs[0] + costs[1]) / 2)
    assert loss(made, x, (1, 1, 1)) == 0


def test_the_uai_layer_is_cross_entropy_with_both_classes_weighing_the_same():
    layer = UAILayer(detector("dae"), [torch.Generator()] * 3)
    silence(layer.linear)
    layer.linear.weight.data[:, -1] = 1.0
    scores, latents = torch.tensor([[math.e, 1.0, 1.0, 99.0]] * 3), torch.zeros(3, 4, 2)  # levels 1, 0, 0
    anomaly, normal = math.log(1 + math.exp(-1)), math.log(2)
    close = {"abs": 10 * SCORE_FLOOR}
    for y, expected in [
        ((1, 0, 0, -1), (anomaly + normal) / 2),
        ((1, -1, -1, -1), anomaly / 2),
        ((-1, 0, -1, -1), normal / 2),
        ((-1, -1, -1, -1), 0),
    ]:
        assert layer.loss(scores, latents, labels(*y)).tolist() == pytest.approx([expected] * 3, **close)


def test_the_uai_layer_moves_the_latents_but_gives_the_scores_no_gradient():
    layer = UAILayer(detector("dae"), [torch.Generator()] * 3)
    scores, latents = torch.ones(3, 2, requires_grad=True), torch.ones(3, 2, 2, requires_grad=True)
    layer.loss(scores, latents, labels(1, 0)).sum().backward()
    assert scores.grad is None
    assert (latents.grad.abs().sum((1, 2)) > 0).all()


def test_the_uai_layer_trains_an_autoencoders_encoder_and_not_its_decoder():
    made = detector("dae")
    scores, latents = made.score(rows(2).rows[0])
    UAILayer(made, [torch.Generator()] * 3).loss(scores, latents, labels(1, 0)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in made.encoder.parameters())
    assert all(p.grad is None for p in made.decoder.parameters())


def test_log_variances_are_held_within_bounds():
    made = tiny("vae")
    constant(made.encoder, 0.0, 0.0, 100.0, -100.0)
    assert made.posterior(X)[1][0, 0].tolist() == [VAE.LOG_VARIANCE, -VAE.LOG_VARIANCE]
