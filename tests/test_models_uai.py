"""The UAI layer: labels shape the latents, and leave the score to the detector."""

from __future__ import annotations

import math

import pytest
import torch
from detectors_help import detector, labels, rows
from losses_help import silence

from streamad.models.uai import SCORE_FLOOR, UAILayer


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
