from __future__ import annotations

import math

import pytest
import torch

from streamad.errors import UserError
from streamad.models.base import make_detector
from streamad.models.dp_vae import DPVAE, divergence
from streamad.models.layers import EnsembleLinear, EnsembleMLP, masked_mean
from streamad.models.options import DetectorOptions
from streamad.models.uai import SCORE_FLOOR, UAILayer

OPTIONS = DetectorOptions(members=3, hidden=(5, 4), latent=2)
DETECTORS = ("dae", "dp_vae")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def labels(*values, members=3):
    return torch.tensor([values] * members, dtype=torch.int8)


def alone(detector, name, member):
    """The same network as one member of an ensemble, as an ensemble of one."""
    single = make_detector(name, detector.width, OPTIONS.model_copy(update={"members": 1}), seed=9)
    single.load_state_dict({key: value[member : member + 1] for key, value in detector.state_dict().items()})
    return single


def silence(detector, **biases):
    """Zero every weight, then set the last biases of the encoder and the decoder."""
    for parameter in detector.parameters():
        parameter.data.zero_()
    for name, values in biases.items():
        getattr(detector, name).layers[-1].bias.data[:] = torch.tensor(values)


def test_an_ensemble_layer_is_as_many_linear_layers_side_by_side():
    layer = EnsembleLinear(3, 4, 2, generator())
    x = torch.randn(3, 6, 4, generator=generator(1))
    expected = [torch.nn.functional.linear(x[k], layer.weight[k].T, layer.bias[k, 0]) for k in range(3)]
    assert torch.allclose(layer(x), torch.stack(expected), atol=1e-6)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_rows_that_members_share_give_what_a_copy_for_each_gives(prepared, bias):
    layer = EnsembleLinear(3, 4, 2, generator(), bias=bias)
    if prepared:
        layer.prepare()
    x = torch.randn(6, 4, generator=generator(1))
    assert torch.allclose(layer(x), layer(x.expand(3, -1, -1)), atol=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_the_error_of_a_network_is_its_output_less_the_target(bias):
    network = EnsembleMLP(3, (2, 5, 4), generator(), bias=bias)
    z, x = torch.randn(3, 6, 2, generator=generator(1)), torch.randn(6, 4, generator=generator(2))
    assert torch.allclose(network.error(z, x), network(z) - x, atol=1e-6)


def test_a_frozen_layer_passes_gradients_on_and_takes_none():
    layer = EnsembleLinear(3, 4, 2, generator())
    x = torch.randn(3, 6, 4, generator=generator(1), requires_grad=True)
    layer(x, frozen=True).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None
    assert layer.bias.grad is None


def test_the_mean_over_no_rows_is_zero():
    values = torch.tensor([[2.0, 4.0], [6.0, 8.0]])
    assert masked_mean(values, torch.tensor([[True, True], [False, False]])).tolist() == [3, 0]


@pytest.mark.parametrize("name", DETECTORS)
def test_members_of_an_ensemble_score_and_learn_as_separate_networks_do(name):
    detector = make_detector(name, 6, OPTIONS, seed=1)
    x = torch.randn(3, 8, 6, generator=generator(2))
    y = labels(-1, -1, 0, 1, -1, 0, 1, -1)
    scores, latents = detector.score(x)
    for k in range(3):
        single = alone(detector, name, k)
        score, latent = single.score(x[k : k + 1])
        assert torch.allclose(scores[k], score[0], atol=1e-5)
        assert torch.allclose(latents[k], latent[0], atol=1e-5)
    loss = detector.loss(x, y, 1.0, generator(3))
    assert loss.shape == (3,)
    assert len(set(loss.tolist())) == 3


@pytest.mark.parametrize("name", DETECTORS)
def test_one_member_alone_has_the_loss_that_its_gradient_belongs_to(name):
    detector = make_detector(name, 6, OPTIONS, seed=1)
    x = torch.randn(3, 8, 6, generator=generator(2))
    detector.loss(x, labels(*[-1] * 7, 1), 1.0, generator(3))[1].backward()
    for parameter in detector.parameters():
        assert parameter.grad[0].abs().sum() == 0
        assert parameter.grad[2].abs().sum() == 0


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_is_a_function_of_its_seed_and_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()
    one, two, other = (make_detector(name, 6, OPTIONS, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("y", [(-1,), (0,), (1,)])
def test_a_batch_of_one_row_of_any_kind_has_a_finite_loss_and_gradient(name, y):
    detector = make_detector(name, 6, OPTIONS, seed=1)
    for progress in (0.0, 1.0):
        loss = detector.loss(torch.ones(3, 1, 6), labels(*y), progress, generator())
        gradients = torch.autograd.grad(loss.sum(), list(detector.parameters()), materialize_grads=True)
        assert loss.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_most_extreme_rows_have_finite_scores_and_losses(name):
    detector = make_detector(name, 6, OPTIONS, seed=1)
    x = torch.full((3, 4, 6), 1e6)
    scores, latents = detector.score(x)
    assert scores.isfinite().all()
    assert latents.isfinite().all()
    assert (scores >= 0).all()
    assert detector.loss(x, labels(-1, 0, 1, 1), 1.0, generator()).isfinite().all()


@pytest.mark.parametrize("name", DETECTORS)
def test_contributions_add_up_to_the_score_and_begin_with_the_reconstruction_error(name):
    detector = make_detector(name, 6, OPTIONS, seed=1)
    x = torch.randn(7, 6, generator=generator(2)) * 5
    x[0] = 0
    with torch.inference_mode():
        parts = detector.contributions(x)
        scores, latents = detector.score(x)
        errors = (detector.decoder(latents) - x).square().mean(0) / 6
    assert parts.shape == (7, 6)
    assert (parts >= errors - 1e-5).all()
    assert torch.allclose(parts.sum(1), scores.mean(0), rtol=1e-4)


@pytest.mark.parametrize("prepared", [False, True])
def test_the_dp_vaes_contributions_split_the_divergence_by_the_gradient_that_autograd_gives(prepared):
    detector = make_detector("dp_vae", 6, OPTIONS, seed=1)
    x = torch.randn(40, 6, generator=generator(2)) * torch.logspace(-1, 3, 40).unsqueeze(1)
    row = x.clone().requires_grad_()
    mean, log_variance = detector.posterior(row)
    assert 0 < (log_variance.abs() == DPVAE.LOG_VARIANCE).sum() < log_variance.numel()  # some are clamped
    whole = divergence(mean, log_variance).mean(0)
    (slope,) = torch.autograd.grad(whole.sum(), row)
    error = (detector.decoder(mean) - x).square().mean(0) / 6
    part = (slope * x).abs() / (slope * x).abs().sum(1, keepdim=True)
    expected = error + DPVAE.BETA * part * whole.unsqueeze(1)
    if prepared:
        detector.prepare()
    with torch.inference_mode():
        assert torch.allclose(detector.contributions(x), expected, rtol=1e-4)


def test_the_dae_scores_the_squared_error_averaged_over_features():
    detector = make_detector("dae", 2, OPTIONS, seed=1)
    silence(detector, decoder=[1.0, 3.0], encoder=[0.5, -0.5])
    scores, latents = detector.score(torch.tensor([[0.0, 0.0], [1.0, 3.0]]))
    assert scores.tolist() == [[5.0, 0.0]] * 3
    assert latents.tolist() == [[[0.5, -0.5]] * 2] * 3


def test_the_dae_learns_from_every_row_but_labeled_anomalies():
    detector = make_detector("dae", 2, OPTIONS, seed=1)
    silence(detector, decoder=[1.0, 3.0])
    x = torch.tensor([[[0.0, 0.0], [1.0, 3.0], [9.0, 9.0]]] * 3)  # errors 5, 0 and 50
    assert detector.loss(x, labels(-1, 0, 1), 0.5, generator()).tolist() == [2.5] * 3


def test_the_divergence_from_either_prior_is_the_textbooks():
    mean, log_variance = torch.tensor([1.0, -2.0]), torch.tensor([0.0, math.log(4.0)])
    # half of: 1 + 4 (means), 1 + 4 (variances), - 2 - log 4; then with means 1 - 5 and -2 - 5
    assert divergence(mean, log_variance).item() == pytest.approx((5 + 5 - 2 - math.log(4)) / 2)
    assert divergence(mean, log_variance, 5.0).item() == pytest.approx((16 + 49 + 5 - 2 - math.log(4)) / 2)


def test_the_dp_vae_scores_error_plus_weighted_divergence_at_the_mean():
    detector = make_detector("dp_vae", 2, OPTIONS, seed=1)
    silence(detector, decoder=[1.0, 3.0], encoder=[1.0, 2.0, 0.0, 0.0])
    scores, latents = detector.score(torch.zeros(1, 2))
    assert scores.flatten().tolist() == pytest.approx([5 + DPVAE.BETA * 2.5] * 3)
    assert latents.tolist() == [[[1.0, 2.0]]] * 3


def dp_vae_loss(y, progress):
    """The loss of two rows whose errors are 5 and 0, with q = N((1, 2), e^-8), decoded without z."""
    detector = make_detector("dp_vae", 2, OPTIONS, seed=1)
    silence(detector, decoder=[1.0, 3.0], encoder=[1.0, 2.0, -100.0, -100.0])
    x = torch.tensor([[[0.0, 0.0], [1.0, 3.0]]] * 3)
    return detector.loss(x, labels(*y), progress, generator()).tolist()


VARIANCES = 2 * (math.exp(-8.0) - 1 + 8.0)


def test_normal_and_unlabeled_rows_share_the_prior_at_zero():
    expected = (5 + 0) / 2 + DPVAE.BETA * (5 + VARIANCES) / 2
    assert dp_vae_loss((-1, 0), 1.0) == pytest.approx([expected] * 3)


def test_labeled_outliers_have_a_prior_and_a_mean_of_their_own():
    near_zero = 5 + DPVAE.BETA * (5 + VARIANCES) / 2
    near_alpha = 0 + DPVAE.BETA * (16 + 9 + VARIANCES) / 2
    assert dp_vae_loss((0, 1), 1.0) == pytest.approx([near_zero + near_alpha] * 3)


def test_outliers_are_left_out_during_the_warm_up():
    early = DPVAE.WARM_UP / 2
    beta = DPVAE.BETA * min(1, early / DPVAE.ANNEALED)
    assert dp_vae_loss((0, 1), early) == pytest.approx([5 + beta * (5 + VARIANCES) / 2] * 3)


def test_the_divergence_counts_nothing_at_the_start_and_grows_in_a_line():
    assert dp_vae_loss((-1, 0), 0.0) == pytest.approx([2.5] * 3)
    half = 2.5 + DPVAE.BETA / 2 * (5 + VARIANCES) / 2
    assert dp_vae_loss((-1, 0), DPVAE.ANNEALED / 2) == pytest.approx([half] * 3)


def test_outliers_train_the_encoder_but_not_the_decoder():
    detector = make_detector("dp_vae", 6, OPTIONS, seed=1)
    loss = detector.loss(torch.randn(3, 4, 6, generator=generator(1)), labels(1, 1, 1, 1), 1.0, generator())
    loss.sum().backward()
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in detector.decoder.parameters())
    assert all(p.grad.abs().sum() > 0 for p in detector.encoder.parameters())


def test_the_uai_layer_is_cross_entropy_with_both_classes_weighing_the_same():
    layer = UAILayer(make_detector("dae", 6, OPTIONS, seed=1), generator())
    layer.linear.weight.data.zero_()
    layer.linear.weight.data[:, -1] = 1.0
    layer.linear.bias.data.zero_()
    scores = torch.tensor([[math.e, 1.0, 1.0, 99.0]] * 3)  # levels 1, 0, 0
    loss = layer.loss(scores, torch.zeros(3, 4, 2), labels(1, 0, 0, -1))
    expected = (math.log(1 + math.exp(-1)) + math.log(2)) / 2
    assert loss.tolist() == pytest.approx([expected] * 3, abs=10 * SCORE_FLOOR)


def test_the_uai_layer_moves_the_latents_but_gives_the_scores_no_gradient():
    layer = UAILayer(make_detector("dae", 6, OPTIONS, seed=1), generator())
    scores = torch.ones(3, 2, requires_grad=True)
    latents = torch.ones(3, 2, 2, requires_grad=True)
    layer.loss(scores, latents, labels(1, 0)).sum().backward()
    assert scores.grad is None
    assert latents.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["nothing", "layers", "../dae", "base", "os", ""])
def test_a_name_without_a_detector_is_the_users_error(name):
    with pytest.raises(UserError, match=r"detector\.name"):
        make_detector(name, 6, OPTIONS, seed=1)
