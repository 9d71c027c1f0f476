"""What is simulated. The tests in the simulator import it, and so do those that start it."""

import numpy as np
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network

__all__ = ["BAUD", "BUILD_NUMBER", "CLOCK_HZ", "STEPS", "image", "network", "samples"]

#: The least clocks a bit that the receiver takes.
CLOCK_HZ = 48_000_000
BAUD = 12_000_000

BUILD_NUMBER = 0xC0FFEE

STEPS = 24

_rng = np.random.default_rng(20170528)

#: As large as the digits network; weights and thresholds such that all kinds of decisions occur.
network = Network(
    [
        Layer(_rng.integers(-28, 36, (64, 32)), k=3, threshold=600),
        Layer(_rng.integers(-60, 56, (32, 10)), k=3, threshold=700),
    ],
    STEPS,
)
image = compile(network, Config.for_network(network, lanes=(8, 4), buffer_bytes=512))


def samples(count: int, seed: int) -> np.ndarray:
    """Binary images and spikes at any step, by turns; one sample is empty."""
    rng = np.random.default_rng(seed)
    inputs = network.inputs
    drawn = np.where(rng.random((count, inputs)) < 0.4, rng.integers(0, 8, (count, inputs)), NEVER)
    drawn[::2] = np.where(drawn[::2] == NEVER, NEVER, 0)
    drawn[count // 2] = NEVER
    return drawn.astype(np.int32)
