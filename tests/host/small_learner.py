"""A small network that learns, from what and how: for the tests of host and driver."""

import numpy as np
from firstspike.firmware.config import Config
from firstspike.firmware.formats import NEVER
from firstspike.firmware.learning import Progress, Rule
from firstspike.firmware.network import Layer, Network

__all__ = ["CONFIG", "NETWORK", "RULE", "START", "make_network", "make_samples"]


def make_network(seed=5):
    """20-12-5, with an input that has no row."""
    random = np.random.default_rng(seed)
    hidden = random.integers(-30, 60, (20, 12))
    hidden[3] = 0
    layers = [Layer(hidden, 3, 300), Layer(random.integers(-50, 80, (12, 5)), 2, 250)]
    return Network(layers, steps=24, meta={"name": "small"})


NETWORK = make_network()
CONFIG = Config.for_network(NETWORK, [4, 3], buffer_bytes=512, learning=True)
RULE = Rule(
    [30_000, 50_000],
    margin=2,
    dropout=9000,
    activity=3,
    step=2,
    input_dropout=4000,
    dead_zone=5,
)
START = Progress.start(2, seed=9)


def make_samples(count, seed=6):
    """Samples of both kinds of requests, and labels."""
    random = np.random.default_rng(seed)
    samples = random.integers(0, NETWORK.steps, (count, NETWORK.inputs))
    samples[random.random(samples.shape) < 0.5] = NEVER
    samples[::3] = np.where(samples[::3] >= 0, 0, NEVER)
    return samples, random.integers(0, NETWORK.outputs, count)
