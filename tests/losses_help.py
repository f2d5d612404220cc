"""Networks whose outputs can be worked out in the head, and their losses under a given noise."""

from __future__ import annotations

import math

import torch
from detectors_help import detector, labels

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
