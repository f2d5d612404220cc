"""The training loop: what it shows a detector, in which order, and when it stops."""

from __future__ import annotations

import pytest
import torch
from detectors_help import OPTIONS, SEEDS, rows, trained, weights

from streamad.errors import TrainingError
from streamad.models.base import Detector, Stage
from streamad.models.layers import EnsembleLinear
from streamad.models.options import DetectorOptions
from streamad.models.randomness import generators
from streamad.training.adam import EnsembleAdam
from streamad.training.loop import Training, TrainingRows, train

PLAIN = OPTIONS.model_copy(update={"epochs": 1, "min_steps": 10})


class Spy(Detector):
    """Records the batches it is given; its loss is the distance of one parameter from 1."""

    def __init__(self, members=3):
        super().__init__(1, DetectorOptions(latent=1), [torch.Generator()] * members)
        self.weight = torch.nn.Parameter(torch.zeros(members, 1))
        self.batches, self.calls = [], []

    def loss(self, x, y, progress, random):
        del random
        assert self.training
        self.batches.append((x.clone(), y.clone(), progress))
        return (self.weight[:, 0] - 1).square()

    def score(self, x):
        return x.sum(-1).abs(), x

    def finish(self, rows):
        self.calls.append(("finish", self.training, [(x.shape, y.shape) for x, y in rows]))


class Staged(Spy):
    """Trains in two stages, the second one half as long and on one module."""

    def __init__(self):
        super().__init__()
        self.other = EnsembleLinear(generators((1, 2, 3)), 1, 1)

    def second(self, x, y, progress, random):
        del y, random
        self.calls.append(("step", progress))
        return self.other(x)[..., 0].mean(1) + (self.weight[:, 0] - 1).square()

    def begin(self, rows):
        self.calls.append(("begin", self.training, [x.tolist() for x, _ in rows]))

    def stages(self):
        return (
            Stage(self.loss, ((0.0, 1.0),)),
            Stage(self.second, ((0.0, 1.0), (0.5, 0.0)), modules=(self.other,), epochs=0.5, begin=self.begin),
        )


def numbered(*labels, sets=1):
    """Rows whose only value is their number, with these labels, the same in each of the sets."""
    x = torch.arange(float(len(labels))).view(1, -1, 1).repeat(sets, 1, 1)
    x += 1000 * torch.arange(sets).view(-1, 1, 1)
    return TrainingRows(x, torch.tensor([labels] * sets, dtype=torch.int8))


def epochs(spy, steps):
    """The rows [K, n] and labels [K, n] of each epoch."""
    found = [spy.batches[i : i + steps] for i in range(0, len(spy.batches), steps)]
    return [(torch.cat([x for x, _, _ in e], 1)[..., 0], torch.cat([y for _, y, _ in e], 1)) for e in found]


def test_every_member_sees_every_row_once_an_epoch_in_an_order_of_its_own():
    spy = Spy()
    train(spy, numbered(*[-1] * 37), PLAIN, SEEDS[:3])
    assert [x.shape[1] for x, _, _ in spy.batches] == [16, 16, 5] * 4
    for seen, _ in epochs(spy, 3):
        assert (seen.sort(dim=1).values == torch.arange(37.0)).all()
    orders = {tuple(member) for seen, _ in epochs(spy, 3) for member in seen.tolist()}
    assert len(orders) == 12


def test_progress_runs_from_zero_towards_one():
    spy, seen = Spy(), []
    options = PLAIN.model_copy(update={"epochs": 2})
    train(spy, numbered(*[-1] * 64), options, SEEDS[:3], progress=seen.append)
    shares = [progress for _, _, progress in spy.batches]
    assert shares == pytest.approx([i / 12 for i in range(12)])
    assert [(line["epoch"], line["epochs"]) for line in seen] == [(1, 3), (2, 3), (3, 3)]


