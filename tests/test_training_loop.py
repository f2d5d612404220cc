from __future__ import annotations

import numpy as np
import pytest
import torch

from streamad.errors import TrainingError
from streamad.models.base import Detector, make_detector
from streamad.models.layers import EnsembleLinear
from streamad.models.options import DetectorOptions
from streamad.training import loop
from streamad.training.adam import EnsembleAdam
from streamad.training.loop import TrainingRows, train

OPTIONS = DetectorOptions(members=3, hidden=(6,), latent=2, epochs=2, batch=16)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(loop, "MIN_STEPS", 10)


def data(n, m=0, anomalies=0, width=5):
    generator = np.random.default_rng(0)
    rows, labeled = generator.normal(size=(n, width)), generator.normal(size=(m, width)) + 3
    verdicts = np.array([1] * anomalies + [0] * (m - anomalies), np.int8)
    return TrainingRows(
        torch.from_numpy(rows.astype(np.float32)),
        torch.from_numpy(labeled.astype(np.float32)),
        torch.from_numpy(verdicts),
    )


def weights(detector):
    return torch.cat([p.detach().flatten() for p in detector.parameters()])


class Spy(Detector):
    """Records the batches it is given; its loss is the distance of one parameter from 1."""

    def __init__(self, members=3):
        super().__init__(1, DetectorOptions(members=members, latent=1), torch.Generator())
        self.weight = torch.nn.Parameter(torch.zeros(members, 1))
        self.batches = []

    def loss(self, x, y, progress, generator):
        del generator
        self.batches.append((x.clone(), y.clone(), progress))
        return (self.weight[:, 0] - 1).square()

    def score(self, x):
        return x.sum(-1).abs(), x

    def contributions(self, x):
        return x.abs()


def test_every_member_sees_every_row_once_an_epoch_in_an_order_of_its_own():
    spy = Spy()
    rows = torch.arange(37.0).unsqueeze(1)
    nothing = torch.empty(0, 1), torch.empty(0, dtype=torch.int8)
    train(spy, TrainingRows(rows, *nothing), OPTIONS.model_copy(update={"epochs": 1}), 0)
    assert [x.shape[1] for x, _, _ in spy.batches] == [16, 16, 5] * 4
    epoch = torch.cat([x for x, _, _ in spy.batches[:3]], dim=1)[..., 0]
    assert (epoch.sort(dim=1).values == rows[:, 0]).all()
    assert len({tuple(member) for member in epoch.tolist()}) == 3


def test_progress_runs_from_zero_towards_one():
    spy, seen = Spy(), []
    train(spy, data(64, width=1), OPTIONS, 0, progress=seen.append)
    shares = [progress for _, _, progress in spy.batches]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] < 1
    assert [(line["epoch"], line["epochs"]) for line in seen] == [(1, 3), (2, 3), (3, 3)]


def test_each_batch_carries_labeled_rows_last_of_both_verdicts_equally_often():
    spy = Spy()
    train(spy, data(64, m=20, anomalies=1, width=1), OPTIONS.model_copy(update={"epochs": 50}), 0)
    y = torch.stack([y for _, y, _ in spy.batches])
    assert y.shape == (200, 3, 18)
    assert (y[..., :16] == -1).all()
    assert (y[..., 16:] == 1).float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["dae", "dp_vae"])
@pytest.mark.parametrize(
    ("rows", "labels", "anomalies"), [(1, 0, 0), (5, 0, 0), (40, 1, 1), (40, 3, 0), (40, 4, 2), (0, 2, 1)]
)
def test_any_number_of_rows_and_labels_trains(name, rows, labels, anomalies):
    detector = make_detector(name, 5, OPTIONS, seed=0)
    before = weights(detector).clone()
    losses = train(detector, data(rows, labels, anomalies), OPTIONS, 0)
    assert np.isfinite(losses).all()
    assert weights(detector).isfinite().all()
    assert not torch.equal(weights(detector), before)


def test_training_twice_gives_equal_weights_and_another_seed_does_not():
    found = []
    for seed in (1, 1, 2):
        detector = make_detector("dp_vae", 5, OPTIONS, seed=0)
        train(detector, data(50, 4, 2), OPTIONS, seed)
        found.append(weights(detector))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_loss_falls():
    detector = make_detector("dae", 5, OPTIONS, seed=0)
    losses = train(detector, data(200), OPTIONS.model_copy(update={"epochs": 30}), 0)
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_that_is_not_finite_stops_the_training_with_one_sentence():
    detector = make_detector("dae", 5, OPTIONS, seed=0)
    rows = data(20)
    rows.rows[3, 2] = float("nan")
    with pytest.raises(TrainingError, match="the loss of epoch 1 is not finite"):
        train(detector, rows, OPTIONS, 0)


def test_nothing_to_train_on_is_a_training_error():
    with pytest.raises(TrainingError, match="no records"):
        train(make_detector("dae", 5, OPTIONS, seed=0), data(0), OPTIONS, 0)


def test_labels_without_a_head_do_not_reach_the_latents_of_a_dae_through_a_uai_layer():
    found = []
    for head in (True, False):
        options = OPTIONS.model_copy(update={"head": head})
        detector = make_detector("dae", 5, options, seed=0)
        train(detector, data(50, 4, 2), options, 1)
        found.append(weights(detector))
    assert not torch.equal(*found)


def layer(gradient_scale, seed=0):
    """A layer of two members and the losses that give them gradients of this size."""
    made = EnsembleLinear(2, 3, 2, torch.Generator().manual_seed(seed))
    return made, lambda: torch.stack([scale * made.weight[k].sum() for k, scale in enumerate(gradient_scale)])


def test_adam_agrees_with_torchs_own():
    ours, losses = layer((0.3, 0.7))
    theirs, their_losses = layer((0.3, 0.7))
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    adam = EnsembleAdam([ours], weight_decay=0.1, clip=1e9)
    for _ in range(5):
        adam.step(losses() + ours.bias.square().sum((1, 2)), 0.01)
        reference.zero_grad()
        (their_losses().sum() + theirs.bias.square().sum()).backward()
        reference.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)
    assert torch.allclose(ours.bias, theirs.bias, atol=1e-6)


def test_one_members_exploding_gradient_leaves_the_other_alone():
    calm, calm_losses = layer((0.1, 0.1))
    wild, wild_losses = layer((0.1, 1e12))
    for module, losses in ((calm, calm_losses), (wild, wild_losses)):
        adam = EnsembleAdam([module], weight_decay=0.0, clip=1.0)
        for _ in range(3):
            adam.step(losses(), 0.01)
    assert torch.equal(calm.weight[0], wild.weight[0])
    assert wild.weight.isfinite().all()
