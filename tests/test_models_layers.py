"""Layers of K networks at once, with and without batch normalisation."""

from __future__ import annotations

import pytest
import torch
from detectors_help import generator

from streamad.models.layers import EnsembleLinear, EnsembleMLP, NormedLinear, masked_mean, mean_square
from streamad.models.randomness import generators


def linear(*, kind=EnsembleLinear, bias=True):
    return kind(generators((1, 2, 3)), 4, 2, bias=bias)


def network(sizes=(4, 5, 3, 2), *, bias=True, norm=False):
    return EnsembleMLP(generators((1, 2, 3)), sizes, bias=bias, norm=norm)


def batch(n=6, width=4, seed=1):
    return torch.randn(3, n, width, generator=generator(seed))


def worn(module, steps=5):
    """The module after its running statistics have moved."""
    module.train()
    for step in range(steps):
        module(batch(20, seed=step) * 3 + 1)
    return module.eval()


def test_an_ensemble_layer_is_as_many_linear_layers_side_by_side():
    layer, x = linear(), batch()
    expected = [torch.nn.functional.linear(x[k], layer.weight[k].T, layer.bias[k, 0]) for k in range(3)]
    assert torch.allclose(layer(x), torch.stack(expected), atol=1e-6)


@pytest.mark.parametrize("kind", [EnsembleLinear, NormedLinear])
def test_a_members_first_weights_are_those_of_its_own_seed_alone(kind):
    whole, two = linear(kind=kind), kind(generators((2,)), 4, 2)
    assert torch.equal(whole.weight[1:2], two.weight)
    assert torch.equal(whole.bias[1:2], two.bias)
    assert len({tuple(member.flatten().tolist()) for member in whole.weight}) == 3


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [EnsembleLinear, NormedLinear])
def test_rows_that_members_share_give_what_a_copy_for_each_gives(kind, prepared, bias):
    layer = worn(linear(kind=kind, bias=bias))
    if prepared:
        layer.prepare()
    x = batch()[0]
    assert torch.allclose(layer(x), layer(x.expand(3, -1, -1)), atol=1e-6)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_error_of_a_network_is_its_output_less_the_target(bias, training, norm):
    module = worn(network(bias=bias, norm=norm)).train(training)
    x, target = batch(), batch(width=2, seed=2)[0]
    assert torch.allclose(module.error(x, target), module(x) - target, atol=1e-5)


@pytest.mark.parametrize("kind", [EnsembleLinear, NormedLinear])
def test_a_frozen_layer_passes_gradients_on_and_takes_none(kind):
    layer = linear(kind=kind)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = batch().requires_grad_()
    layer.train()(x, frozen=True).sum().backward()
    assert x.grad.abs().sum() > 0
    assert layer.weight.grad is None
    assert layer.bias.grad is None
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("bias", [False, True])
def test_a_normed_layer_is_a_linear_one_and_torchs_batch_normalisation_without_a_scale(bias):
    layer = linear(kind=NormedLinear, bias=bias)
    theirs = [torch.nn.BatchNorm1d(2, affine=False) for _ in range(3)]
    for seed in range(4):
        x = batch(7, seed=seed)
        expected = torch.stack([norm(x[k] @ layer.weight[k]) for k, norm in enumerate(theirs)])
        assert torch.allclose(layer.train()(x), expected + (layer.bias if bias else 0), atol=1e-5)
    for k, norm in enumerate(theirs):
        assert torch.allclose(layer.mean[k, 0], norm.running_mean, atol=1e-6)
        assert torch.allclose(layer.variance[k, 0], norm.running_var, atol=1e-6)
        scored = norm.eval()(x[k] @ layer.weight[k]) + (layer.bias[k] if bias else 0)
        assert torch.allclose(layer.eval()(x)[k], scored, atol=1e-5)


def test_the_gradient_of_a_normed_layer_is_torchs():
    layer, x, norm = linear(kind=NormedLinear, bias=False), batch(7), torch.nn.BatchNorm1d(2, affine=False)
    weight = layer.weight[1].detach().clone().requires_grad_()
    norm(x[1] @ weight).pow(3).sum().backward()
    layer.train()(x).pow(3).sum().backward()
    assert torch.allclose(layer.weight.grad[1], weight.grad, atol=1e-5)


def test_a_batch_of_one_row_is_standardised_by_the_running_statistics_and_still_teaches():
    layer = worn(linear(kind=NormedLinear))
    row, before = batch(1), layer.mean.clone()
    scored = layer(row)
    learned = layer.train()(row)
    assert torch.equal(learned, scored)
    assert torch.equal(layer.mean, before)
    learned.square().sum().backward()
    assert (layer.weight.grad.abs().sum((1, 2)) > 0).all()


def test_outside_of_training_a_row_does_not_depend_on_its_neighbours():
    module, x = worn(network(norm=True)), batch()
    assert torch.allclose(
        module(x)[:, :2], module(torch.cat((x[:, :2], x[:, :4] * 100), 1))[:, :2], atol=1e-6
    )
    assert not torch.allclose(module.train()(x), module.eval()(x), atol=0.01)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_prepared_network_says_the_same_and_folds_the_running_statistics_once(bias, norm):
    module = worn(network(bias=bias, norm=norm))
    x = batch()
    own, shared = module(x), module(x[0])
    for layer in (*module.layers, *module.layers):  # twice: what is prepared stays as it is
        layer.prepare()
    assert torch.allclose(module(x), own, atol=1e-5)
    assert torch.allclose(module(x[0]), shared, atol=1e-5)


def test_the_mean_over_no_rows_is_zero():
    values = torch.tensor([[2.0, 4.0], [6.0, 8.0]])
    assert masked_mean(values, torch.tensor([[True, True], [False, False]])).tolist() == [3, 0]


def test_the_mean_square_is_over_the_features_and_has_no_gradient_where_there_is_no_error():
    error = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    mean_square(error).sum().backward()
    assert mean_square(error).tolist() == [12.5, 0]
    assert error.grad.tolist() == [[3, 4], [0, 0]]
