"""Verification passes what is right, and names the first place where something is wrong."""

import re

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError, Mismatch
from firstspike.firmware.formats import NEVER
from firstspike.firmware.image import Image
from firstspike.firmware.network import Layer, Network
from firstspike.sim import engine, golden
from firstspike.sim import verify as verify_module
from firstspike.sim.compare import first_divergence
from firstspike.sim.verify import verify


def make_network(inputs=40, hidden=70, outputs=9, seed=1):
    random = np.random.default_rng(seed)
    layers = [
        Layer(random.integers(-20, 30, (inputs, hidden)), 3, 150),
        Layer(random.integers(-20, 30, (hidden, outputs)), 2, 150, membrane_bits=12),
    ]
    return Network(layers, steps=40)


# The same build as in test_engine.py.
NETWORK = make_network()
IMAGE = compile(NETWORK, Config.for_network(NETWORK, lanes=[33, 4]))


def make_samples(count, inputs=40, seed=2):
    random = np.random.default_rng(seed)
    samples = random.integers(0, 10, (count, inputs))
    samples[random.random(samples.shape) < 0.6] = NEVER
    return samples


def with_flipped_bit(image, region, byte, bit):
    contents = bytearray(image.regions[region])
    contents[byte] ^= 1 << bit
    return Image(
        image.config, image.registers, dict(image.regions) | {region: bytes(contents)}, image.meta
    )


def test_what_is_right_passes_and_is_counted():
    samples = make_samples(300)
    done = []
    report = verify(NETWORK, samples, IMAGE, progress=done.append)
    expected = golden.infer(NETWORK, samples)
    assert sum(done) == len(report.cycles) == 300
    assert (report.inference.label == expected.label).all()
    spikes = sum((layer != NEVER).sum() for layer in expected.spikes)
    assert f"300 samples, {spikes} spikes" in str(report)


def test_a_network_smaller_than_the_build_passes():
    network = make_network(inputs=31, hidden=50, outputs=4, seed=5)
    verify(network, make_samples(50, inputs=31), compile(network, IMAGE.config))


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_weight_bit_is_caught_where_it_shows_first(seed):
    random = np.random.default_rng(seed)
    samples = make_samples(300)
    lanes, rows = IMAGE.config.layers[0].lanes, IMAGE.config.layers[0].rows
    row, neuron = int(random.integers(rows)), int(random.integers(NETWORK.layers[0].neurons))
    byte = (neuron // lanes * rows + row) * lanes + neuron % lanes
    wrong = with_flipped_bit(IMAGE, "weights_0", byte, 5)
    with pytest.raises(Mismatch) as caught:
        verify(NETWORK, samples, wrong)

    # The golden model of the wrong network says independently where that is.
    expected = first_divergence(
        golden.infer(NETWORK, samples), golden.infer(wrong.network(), samples), NETWORK
    )
    message = str(caught.value)
    place = f"sample {expected.sample}, step {expected.step}, layer 0, neuron {neuron}, cycle "
    assert message.startswith(place)
    assert "golden model" in message
    assert "simulated gateware" in message
    assert int(re.search(r"cycle (\d+)", message)[1]) > 0


def test_a_wrong_row_map_is_caught():
    wrong = with_flipped_bit(IMAGE, "row_map", 0, 0)
    with pytest.raises(Mismatch, match="layer 0, neuron"):
        verify(NETWORK, make_samples(20), wrong)


def test_a_wrong_threshold_is_caught():
    registers = dict(IMAGE.registers) | {"threshold_1": 151}
    wrong = Image(IMAGE.config, registers, IMAGE.regions)
    with pytest.raises(Mismatch, match="layer 1"):
        verify(NETWORK, make_samples(100), wrong)


def test_a_wrong_cycle_count_is_caught(monkeypatch):
    right = verify_module.predict

    def wrong(config, network, samples, inference):
        cycles = right(config, network, samples, inference)
        cycles[7] += 1
        return cycles

    monkeypatch.setattr(verify_module, "predict", wrong)
    with pytest.raises(Mismatch, match=r"sample 7.*the cycle model has cycle count"):
        verify(NETWORK, make_samples(20), IMAGE)


def test_the_sample_is_counted_from_the_start_of_the_batch(monkeypatch):
    wrong = with_flipped_bit(IMAGE, "weights_1", 0, 6)
    samples = make_samples(60)
    with pytest.raises(Mismatch) as whole:
        verify(NETWORK, samples, wrong)
    sample = int(re.search(r"sample (\d+)", str(whole.value))[1])
    right = np.full((50, 40), NEVER)
    monkeypatch.setattr(verify_module, "_CHUNK", 16)
    with pytest.raises(Mismatch, match=f"sample {sample + 50},"):
        verify(NETWORK, np.concatenate([right, samples]), wrong)


def test_a_network_that_the_image_cannot_be_of_is_refused():
    network = make_network(inputs=41)
    with pytest.raises(DataError, match="compile this network"):
        verify(network, make_samples(1, inputs=41), IMAGE)
    with pytest.raises(DataError, match="at least one sample"):
        verify(NETWORK, make_samples(0), IMAGE)


def test_a_core_without_a_result_is_a_mismatch(monkeypatch):
    monkeypatch.setattr(engine, "_patience", lambda config: 10)
    with pytest.raises(Mismatch, match="no result"):
        verify(NETWORK, make_samples(1), IMAGE)
