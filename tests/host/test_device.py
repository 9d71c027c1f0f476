"""One set of tests for the golden model, the compiled simulation and a board, behind the link."""

from dataclasses import replace

import firstspike
import numpy as np
import pytest
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import (
    CapacityError,
    ConfigurationMismatch,
    DataError,
    LinkError,
)
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network
from firstspike.sim import fast
from firstspike.sim.random_networks import random_case
from firstspike.sim.virtual_board import ModelBackend


def case_for(device, seed, batch=8):
    """A random network that the device holds, samples for it, and what the golden model says."""
    case = random_case(seed, config=device.config, batch=batch)
    return case.network, case.samples, fast.infer(case.network, case.samples)


def check(result, expected):
    for name in ("label", "step", "fired", "rows"):
        assert (getattr(result, name) == getattr(expected, name)).all(), name


def test_account_of_itself(device):
    assert device.info.digest == device.config.digest
    assert device.info.clock_hz > 0
    assert set(device.counters()) < set(device.registers())


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(device, seed):
    network, samples, expected = case_for(device, seed, batch=40)
    device.load(network)
    check(device.infer(samples), expected)


def test_a_loaded_model_is_verified_and_marked(device):
    network, _, _ = case_for(device, 3)
    image = device.load(network)
    assert device.image is image
    registers = device.registers()
    assert registers["model"] == image.crc
    assert {name: registers[name] for name in image.registers} == dict(image.registers)
    for region in device.config.regions:
        assert device.read_memory(region.name) == image.regions[region.name]


def test_what_is_held_is_read_back_as_an_image(device):
    network, _, _ = case_for(device, 3)
    image = device.load(network)
    held = device.read_image()
    assert held.regions == image.regions
    assert {name: held.registers[name] for name in image.registers} == dict(image.registers)
    assert held.meta == image.meta
    assert device.load(held).crc == image.crc


def test_only_what_differs_is_sent(device):
    network, _, _ = case_for(device, 3)
    image = device.load(network)
    before = device.statistics.bytes_sent
    device.load(image)
    again = device.statistics.bytes_sent - before
    assert again < sum(region.bytes for region in device.config.regions)
    layer = network.layers[0]
    weights = layer.weights.copy()
    row = np.flatnonzero(weights.any(axis=1))[-1]
    weights[row, -1] = 1 - weights[row, -1]
    changed = replace(network, layers=[replace(layer, weights=weights), *network.layers[1:]])
    before = device.statistics.bytes_sent
    loaded = device.load(changed)
    assert (
        device.read_memory("weights_0") == loaded.regions["weights_0"] != image.regions["weights_0"]
    )
    assert device.statistics.bytes_sent - before < again + 300


def test_one_sample(device):
    network, samples, expected = case_for(device, 4)
    device.load(network)
    result = device.infer(samples[0])
    assert len(result) == 1
    assert result.label[0] == expected.label[0]


def test_no_samples(device):
    network, samples, _ = case_for(device, 4)
    device.load(network)
    assert len(device.infer(samples[:0])) == 0


def test_types_and_cycles(device):
    network, samples, _ = case_for(device, 5)
    device.load(network)
    result = device.infer(samples)
    assert result.label.dtype == result.step.dtype == result.rows.dtype == np.int32
    assert result.fired.dtype == bool
    assert result.cycles.dtype == np.int64
    assert (result.cycles > 0).all()


def test_samples_wider_than_the_network(device):
    """Inputs that the build has and the network lacks do not matter if they do not spike."""
    seeds = (seed for seed in range(100) if case_for(device, seed)[0].inputs < device.config.inputs)
    network, samples, expected = case_for(device, next(seeds))
    device.load(network)
    padding = ((0, 0), (0, device.config.inputs - network.inputs))
    check(device.infer(np.pad(samples, padding, constant_values=NEVER)), expected)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: np.zeros((2, 5000), np.int32), "have shape"),
        (lambda x: x[None], "have shape"),
        (lambda x: x.astype(float), "spike steps are integers"),
        (lambda x: np.full_like(x, 9999), "run from 9999 to 9999"),
        (lambda x: np.full_like(x, -2), "run from -2 to -2"),
    ],
)
def test_unsuitable_samples(device, change, sentence):
    network, samples, expected = case_for(device, 6)
    device.load(network)
    with pytest.raises(DataError, match=sentence):
        device.infer(change(samples))
    check(device.infer(samples), expected)


def test_a_model_that_others_replaced(device):
    network, samples, _ = case_for(device, 7)
    device.load(network)
    device.write_register("model", 123)
    with pytest.raises(LinkError, match="no longer holds the model"):
        device.infer(samples)


def test_an_image_for_another_accelerator(device):
    other = Config([*device.config.layers[:-1], LayerConfig(device.config.layers[-1].inputs, 2, 1)])
    network = Network(
        [Layer(np.ones((layer.inputs, layer.neurons), np.int8), 4, 50) for layer in other.layers],
        10,
    )
    image = firstspike.compile(network)
    with pytest.raises(ConfigurationMismatch, match=r"cannot take this image: .* was to be"):
        device.load(image)


def test_a_network_that_does_not_fit(device):
    wide = device.config.inputs + 1
    network = Network([Layer(np.ones((wide, 2), np.int8), 4, 50)] * 1, 10)
    with pytest.raises(CapacityError):
        device.load(network)


def test_registers(device):
    device.write_register("steps", 3)
    assert device.read_register("steps") == 3
    for name, sentence in (("stepz", "did you mean steps"), ("inferences", "cannot be written")):
        with pytest.raises(DataError, match=sentence):
            device.write_register(name, 1)
    for value in (0, device.config.max_steps + 1):
        with pytest.raises(DataError, match="but the range is 1 to"):
            device.write_register("steps", value)
    with pytest.raises(DataError, match="did you mean row_map"):
        device.read_memory("rowmap")


def test_counters_count(device):
    network, samples, _ = case_for(device, 8)
    device.load(network)
    before = device.counters()
    device.infer(samples)
    after = device.counters()
    assert after["inferences"] - before["inferences"] == len(samples)
    wrong = (
        "frames_damaged",
        "frames_overrun",
        "line_errors",
        "commands_refused",
        "stalls",
        "boots",
    )
    assert all(after[name] == before[name] for name in wrong)


def test_a_closed_device(target):
    with firstspike.open(**target, reconnect=0) as device:
        pass
    device.close()
    with pytest.raises(LinkError):
        device.registers()


def test_a_virtual_board_is_built_for_the_first_model():
    case = random_case(21)
    with firstspike.open("model:") as device:
        with pytest.raises(LinkError, match="stands for no device yet"):
            device.registers()
        device.load(firstspike.compile(case.network))
        expected = fast.infer(case.network, case.samples)
        check(device.infer(case.samples), expected)


def test_without_a_model():
    case = random_case(21)
    with (
        firstspike.open("model:", config=case.config) as device,
        pytest.raises(LinkError, match="no model is loaded"),
    ):
        device.infer(case.samples)


def test_memory_that_does_not_hold_what_is_written(monkeypatch):
    case = random_case(21)
    monkeypatch.setattr(ModelBackend, "_write_memory", lambda self, frame: (b"", 0))
    with firstspike.open("model:", config=case.config) as device:
        with pytest.raises(LinkError, match="holds other bytes in weights_0 than were written"):
            device.load(case.network)
        assert device.read_register("model") == 0
        with pytest.raises(LinkError, match="no model is loaded"):
            device.infer(case.samples)
