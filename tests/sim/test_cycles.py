"""The cycle model against arithmetic by hand and against the compiled gateware."""

from itertools import pairwise

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network
from firstspike.sim import fast
from firstspike.sim.cycles import predict
from firstspike.sim.engine import CoreSimulation

#: From the first event to the first token, from there to its spikes, through a scanner, and from
#: the last spikes to the result, besides a cycle for each round of the tournament.
SEQUENCER, LAYER, SCANNER, DECISION = 3, 4, 5, 2


def silent(shape, steps, used=True):
    """A network that never spikes."""
    layers = [
        Layer(np.full((inputs, neurons), -used, np.int8), k=2, threshold=100)
        for inputs, neurons in pairwise(shape)
    ]
    return Network(layers, steps)


def cycles_of(network, lanes, sample):
    samples = np.array([sample])
    config = Config.for_network(network, lanes)
    (cycles,) = predict(config, network, samples, fast.infer(network, samples))
    return cycles


def test_nothing_but_steps():
    network = silent((4, 6, 3), steps=20)
    latencies = SEQUENCER + LAYER + SCANNER + LAYER + DECISION
    assert cycles_of(network, 6, [NEVER] * 4) == latencies + 20 - 1 + 2
    assert cycles_of(network, [2, 3], [NEVER] * 4) == latencies + 3 * 20 - 1 + 2
    # Now the second layer is the slow one.
    assert cycles_of(network, [6, 1], [NEVER] * 4) == latencies + 3 * 20 - 1


def test_spikes_take_a_cycle_for_each_group():
    latencies = SEQUENCER + LAYER + DECISION
    network = silent((9, 4), steps=1)
    for groups, lanes in ((1, 4), (2, 2), (4, 1)):
        rounds = (lanes - 1).bit_length()
        expected = latencies + rounds + 9 * groups + groups - 1
        assert cycles_of(network, lanes, [0] * 9) == expected


def test_inputs_without_a_row_take_one_cycle():
    network = silent((9, 4), steps=1, used=False)
    assert cycles_of(network, 4, [0] * 9) == SEQUENCER + LAYER + DECISION + 2 + 9


def test_the_order_of_batches_does_not_matter():
    rng = np.random.default_rng(2)
    network = Network([Layer(rng.integers(-9, 20, (30, 8)), k=3, threshold=300)], 50)
    samples = rng.integers(-1, 50, (20, 30))
    config = Config.for_network(network, 3)
    whole = predict(config, network, samples, fast.infer(network, samples))
    for index in range(20):
        one = samples[index : index + 1]
        assert predict(config, network, one, fast.infer(network, one)) == whole[index]


@pytest.mark.parametrize("lanes", [(10, 6, 1), (20, 12, 4)], ids=str)
def test_equals_the_gateware_under_back_pressure(lanes):
    rng = np.random.default_rng(8)
    # A burst of spikes fills the queues behind the first layer and stalls it, so that it is late
    # when its inputs come in their second burst.
    layers = [
        Layer(rng.integers(-10, 25, (120, 40)), k=3, threshold=2500),
        Layer(rng.integers(-10, 20, (40, 24)), k=4, threshold=1000),
        Layer(rng.integers(-30, 42, (24, 4)), k=4, threshold=2200),
    ]
    network = Network(layers, 60)
    samples = rng.choice([NEVER, 0, 1, 2, 30, 31, 40], (200, 120))
    config = Config.for_network(network, lanes)
    expected = fast.infer(network, samples)
    assert expected.fired.mean() > 0.9
    with CoreSimulation(compile(network, config)) as core:
        inference, cycles = core.infer(samples)
    np.testing.assert_array_equal(inference.label, expected.label)
    np.testing.assert_array_equal(predict(config, network, samples, expected), cycles)


def test_arguments_that_do_not_belong_together():
    network, other = silent((4, 6, 3), 5), silent((4, 3), 5)
    samples = np.zeros((2, 4), dtype=np.int32)
    config = Config.for_network(network)
    inference = fast.infer(network, samples)
    with pytest.raises(DataError, match="other samples"):
        predict(config, network, samples[:1], inference)
    with pytest.raises(DataError, match="other samples"):
        predict(config, other, samples, inference)
    with pytest.raises(DataError, match="2 layers, but the accelerator is built for 1"):
        predict(Config.for_network(other), network, samples, inference)
