"""The network that the C driver is tested with: small, and one that can learn."""

import numpy as np
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network
from firstspike.firmware.packed import pack
from firstspike.firmware.registers import register_map

__all__ = ["ADDRESS", "CONFIG", "IMAGE", "NETWORK", "PACKED", "make_network", "make_samples"]


def make_network(seed=5):
    """20-12-5, with an input that has no row."""
    random = np.random.default_rng(seed)
    hidden = random.integers(-30, 60, (20, 12))
    hidden[3] = 0
    layers = [Layer(hidden, 3, 300), Layer(random.integers(-50, 80, (12, 5)), 2, 250)]
    return Network(layers, steps=24, meta={"name": "small"})


NETWORK = make_network()
CONFIG = Config.for_network(NETWORK, [4, 3], buffer_bytes=512, learning=True)
IMAGE = compile(NETWORK, CONFIG)
PACKED = pack(IMAGE)

#: Addresses of the registers by name.
ADDRESS = {name: address for name, address, _ in register_map(CONFIG)}


def make_samples(count, seed=6):
    """Samples of both kinds of requests, and labels."""
    random = np.random.default_rng(seed)
    samples = random.integers(0, NETWORK.steps, (count, NETWORK.inputs))
    samples[random.random(samples.shape) < 0.5] = NEVER
    samples[::3] = np.where(samples[::3] >= 0, 0, NEVER)
    return samples, random.integers(0, NETWORK.outputs, count)
