"""What the four variational autoencoders minimise, against values worked out by hand, each term by itself."""

from __future__ import annotations

import math

import pytest
import torch
from detectors_help import detector, labels, rows
from losses_help import LN4, Noise, batch, constant, loss, mirror, tiny

from streamad.models.vae import VAE, divergence


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


def test_log_variances_are_held_within_bounds():
    made = tiny("vae")
    constant(made.encoder, 0.0, 0.0, 100.0, -100.0)
    assert made.posterior(X)[1][0, 0].tolist() == [VAE.LOG_VARIANCE, -VAE.LOG_VARIANCE]
