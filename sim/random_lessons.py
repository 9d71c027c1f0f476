"""Random builds that learn, and lessons for them that go where errors hide.

What :mod:`firstspike.sim.random_networks` is to inferences. Everything is drawn from a generator
that the caller gives, corners included: rows that no input has, outputs that take no part but have
weights, samples without a spike, rates of one and of nothing, weights at their ends.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..firmware.config import DROPOUT_DRAWS, Config, LayerConfig
from ..firmware.errors import Mismatch
from ..firmware.formats import NEVER, signed_bits, weight_limit
from ..firmware.image import Image
from ..firmware.layout import pack_weights, unpack_row_map, unpack_weights
from ..firmware.learning import ALWAYS, DEAD_ZONE_RANGE, STEP_RANGE, Rule
from ..firmware.network import Layer, Network
from .learner import Learned
from .learning_cycles import ClockedLearner

if TYPE_CHECKING:
    from .engine import CoreSimulation

__all__ = [
    "allowed_lanes",
    "learning_build",
    "random_build",
    "random_part",
    "random_pupil",
    "random_rule",
    "random_samples",
    "teach",
]


def learning_build(
    shape: Sequence[int],
    lanes: Sequence[int],
    *,
    bits: int | Sequence[int] = 4,
    k: Sequence[int] = (2, 3, 4, 5, 6),
    neuron: str = "current",
    steps: int = 24,
    rows: int = 0,
    fetch: int = 2,
    membrane_bits: int = 12,
) -> Config:
    """An accelerator that learns, with currents as wide as any weights may need.

    Parameters
    ----------
    shape : sequence of int
        Inputs, and the neurons of every layer.
    lanes : sequence of int
        Of each layer.
    bits, k : sequence of int
        Weight bits, or the same for all layers; and decay shift of each layer.
    neuron : str
        Of layer 0.
    steps : int
    rows : int
        Of layer 0; 0 means as many as inputs.
    fetch : int
        Cycles in which a weight memory reads a word.
    membrane_bits : int
        At least; as many as the currents need.
    """
    each = [bits] * len(lanes) if isinstance(bits, int) else bits
    layers = []
    for index, count in enumerate(lanes):
        held = (rows if index == 0 else 0) or shape[index]
        kind = neuron if index == 0 else "current"
        most = held * weight_limit(each[index])
        current = max(signed_bits(-most, most + 1), each[index])
        layers.append(
            LayerConfig(
                inputs=shape[index],
                neurons=shape[index + 1],
                lanes=count,
                weight_bits=each[index],
                k=k[index],
                current_bits=current,
                membrane_bits=max(current, membrane_bits),
                rows=held,
                neuron=kind,
                fetch_cycles=fetch,
            )
        )
    return Config(layers, max_steps=steps, learning=True)


def allowed_lanes(neurons: int, *, hidden: bool) -> list[int]:
    """Every lane count that a layer of so many neurons can have in a build that learns."""
    if not hidden:
        return list(range(1, neurons + 1))
    return [*range(DROPOUT_DRAWS, neurons, DROPOUT_DRAWS), neurons]


def _one_of(rng: np.random.Generator, values: Sequence[int]) -> int:
    return values[int(rng.integers(len(values)))]


def random_build(rng: np.random.Generator) -> Config:
    """Draw a build of 1 to 5 layers, with sometimes a hidden layer of very many lanes."""
    count = int(rng.integers(1, 6))
    sizes = [1 if rng.random() < 0.1 else int(rng.integers(2, 25)) for _ in range(count + 1)]
    if count > 1 and rng.random() < 0.2:
        sizes[int(rng.integers(1, count))] = int(rng.integers(65, 80))
    lanes = [
        _one_of(rng, allowed_lanes(size, hidden=index < count - 1))
        for index, size in enumerate(sizes[1:])
    ]
    return learning_build(
        sizes,
        lanes,
        bits=[int(rng.integers(2, 9)) for _ in lanes],
        k=[int(rng.integers(1, 9)) for _ in lanes],
        neuron="sum" if count > 1 and rng.random() < 0.4 else "current",
        steps=_one_of(rng, [1, 2, 16, 64, int(rng.integers(1, 65))]),
        rows=int(rng.integers(1, sizes[0] + 1)) if rng.random() < 0.3 else 0,
        fetch=int(rng.integers(1, 5)),
        membrane_bits=_one_of(rng, [8, 12, 20, 32]),
    )


def random_pupil(rng: np.random.Generator, config: Config) -> tuple[Network, np.ndarray]:
    """Draw a network of a size up to the build's.

    Returns
    -------
    network : Network
    has_row : (inputs,) bool
        Its inputs that get a weight row; now and then none.
    """
    shape = [config.inputs, *(layer.neurons for layer in config.layers)]
    if rng.random() < 0.3:
        shape = [int(rng.integers(max(1, size // 2), size + 1)) for size in shape]
    has_row = rng.random(shape[0]) < 0.9
    has_row[rng.permutation(shape[0])[config.layers[0].rows :]] = False
    if rng.random() < 0.05:
        has_row[:] = False
    layers = []
    for index, built in enumerate(config.layers):
        limit = weight_limit(built.weight_bits)
        size = (shape[index], shape[index + 1])
        match rng.integers(5):
            case 0:  # at their ends, where they must stay
                weights = rng.choice([-limit, limit], size)
            case 1 | 2:
                weights = rng.integers(-limit, limit + 1, size)
            case _:
                weights = np.rint(rng.normal(limit / 4, limit / 2, size)).clip(-limit, limit)
        if index == 0:
            weights[~has_row] = 0
        threshold = max(1, int(limit * shape[index] * 2 ** rng.uniform(-4, 0)))
        layers.append(
            Layer(
                weights.astype(np.int8),
                built.k,
                min(threshold, 1 << (built.membrane_bits - 1)),
                built.weight_bits,
                built.membrane_bits,
            )
        )
    return Network(layers, int(rng.integers(1, config.max_steps + 1))), has_row


def random_part(rng: np.random.Generator, image: Image) -> Image:
    """The image, in half of the cases with fewer outputs that take part than have weights."""
    if rng.random() < 0.5:
        return image
    few = int(rng.integers(1, image.registers["classes"] + 1))
    return Image(image.config, {**image.registers, "classes": few}, image.regions)


def random_rule(rng: np.random.Generator, config: Config, steps: int) -> Rule:
    """Draw settings, each of them often at an end of its range."""
    most = config.max_steps - 1
    return Rule(
        rates=[
            _one_of(rng, [0, 1, ALWAYS, ALWAYS, int(rng.integers(ALWAYS))]) for _ in config.layers
        ],
        margin=_one_of(rng, [0, most, int(rng.integers(most + 1)), min(2, steps - 1)]),
        dropout=_one_of(rng, [0, 0, 8000, int(rng.integers(ALWAYS)), ALWAYS - 1]),
        activity=_one_of(rng, [0, 4, (1 << 16) - 1]),
        step=_one_of(rng, STEP_RANGE),
        input_dropout=_one_of(rng, [0, 0, 10_000, 10_000, ALWAYS - 1]),
        dead_zone=_one_of(rng, [0, 0, 0, 1, 3, DEAD_ZONE_RANGE[-1]]),
    )


def random_samples(
    rng: np.random.Generator, config: Config, network: Network, count: int
) -> np.ndarray:
    """Draw at least 3 samples: the first has no spike, the next two all in one step, the first and
    the last.

    Returns
    -------
    (count, inputs) integers
    """
    arrivals = config.arrival_steps(network.steps)
    samples = rng.integers(0, max(1, int(arrivals * rng.uniform(0, 1))), (count, network.inputs))
    samples[rng.random(samples.shape) < rng.uniform(0, 0.7)] = NEVER
    samples[0], samples[1], samples[2] = NEVER, 0, arrivals - 1
    return samples[rng.permutation(count)]


def teach(
    core: "CoreSimulation",
    learner: ClockedLearner,
    image: Image,
    samples: np.ndarray,
    labels: np.ndarray,
    *,
    rule: Rule,
) -> Learned:
    """Have the gateware and the golden learner learn the same, and compare everything: answers,
    cycles, generators, and every byte of every memory.

    Parameters
    ----------
    core : CoreSimulation
        Loaded with ``image``, or with what it has become.
    learner : ClockedLearner
        In the same state: of ``image.network()`` or of what it has become.
    image : Image
    samples : (batch, inputs) integers
    labels : (batch,) integers
    rule : Rule
        Of a margin up to that of the build.

    Returns
    -------
    Learned
        What the golden learner says.

    Raises
    ------
    Mismatch
        At the first difference.
    """
    core.rule = rule
    # No run is longer than the network's, whatever the margin; the learner minds if it is.
    learner.rule = replace(rule, margin=min(rule.margin, learner.network.steps - 1))
    expected = learner.learn(samples, labels)
    actual, cycles = core.learn(samples, labels)
    for name in ("label", "step", "fired", "rows"):
        _demand(name, getattr(actual, name), getattr(expected, name))
    _demand("cycles", cycles, np.array(learner.cycles[-len(samples) :]))
    if core.progress != learner.progress:
        raise Mismatch(f"the gateware came to {core.progress}, the learner to {learner.progress}")
    held = core.read_back()
    for name, wanted in _memories(image, learner).items():
        _demand(name, np.frombuffer(held[name], np.int8), np.frombuffer(wanted, np.int8))
    return expected


def _demand(what: str, actual: np.ndarray, expected: np.ndarray) -> None:
    """Refuse arrays that differ, with the first place where they do."""
    different = np.argwhere(actual != expected)
    if len(different):
        place = tuple(different[0].tolist())
        raise Mismatch(
            f"{what} differ in {len(different)} places, first in {place}: the gateware has "
            f"{actual[place]}, the golden learner {expected[place]}"
        )


def _memories(image: Image, learner: ClockedLearner) -> dict[str, bytes]:
    """What the memories have to hold: what no neuron and no row of the learner has stays."""
    config = image.config
    rows = unpack_row_map(image.regions["row_map"], config)
    regions = dict(image.regions)
    for index, (built, layer) in enumerate(zip(config.layers, learner.network.layers, strict=True)):
        name = f"weights_{index}"
        held = unpack_weights(regions[name], built).copy()
        source = np.flatnonzero(rows >= 0) if index == 0 else np.arange(layer.inputs)
        target = rows[source] if index == 0 else source
        held[target, : layer.neurons] = layer.weights[source]
        regions[name] = pack_weights(held, built)
    return regions
