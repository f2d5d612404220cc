"""What holds for every detector."""

from __future__ import annotations

import pytest
import torch
from detectors_help import DETECTORS, SEEDS, alone, detector, labels, rows

from streamad.errors import UserError
from streamad.models.base import make_detector
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom, member_seeds

KINDS = (-1, -1, 0, 1, -1, 0, 1, -1)


def own_rows(n, *, members=3, seed=2):
    """Rows of each member's own, [K, n, 6]."""
    return rows(n, sets=members, seed=seed).rows


def losses(made, x, y, *, progress=1.0, seeds=SEEDS[:3]):
    """Those of every stage, added up, [K]."""
    return sum(stage.loss(x, y, progress, MemberRandom(seeds)) for stage in made.stages())


def test_the_detectors_are_those_of_the_papers():
    assert DETECTORS == (
        "ae",
        "ae_sad",
        "classifier",
        "dae",
        "deep_sad",
        "deep_svdd",
        "dp_vae",
        "mml_dp_vae",
        "mml_vae",
        "supervised",
        "vae",
    )


@pytest.mark.parametrize("name", DETECTORS)
def test_members_of_an_ensemble_score_and_learn_as_separate_networks_do(name):
    made, x, y = detector(name), own_rows(8), labels(*KINDS)
    scores, latents = made.eval().score(x)
    loss = losses(made.train(), x, y)
    assert loss.shape == (3,)
    assert len(set(loss.tolist())) == 3
    made = detector(name)  # training moved the running statistics
    for k in range(3):
        single = alone(made, name, k)
        score, latent = single.eval().score(x[k : k + 1])
        assert torch.allclose(scores[k], score[0], atol=1e-5)
        assert torch.allclose(latents[k], latent[0], atol=1e-5)
        own = losses(single.train(), x[k : k + 1], y[:1], seeds=SEEDS[k : k + 1])
        assert loss[k].item() == pytest.approx(own.item(), rel=1e-4)


@pytest.mark.parametrize("name", DETECTORS)
def test_one_member_alone_has_the_loss_that_its_gradient_belongs_to(name):
    made = detector(name)
    parameters = list(made.parameters())
    loss = losses(made.train(), own_rows(8), labels(*[-1] * 7, 1))[1]
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    assert sum(gradient[1].abs().sum() for gradient in gradients) > 0
    assert all(gradient[0].abs().sum() == gradient[2].abs().sum() == 0 for gradient in gradients)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_is_a_function_of_its_seeds_and_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()
    one, two, other = (
        dict(detector(name, seeds=seeds).named_parameters()) for seeds in ((1, 2), (1, 2), (3, 4))
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("y", [(-1,), (0,), (1,)])
def test_a_batch_of_one_row_of_any_kind_has_a_finite_loss_and_gradient(name, y):
    made = detector(name).train()
    for progress in (0.0, 1.0):
        loss = losses(made, own_rows(1), labels(*y), progress=progress)
        gradients = torch.autograd.grad(loss.sum(), list(made.parameters()), materialize_grads=True)
        assert loss.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("size", [1e6, 1e-6])
def test_the_most_extreme_rows_have_finite_scores_losses_and_gradients(name, size):
    made = detector(name)
    x = own_rows(4)
    x[..., :4] = size
    scores, latents = made.eval().score(x)
    assert scores.isfinite().all()
    assert latents.isfinite().all()
    assert (scores >= 0).all()
    loss = losses(made, x, labels(-1, 0, 1, 1))
    gradients = torch.autograd.grad(loss.sum(), list(made.parameters()), materialize_grads=True)
    assert loss.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", ["nothing", "layers", "../dae", "base", "os", ""])
def test_a_name_without_a_detector_is_the_users_error(name):
    with pytest.raises(UserError, match=r"detector\.name"):
        make_detector(name, 6, DetectorOptions(), (1,))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_setting_that_a_detector_does_not_have_is_refused_with_those_that_it_has(name):
    known = ", ".join(sorted(type(detector(name)).SETTINGS))
    with pytest.raises(UserError) as refusal:
        detector(name, magic=1)
    assert str(refusal.value) == f"detector.settings: {name} has no setting 'magic' (it has: {known})"


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        (
            "mml_vae",
            {"beta_cubo": 0.5},
            "beta_cubo is 0.5, but outliers are pushed away only between 0 and 0.5",
        ),
        (
            "mml_dp_vae",
            {"beta_cubo": 2},
            "beta_cubo is 2, but outliers are pushed away only between 0 and 0.5",
        ),
        ("mml_vae", {"beta_cubo": 0}, "beta_cubo is 0, but outliers are pushed away only between 0 and 0.5"),
        ("deep_svdd", {"nu": 1}, "nu is 1, but a share of rows is at least 0 and below 1"),
        ("deep_svdd", {"nu": -0.1}, "nu is -0.1, but a share of rows is at least 0 and below 1"),
        ("classifier", {"classes": 6}, "6 classes do not fit into 6 columns"),
        ("classifier", {"classes": 1}, "1 classes do not fit into 6 columns"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_the_detector_is_made(name, settings, sentence):
    with pytest.raises(UserError) as refusal:
        detector(name, **settings)
    assert str(refusal.value) == f"detector.settings: {sentence}"


def test_the_seeds_of_neighbouring_ensembles_are_never_the_same():
    found = [seed for version in range(5) for seed in member_seeds(version, 64)]
    assert len(set(found)) == len(found)


def test_a_member_draws_the_same_numbers_whoever_draws_beside_it():
    whole, single = MemberRandom((1, 2, 3)), MemberRandom((2,))
    for _ in range(3):
        assert torch.equal(whole.normal(5000, 3)[1:2], single.normal(5000, 3))
        assert torch.equal(whole.orders(9)[1:2], single.orders(9))
        odds = torch.tensor([[0.0, 1, 3]])
        drawn = single.choices(odds, 1000)
        assert torch.equal(whole.choices(odds.expand(3, -1), 1000)[1:2], drawn)
        assert drawn.min() == 1
        assert (drawn == 2).float().mean().item() == pytest.approx(0.75, abs=0.06)


def test_numbers_drawn_ahead_are_standard_normal_and_none_is_used_twice():
    random = MemberRandom((1,))
    drawn = torch.cat([random.normal(1000, 7) for _ in range(20)], 1).flatten()
    assert len(set(drawn.tolist())) > 0.99 * len(drawn)
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.std().item() == pytest.approx(1, abs=0.02)
