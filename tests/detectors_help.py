"""Every detector, made small, and data to train it on."""

from __future__ import annotations

import importlib
import pkgutil

import torch

from streamad import models
from streamad.models.base import make_detector
from streamad.models.options import DetectorOptions
from streamad.models.randomness import MemberRandom
from streamad.training.loop import TrainingRows, train

torch.set_num_threads(1)  # as the trainer process does; small products gain nothing from more

_FILES = [
    importlib.import_module(f"streamad.models.{found.name}")
    for found in pkgutil.iter_modules(models.__path__)
]
DETECTORS = tuple(sorted(file.__name__.rpartition(".")[2] for file in _FILES if hasattr(file, "DETECTOR")))
OPTIONS = DetectorOptions(
    members=3, hidden=(5, 4), latent=2, epochs=2, min_steps=4, batch=16, learning_rate=0.01
)
SEEDS = (11, 12, 13, 14, 15)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def labels(*values, members=3):
    """The same labels for every member, [K, n]."""
    return torch.tensor([values] * members, dtype=torch.int8)


def detector(name, width=6, *, seeds=SEEDS[:3], hidden=(5, 4), latent=2, **settings):
    """A detector with fresh weights."""
    options = OPTIONS.model_copy(update={"hidden": hidden, "latent": latent, "settings": settings})
    return make_detector(name, width, options, seeds)


def alone(whole, name, member, **settings):
    """One member of an ensemble as an ensemble of its own."""
    single = detector(name, whole.width, seeds=(99,), **settings)
    single.load_state_dict({key: value[member : member + 1] for key, value in whole.state_dict().items()})
    return single


def rows(n, *, anomalies=0, normals=0, sets=1, width=6, seed=0):
    """`n` rows in each of the sets, of which the first are labeled; they suit every detector.

    They lie in [0, 1], as AE-SAD reads them, and end with a class of two, as the classifier reads them.
    """
    x = torch.rand((sets, n, width), generator=generator(seed))
    x[:, :anomalies] = x[:, :anomalies] / 2 + 0.5
    x[..., -2] = (x[..., 0] > 0.4).float()
    x[..., -1] = 1 - x[..., -2]
    y = torch.full((sets, n), -1, dtype=torch.int8)
    y[:, :anomalies] = 1
    y[:, anomalies : anomalies + normals] = 0
    return TrainingRows(x, y)


def trained(name, data, *, seeds=SEEDS[:3], settings=None, **changes):
    """A detector trained on `data`, and the losses of its epochs."""
    options = OPTIONS.model_copy(update={"settings": settings or {}, **changes})
    made = make_detector(name, data.rows.shape[2], options, seeds)
    return made, train(made, data, options, seeds)


def worn(made, steps=3):
    """A fresh detector whose running statistics have moved."""
    random = MemberRandom(range(made.members))
    for step in range(steps):
        x = torch.randn(made.members, 50, made.width, generator=generator(step)) * 3 + 1
        for stage in made.train().stages():
            stage.loss(x, torch.full(x.shape[:2], -1, dtype=torch.int8), 1.0, random)
    return made.eval()


def weights(made):
    """All that was learned, buffers included, [K, P]."""
    return torch.cat([value.reshape(len(value), -1) for value in made.state_dict().values()], dim=1)
