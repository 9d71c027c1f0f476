"""Compiles the golden models ahead of time, for a host that would not wait for it."""

from functools import cache

import numpy as np

from ..firmware.config import Config
from ..firmware.learning import Progress, Rule
from ..firmware.network import Layer, Network
from . import fast
from .cycles import predict
from .fast_learner import Learner

__all__ = ["warm_up"]

#: Sums of a first layer in so many bits are kept in 16, others in 32.
_NARROW_BITS = 16

#: Inputs whose largest weights together need more than that.
_WIDE_INPUTS = 260


def warm_up(config: Config) -> None:
    """Compile what a device of this configuration infers and learns with.

    Where nothing of it is cached, that takes a minute: more patience than a program behind a
    pseudo-terminal has with an answer.
    """
    _compile(config.layers[0].current_bits > _NARROW_BITS, config.learning)


@cache
def _compile(wide: bool, learning: bool) -> None:
    for inputs in (1, _WIDE_INPUTS) if wide else (1,):
        layers = [Layer(np.full((inputs, 1), 127), 1, 1), Layer(np.ones((1, 1), int), 1, 1)]
        network = Network(layers, steps=4)
        samples = np.zeros((1, inputs), np.int32)
        inference = fast.infer(network, samples)
        predict(Config.for_network(network), network, samples, inference)
    if learning:
        Learner(network, Rule([0, 0]), Progress.start(2, seed=1)).learn(samples, np.zeros(1, int))
