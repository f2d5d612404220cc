"""The term that lowers an outlier's likelihood (Deep Variational Semi-Supervised Novelty Detection, equation 4)."""

from __future__ import annotations

import math

import pytest
import torch
from detectors_help import generator

from streamad.models.mml_vae import cubo

BETAS = (0.005, 0.05, 0.2, 0.45)


def log_normal(z, mean, log_variance):
    return -(log_variance + (z - mean) ** 2 / log_variance.exp() + math.log(2 * math.pi)) / 2


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("mean", [0.0, 0.7, -4.0])
@pytest.mark.parametrize("log_variance", [-5.0, -1.0, 0.0, 1.5])
def test_in_one_dimension_it_is_the_integral_that_numbers_give(beta, mean, log_variance):
    m, v = torch.tensor([mean], dtype=torch.float64), torch.tensor([log_variance], dtype=torch.float64)
    z = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    logs = log_normal(z, m, v) + 2 * beta * (
        log_normal(z, torch.zeros(1), torch.zeros(1)) - log_normal(z, m, v)
    )
    expected = torch.trapezoid(logs.exp(), z).item()
    assert cubo(m, v, beta).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_in_several_dimensions_it_is_the_mean_over_draws_from_the_posterior(beta):
    mean, log_variance = torch.tensor([0.5, -1.0, 0.2]), torch.tensor([-0.5, -1.0, 0.2])
    z = mean + (log_variance / 2).exp() * torch.randn(400_000, 3, generator=generator())
    zeros = torch.zeros(3)
    logs = (log_normal(z, zeros, zeros) - log_normal(z, mean, log_variance)).sum(1)
    drawn = (2 * beta * logs).exp()
    error = drawn.std().item() / math.sqrt(len(drawn))
    assert cubo(mean, log_variance, beta).item() == pytest.approx(drawn.mean().item(), abs=5 * error)


@pytest.mark.parametrize("beta", BETAS)
def test_it_is_one_at_the_prior_and_less_the_further_away_a_posterior_lies(beta):
    zeros = torch.zeros(8)
    values = [cubo(zeros + shift, zeros, beta).item() for shift in (0, 0.5, 1, 2, 4)]
    assert values[0] == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5


def test_near_half_it_is_one_wherever_the_posterior_lies():
    assert cubo(torch.tensor([3.0]), torch.tensor([-1.0]), 0.5 - 1e-7).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("far", [1e2, 1e6, 1e15])
@pytest.mark.parametrize("log_variance", [-8.0, 8.0])
def test_far_outliers_have_a_finite_value_and_a_finite_gradient(beta, far, log_variance):
    mean = torch.full((8,), far, requires_grad=True)
    spread = torch.full((8,), log_variance, requires_grad=True)
    value = cubo(mean, spread, beta)
    value.backward()
    assert 0 <= value.item() <= 1
    assert mean.grad.isfinite().all()
    assert spread.grad.isfinite().all()


@pytest.mark.parametrize("beta", BETAS)
def test_a_step_down_the_gradient_takes_an_outlier_near_the_prior_further_away(beta):
    mean = torch.tensor([0.01, -0.1, 0.5], requires_grad=True)
    cubo(mean, torch.zeros(3), beta).backward()
    assert (-mean.grad * mean.detach() > 0).all()
