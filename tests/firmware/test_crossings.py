"""Crossings against neurons of the golden model that are stepped through."""

import numpy as np
import pytest
from firstspike.firmware.crossings import crossings, pack_crossings, unpack_crossings
from firstspike.sim.neuron import CurrentNeurons


@pytest.mark.parametrize("k", [1, 2, 4, 8])
@pytest.mark.parametrize("threshold", [1, 7, 100, 509, 2000, 1 << 15])
def test_every_sum_spikes_when_its_neuron_does(k, threshold):
    bits, steps = 10, 48
    most = (1 << (bits - 1)) - 1
    sums = np.arange(-most - 1, most)
    neurons = CurrentNeurons(len(sums), k, threshold, 17)
    values = crossings(k, threshold, steps, bits)
    assert values.shape == (steps,)
    charge = sums
    for step in range(steps):
        neurons.step(charge)
        charge = np.zeros_like(sums)
        np.testing.assert_array_equal(neurons.fired, sums >= values[step])


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_packing_is_inverted(lanes):
    values = np.array([(1 << (8 * lanes - 1)) - 1, 77, 3])
    data = pack_crossings(values, lanes, 5)
    assert len(data) == 5 * lanes
    assert unpack_crossings(data, lanes).tolist() == [*values, 3, 3]
