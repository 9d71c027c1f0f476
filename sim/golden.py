"""The golden model: ``docs/arithmetic.md`` written down in numpy, to be read and to be trusted.

Everything else in the project is compared with this module. It is written for clarity, one sample
and one step at a time; :mod:`firstspike.sim.fast` gives the same answers a hundred times faster.
"""

import numpy as np

from ..firmware.network import Network
from .neuron import CurrentNeurons
from .result import Inference

__all__ = ["infer"]


def infer(network: Network, samples: np.ndarray) -> Inference:
    """Classify samples.

    Parameters
    ----------
    network : Network
    samples : (batch, inputs) integers
        Spike step of each input, 0 … T−1, or ``NEVER``.

    Raises
    ------
    DataError
        If the samples do not suit the network.
    """
    samples = network.check_samples(samples)
    result = Inference.blank(network, len(samples))
    for index, sample in enumerate(samples):
        _infer_one(network, sample, result, index)
    return result


def _infer_one(network: Network, sample: np.ndarray, result: Inference, index: int) -> None:
    """Run one sample and write row ``index`` of ``result``."""
    # An input of layer 0 without weights has no row; a neuron's row is always there.
    has_row = [np.ones(layer.inputs, dtype=bool) for layer in network.layers]
    has_row[0] = np.any(network.layers[0].weights, axis=1)
    populations = [
        CurrentNeurons(layer.neurons, layer.k, layer.threshold, layer.membrane_bits)
        for layer in network.layers
    ]
    for step in range(network.steps):
        spikes = np.equal(sample, step)
        for level, (layer, population) in enumerate(zip(network.layers, populations, strict=True)):
            result.events[index, level] += spikes.sum()
            result.rows[index, level] += (spikes & has_row[level]).sum()
            spikes = population.step(layer.weights[spikes].sum(axis=0, dtype=np.int64))
            result.spikes[level][index, spikes] = step
        if spikes.any():
            break

    potential = populations[-1].membrane
    fired = spikes.any()
    # The highest membrane among the outputs that spiked, among all if none did; argmax gives the
    # lowest index among equals.
    contenders = spikes if fired else np.ones_like(spikes)
    result.label[index] = np.where(contenders, potential, np.iinfo(np.int64).min).argmax()
    result.step[index] = step
    result.fired[index] = fired
    result.tied[index] = spikes.sum() > 1
    result.potential[index] = potential
