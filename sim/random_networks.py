"""Random networks and samples that go where errors hide.

Each case is a function of its seed. It draws a configuration (or takes one), a network that this
configuration can run, and samples. Every part is drawn from styles that provoke something: ties,
silence, saturation, the largest sums, empty rows and columns, one neuron, one step, inputs in all
steps or in the last one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..firmware.config import Config, LayerConfig
from ..firmware.formats import NEVER, column_bounds, signed_bits, weight_limit
from ..firmware.network import Layer, Network

__all__ = ["Case", "random_case", "random_cases", "random_config"]

#: Longer runs show nothing that shorter ones do not.
_LONGEST_RUN = 96


@dataclass(frozen=True, eq=False)
class Case:
    """A network with samples for it.

    Parameters
    ----------
    seed : int
        What :func:`random_case` makes the same case from.
    config : Config
        A configuration that the network compiles for.
    network : Network
    samples : (batch, inputs) int32
        Spike steps.
    """

    seed: int
    config: Config
    network: Network
    samples: np.ndarray

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.network}"


def random_cases(count: int, *, seed: int = 0, batch: int = 8) -> Iterator[Case]:
    """Yield ``count`` cases of random configurations, of seeds ``seed``, ``seed + 1`` …"""
    for offset in range(count):
        yield random_case(seed + offset, batch=batch)


def random_case(seed: int, *, config: Config | None = None, batch: int = 8) -> Case:
    """Make the case of ``seed``.

    Parameters
    ----------
    seed : int
    config : Config, optional
        What the network has to suit. Default: a small one, drawn from ``seed`` as well.
    batch : int
        Number of samples.
    """
    rng = np.random.default_rng(seed)
    if config is None:
        config = random_config(rng)
    network = _network(rng, config)
    steps = config.arrival_steps(network.steps)
    samples = [_sample(rng, network.inputs, steps) for _ in range(batch)]
    return Case(seed, config, network, np.array(samples, dtype=np.int32).reshape(batch, -1))


def random_config(rng: np.random.Generator) -> Config:
    """Draw an accelerator of 1 to 4 small layers."""
    shape = [_size(rng, 32), *(_size(rng, 20) for _ in range(rng.integers(1, 5)))]
    layers = []
    for index, (inputs, neurons) in enumerate(pairwise(shape)):
        weight_bits = int(rng.integers(2, 9))
        worst = inputs * weight_limit(weight_bits)
        current_bits = max(signed_bits(-worst, worst) - int(rng.integers(3)), weight_bits)
        membrane_bits = max(current_bits, 8)
        if rng.random() < 0.3:
            membrane_bits = int(rng.integers(membrane_bits, 33))
        layers.append(
            LayerConfig(
                inputs=inputs,
                neurons=neurons,
                lanes=int(rng.integers(1, neurons + 1)),
                weight_bits=weight_bits,
                k=int(rng.integers(1, 9)),
                current_bits=current_bits,
                membrane_bits=membrane_bits,
                rows=int(rng.integers(1, inputs + 1)) if index == 0 and rng.random() < 0.3 else 0,
                neuron="sum" if index == 0 and len(shape) > 2 and rng.random() < 0.3 else "current",
                fetch_cycles=int(rng.integers(1, 5)),
            )
        )
    if len(layers) > 1 and rng.random() < 0.3:
        ways = int(rng.choice([2, 4, 8]))
        layers[-1] = replace(layers[-1], lanes=layers[-1].neurons, ways=ways)
        # Neurons have to lie in the same way in every group.
        *_, before, _ = layers
        layers[-2] = replace(
            before, lanes=before.lanes // ways * ways if before.lanes >= ways else before.neurons
        )
    return Config(layers, max_steps=int(rng.integers(1, _LONGEST_RUN + 1)))


def _size(rng: np.random.Generator, largest: int) -> int:
    return 1 if rng.random() < 0.15 else int(rng.integers(1, largest + 1))


def _network(rng: np.random.Generator, config: Config) -> Network:
    shape = [config.inputs, *(layer.neurons for layer in config.layers)]
    if rng.random() < 0.5:  # smaller than what is built
        shape = [int(rng.integers(1, size + 1)) for size in shape]
    layers = []
    for index, built in enumerate(config.layers):
        weights = _weights(rng, shape[index], shape[index + 1], weight_limit(built.weight_bits))
        if index == 0:
            used = rng.permutation(np.flatnonzero(weights.any(axis=1)))
            weights[used[built.rows :]] = 0
        weights = _fit(weights, built)
        layers.append(
            Layer(
                weights=weights,
                k=built.k,
                threshold=_threshold(rng, weights, built.membrane_bits),
                weight_bits=built.weight_bits,
                membrane_bits=built.membrane_bits,
            )
        )
    longest = min(config.max_steps, _LONGEST_RUN)
    steps = longest if rng.random() < 0.7 else int(rng.integers(1, longest + 1))
    return Network(layers, steps)


def _weights(rng: np.random.Generator, inputs: int, neurons: int, limit: int) -> np.ndarray:
    shape = (inputs, neurons)
    match rng.integers(16):
        case 0:  # every sum at its positive end, all neurons tie
            weights = np.full(shape, limit)
        case 1:  # every sum at its negative end, the membrane saturates
            weights = np.full(shape, -limit)
        case 2 | 3:  # many equal sums
            weights = rng.integers(-1, 2, shape)
        case 4 | 5:  # neurons in groups of equals
            weights = rng.integers(-limit, limit + 1, shape)[:, rng.integers(0, neurons, neurons)]
        case 6:  # alternating extremes
            weights = rng.choice([-limit, limit], shape)
        case 7 | 8:  # an input excites all or inhibits all: the membrane saturates and recovers
            weights = rng.integers(0, limit + 1, shape) * rng.choice([-1, 1], (inputs, 1))
        case 9 | 10 | 11:  # as trained: bell-shaped, more excitation than inhibition
            weights = np.rint(rng.normal(limit / 4, limit / 3, shape))
            weights = np.clip(weights, -limit, limit).astype(np.int64)
        case _:
            weights = rng.integers(-limit, limit + 1, shape)
    if rng.random() < 0.3:
        weights[rng.random(inputs) < 0.3] = 0
    if rng.random() < 0.3:
        weights[:, rng.random(neurons) < 0.3] = 0
    return weights


def _fit(weights: np.ndarray, built: LayerConfig) -> np.ndarray:
    """Halve the columns whose sums of one sign do not fit, until they do."""
    limit = (1 << (built.current_bits - 1)) - 1 - (built.neuron == "sum")
    while True:
        low, high = column_bounds(weights)
        over = np.maximum(-low, high) > limit
        if not over.any():
            return weights
        weights = np.where(over, np.trunc(weights / 2), weights).astype(np.int64)


def _threshold(rng: np.random.Generator, weights: np.ndarray, membrane_bits: int) -> int:
    highest = 1 << (membrane_bits - 1)
    match rng.integers(16):
        case 0 | 1:
            return 1
        case 2:
            return highest
        case _:  # within reach, so that spikes spread over the run
            _, high = column_bounds(weights)
            reach = max(1, int(high.max() * 2 ** rng.uniform(-6, 1)))
            return min(highest, reach)


def _sample(rng: np.random.Generator, inputs: int, steps: int) -> np.ndarray:
    last = steps - 1
    when: np.ndarray
    match rng.integers(12):
        case 0:
            when = np.full(inputs, NEVER)
        case 1:
            return np.zeros(inputs, dtype=np.int64)
        case 2:
            when = np.full(inputs, last)
        case 3:  # one step, any
            when = np.full(inputs, rng.integers(0, last + 1))
        case 4:  # two steps
            when = rng.choice(rng.integers(0, last + 1, 2), inputs)
        case 5:  # early, as latency codes are
            when = rng.integers(0, min(last, 7) + 1, inputs)
        case _:
            when = rng.integers(0, last + 1, inputs)
    return np.where(rng.random(inputs) < rng.choice([0.2, 0.6, 1.0]), when, NEVER)