def test_each_batch_carries_labeled_rows_beyond_its_size_last_of_both_verdicts_equally_often():
    spy = Spy()
    labels = (1, *[0] * 19, *[-1] * 44)
    train(spy, numbered(*labels), PLAIN.model_copy(update={"epochs": 50}), SEEDS[:3])
    y = torch.stack([y for _, y, _ in spy.batches])
    assert y.shape == (200, 3, 18)
    assert (y[..., 16:] == 1).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (y[..., 16:] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    x = torch.stack([x for x, _, _ in spy.batches])[..., 0]
    assert (torch.tensor(labels)[x.long()] == y).all()


def test_labeled_rows_also_come_in_their_turn_spread_evenly_over_the_batches():
    spy = Spy()
    labels = (*[1] * 8, *[0] * 4, *[-1] * 52)
    train(spy, numbered(*labels), PLAIN, SEEDS[:3])
    for _, y, _ in spy.batches:
        assert (y[:, :16] == 1).sum(1).tolist() == [2, 2, 2]
        assert (y[:, :16] == 0).sum(1).tolist() == [1, 1, 1]
    own = torch.cat([x[:, :16] for x, _, _ in spy.batches[:4]], 1)[..., 0]
    assert (own.sort(dim=1).values == torch.arange(64.0)).all()


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_without_a_labeled_share_worth_a_row_a_batch_is_its_own_rows_alone(share):
    spy = Spy()
    train(spy, numbered(1, 0, *[-1] * 30), PLAIN.model_copy(update={"labeled_share": share}), SEEDS[:3])
    assert {x.shape[1] for x, _, _ in spy.batches} == {16}


def test_members_of_several_sets_each_see_their_own():
    spy = Spy(members=4)
    train(spy, numbered(1, *[-1] * 19, sets=2), PLAIN, SEEDS[:4])
    seen = torch.cat([x for x, _, _ in spy.batches], 1)[..., 0]
    assert (seen // 1000).unique(dim=1).tolist() == [[0], [0], [1], [1]]


def test_stages_come_in_order_each_with_its_own_length_progress_and_modules():
    staged, seen = Staged(), []
    before = staged.other.weight.clone()
    train(staged, numbered(-1, -1), OPTIONS.model_copy(update={"epochs": 4}), SEEDS[:3], progress=seen.append)
    assert [progress for _, _, progress in staged.batches] == [0, 0.25, 0.5, 0.75]
    begin, first, second, finish = staged.calls
    assert begin == ("begin", False, [[[[0.0], [1.0]]] * 3])
    assert (first, second) == (("step", 0.0), ("step", 0.5))
    assert finish == ("finish", False, [((3, 2, 1), (3, 2))])
    assert [(line["epoch"], line["epochs"]) for line in seen] == [(i, 6) for i in range(1, 7)]
    # one step moved it, the other one's learning rate is 0, and the first stage gave it no gradient
    assert (staged.other.weight - before).abs().flatten().tolist() == pytest.approx([0.01] * 3, rel=1e-2)
    weight = staged.weight.flatten().tolist()
    assert weight == pytest.approx([0.04] * 3, rel=1e-2)  # four steps of the first stage, none of the second


class Told(Spy):
    """Its loss is what it was told, one batch an epoch."""

    def __init__(self, *costs, **settings):
        super().__init__()
        self.costs, self.settings = costs, settings

    def loss(self, x, y, progress, random):
        return super().loss(x, y, progress, random) * 0 + self.costs[len(self.batches) - 1]


@pytest.mark.parametrize(
    ("patience", "settings", "length"),
    [(None, {}, 8), (2, {}, 5), (3, {}, 8), (1, {}, 4), (1, {"annealed": 0.5}, 8), (1, {"warm_up": 0.25}, 4)],
)
def test_patience_ends_the_last_stage_after_so_many_epochs_without_a_lower_loss(patience, settings, length):
    told = Told(5, 4, 3, 3, 3.5, 2, 1, 0, **settings)
    options = OPTIONS.model_copy(update={"epochs": 8})
    losses = train(told, numbered(-1, -1), options, SEEDS[:3], patience=patience)
    assert losses == list(told.costs[:length])


def test_training_goes_on_with_what_the_data_holds_by_then():
    spy = Spy()
    run = Training(spy, numbered(*[-1] * 20), OPTIONS.model_copy(update={"batch": 8}), SEEDS[:3])
    run.data.labels[0, 3] = 1
    run.go_on(4)
    assert [progress for _, _, progress in spy.batches] == [1.0] * 4
    first = torch.cat([y[:, : min(8, y.shape[1] - 1)] for _, y, _ in spy.batches[:3]], 1)
    assert (first == 1).sum(1).tolist() == [1, 1, 1]


def test_training_twice_gives_equal_weights_and_other_seeds_do_not():
    data = rows(50, anomalies=2, normals=2)
    one, two = (weights(trained("dp_vae", data)[0]) for _ in range(2))
    other = weights(trained("dp_vae", data, seeds=SEEDS[2:5])[0])
    assert torch.equal(one, two)
    assert torch.isclose(one, other).float().mean() < 0.1


def test_the_loss_falls():
    _, losses = trained("dae", rows(200), epochs=30)
    assert losses[-1] < 0.8 * losses[0]


class Cliff(Spy):
    """Its loss is finite where its gradient is not."""

    def loss(self, x, y, progress, random):
        return super().loss(x, y, progress, random) * 0 + self.weight[:, 0].sqrt()


def test_a_last_step_into_nowhere_is_a_training_error_whenever_it_comes():
    data, options = numbered(-1), OPTIONS.model_copy(update={"epochs": 1, "min_steps": 1})
    with pytest.raises(TrainingError, match="not all weights are finite"):
        train(Cliff(), data, options, SEEDS[:3])
    with pytest.raises(TrainingError, match="not all weights are finite"):
        Training(Cliff(), data, options, SEEDS[:3]).go_on(1)


def test_nothing_to_train_on_is_a_training_error():
    with pytest.raises(TrainingError, match="no records"):
        trained("dae", rows(0))


def test_labels_reach_the_latents_of_a_dae_through_a_uai_layer():
    data = rows(50, normals=4)  # for the DAE itself they are rows like any other
    with_head, without = (trained("dae", data, head=head)[0] for head in (True, False))
    assert not torch.equal(weights(with_head.encoder), weights(without.encoder))


def layer(gradient_scale, seed=0):
    """A layer of two members and the losses that give them gradients of this size."""
    made = EnsembleLinear(generators((seed, seed + 1)), 3, 2)
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
