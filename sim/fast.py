"""The golden model, compiled: the same answers in every field, a hundred thousand images a second.

Two things make it fast. A sample whose inputs all spike in one step needs no simulation of the
first layer: its spike times are a monotone function of the row sums, looked up in a table. And
everything runs event by event, from the first spike to the decision and no further.

The table is exact. After the only arrival a neuron's current is its row sum ``S`` and decays
without further input, and ``I − (I >> k)`` is monotone in ``I`` and keeps its sign. So for
``S > 0`` the membrane only rises from −θ: it never saturates, and the first crossing depends on
``S`` alone and comes no later for a larger ``S``. For ``S ≤ 0`` it never rises, and no spike comes.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..firmware.errors import DataError
from ..firmware.formats import NEVER, column_bounds, membrane_floor, signed_bits
from ..firmware.network import Network
from .jit import jit
from .result import Inference

__all__ = ["infer"]

#: Samples a thread takes at once: enough to forget the call, few enough for a smooth progress bar.
_CHUNK = 1024


class _Plan(NamedTuple):
    """A network in the flat arrays that the compiled code walks through."""

    steps: int
    sizes: np.ndarray
    """(layers + 1,) inputs of the first layer and neurons of each."""
    weights: np.ndarray
    """int8, the layers' matrices one after the other, row by row."""
    weight_base: np.ndarray
    """(layers,) where each matrix starts."""
    neuron_base: np.ndarray
    """(layers + 1,) where each layer's neurons start among all neurons."""
    k: np.ndarray
    start: np.ndarray
    """(layers,) the membrane before the first step, −θ."""
    floor: np.ndarray
    """(layers,) where the membrane saturates."""
    has_row: np.ndarray
    """(inputs,) whether an input of the first layer has any weight."""
    delays: np.ndarray
    """(largest row sum + 1,) steps from arrival to spike in the first layer, T for never."""
    least: int
    """The smallest row sum that leads to a spike within T steps."""
    sums: np.ndarray
    """(0,) in the dtype that holds every row sum of the first layer."""


class _Layer(NamedTuple):
    """One layer while it runs."""

    weights: np.ndarray
    """int8, row by row; what follows the layer's own is not touched."""
    k: int
    floor: int
    current: np.ndarray
    """(neurons,) int32"""
    membrane: np.ndarray
    """(neurons,) int32"""
    spikes: np.ndarray
    """(neurons,) int32 spike steps so far."""


class _Result(NamedTuple):
    """The arrays of an :class:`Inference`, with the spikes of all layers in one."""

    label: np.ndarray
    step: np.ndarray
    fired: np.ndarray
    tied: np.ndarray
    spikes: np.ndarray
    potential: np.ndarray
    events: np.ndarray
    rows: np.ndarray


@jit
def _tabulate(delays: np.ndarray, k: int, threshold: int, steps: int) -> None:
    """Fill ``delays[S]`` with the steps from the arrival of charge ``S`` to the spike, or T."""
    delays[0] = steps
    for charge in range(1, len(delays)):
        current = charge
        membrane = current - threshold
        step = 0
        # Below 2^k a positive current no longer decays.
        while membrane < 0 and current >> k > 0 and step < steps:
            current -= current >> k
            membrane += current
            step += 1
        if membrane < 0:
            step += (-membrane + current - 1) // current
        delays[charge] = min(step, steps)


@jit
def _sum_rows(weights: np.ndarray, rows: np.ndarray, count: int, sums: np.ndarray) -> None:
    """``sums[j] = Σ w[i, j]`` over the first ``count`` of ``rows``, each four at a time."""
    neurons = len(sums)
    sums[:] = 0
    whole = count - count % 4
    for index in range(0, whole, 4):
        first = rows[index] * neurons
        second = rows[index + 1] * neurons
        third = rows[index + 2] * neurons
        fourth = rows[index + 3] * neurons
        w0 = weights[first : first + neurons]
        w1 = weights[second : second + neurons]
        w2 = weights[third : third + neurons]
        w3 = weights[fourth : fourth + neurons]
        for j in range(neurons):
            sums[j] += w0[j] + w1[j] + w2[j] + w3[j]
    for index in range(whole, count):
        first = rows[index] * neurons
        w0 = weights[first : first + neurons]
        for j in range(neurons):
            sums[j] += w0[j]


@jit
def _step(layer: _Layer, step: int, arrivals: np.ndarray, count: int) -> int:
    """Advance one layer by one step.

    The first ``count`` of ``arrivals`` are the inputs that spike; the neurons that spike take their
    place, in ascending order, and their number is returned.
    """
    weights, k, floor, current, membrane, spikes = layer
    neurons = len(current)
    for j in range(neurons):
        current[j] -= current[j] >> k
    for index in range(count):
        start = arrivals[index] * neurons
        row = weights[start : start + neurons]
        for j in range(neurons):
            current[j] += row[j]
    ready = 0
    for j in range(neurons):
        # 64 bits wide: the sum may leave the 32 bits in which the membrane is kept.
        potential = max(int(membrane[j]) + int(current[j]), floor)
        membrane[j] = potential
        ready += (potential >= 0) & (spikes[j] < 0)
    if ready == 0:
        return 0
    fired = 0
    for j in range(neurons):
        if membrane[j] >= 0 and spikes[j] < 0:
            spikes[j] = step
            arrivals[fired] = j
            fired += 1
    return fired


@jit
def _meeting(sample: np.ndarray) -> tuple[int, int]:
    """Number of inputs that spike, and the one step in which they all do or NEVER."""
    last = np.int32(NEVER)
    for i in range(len(sample)):
        last = max(last, sample[i])
    active = 0
    together = 0
    for i in range(len(sample)):
        active += sample[i] >= 0
        together += sample[i] == last
    return active, int(last) if active == together else NEVER


@jit
def _winner(outputs: np.ndarray, contenders: np.ndarray, count: int) -> int:
    """The highest of ``outputs`` among the first ``count`` of ``contenders``."""
    best = contenders[0]
    for index in range(1, count):
        if outputs[contenders[index]] > outputs[best]:
            best = contenders[index]
    return best


@jit
def _infer(plan: _Plan, samples: np.ndarray, result: _Result) -> None:
    """Run ``samples`` and write their results."""
    label, decision, fired, tied, spikes, potential, events, rows = result
    layers = len(plan.k)
    inputs = plan.sizes[0]
    hidden = plan.sizes[1]
    steps = plan.steps
    neurons = plan.neuron_base[layers]
    sums = np.empty(hidden, plan.sums.dtype)
    current = np.empty(neurons, np.int32)
    membrane = np.empty(neurons, np.int32)
    arrivals = np.empty(plan.sizes.max(), np.int64)
    # Spikes that wait for their step: a linked list a step.
    head = np.empty(steps, np.int32)
    link = np.empty(max(inputs, hidden), np.int32)

    for b in range(len(samples)):
        sample = samples[b]
        own = spikes[b]
        own[:] = NEVER
        events[b] = 0
        rows[b] = 0
        head[:] = -1

        active, meeting = _meeting(sample)
        begin = steps - 1
        level = 0
        if meeting != NEVER and layers > 1:
            # The table gives the spikes of layer 0; the simulation starts with layer 1.
            count = 0
            for i in range(inputs):
                arrivals[count] = i
                count += (sample[i] >= 0) & plan.has_row[i]
            events[b, 0] = active
            rows[b, 0] = count
            _sum_rows(plan.weights, arrivals, count, sums)
            count = 0
            for j in range(hidden):
                arrivals[count] = j
                count += sums[j] >= plan.least
            for index in range(count):
                j = arrivals[index]
                step = meeting + plan.delays[sums[j]]
                if step < steps:
                    link[j] = head[step]
                    head[step] = j
            begin = meeting
            level = 1
        else:
            for i in range(inputs):
                if sample[i] >= 0:
                    link[i] = head[sample[i]]
                    head[sample[i]] = i
                    begin = min(begin, sample[i])

        current[plan.neuron_base[level] :] = 0
        for layer in range(level, layers):
            membrane[plan.neuron_base[layer] : plan.neuron_base[layer + 1]] = plan.start[layer]

        count = 0
        step = begin
        for step in range(begin, steps):
            count = 0
            waiting = head[step]
            while waiting >= 0:
                arrivals[count] = waiting
                count += 1
                if level == 0:
                    rows[b, 0] += plan.has_row[waiting]
                else:
                    own[waiting] = step
                waiting = link[waiting]
            for layer in range(level, layers):
                low, high = plan.neuron_base[layer], plan.neuron_base[layer + 1]
                events[b, layer] += count
                if layer > 0:
                    rows[b, layer] += count
                state = _Layer(
                    plan.weights[plan.weight_base[layer] :],
                    plan.k[layer],
                    plan.floor[layer],
                    current[low:high],
                    membrane[low:high],
                    own[low:high],
                )
                count = _step(state, step, arrivals, count)
            if count > 0:
                break

        outputs = membrane[plan.neuron_base[layers - 1] :]
        decision[b] = step
        fired[b] = count > 0
        tied[b] = count > 1
        if count == 0:  # all outputs contend
            count = len(outputs)
            arrivals[:count] = np.arange(count)
        label[b] = _winner(outputs, arrivals, count)
        potential[b] = outputs


_plans: WeakKeyDictionary[Network, _Plan] = WeakKeyDictionary()


def _plan(network: Network) -> _Plan:
    """Return the plan of ``network``, made once; networks never change."""
    plan = _plans.get(network)
    if plan is None:
        layers = network.layers
        first = layers[0]
        low, high = column_bounds(first.weights)
        narrow = signed_bits(int(low.min()), int(high.max())) <= 16
        delays = np.empty(high.max() + 1, dtype=np.int32)
        _tabulate(delays, first.k, first.threshold, network.steps)
        plan = _plans[network] = _Plan(
            steps=network.steps,
            sizes=np.array(network.shape),
            weights=np.concatenate([layer.weights.ravel() for layer in layers]),
            weight_base=np.cumsum([0, *(layer.weights.size for layer in layers[:-1])]),
            neuron_base=np.cumsum([0, *network.shape[1:]]),
            k=np.array([layer.k for layer in layers]),
            start=np.array([-layer.threshold for layer in layers]),
            floor=np.array([membrane_floor(layer.membrane_bits) for layer in layers]),
            has_row=np.any(first.weights, axis=1),
            delays=delays,
            least=int((delays >= network.steps).sum()),
            sums=np.empty(0, dtype=np.int16 if narrow else np.int32),
        )
    return plan


def infer(
    network: Network,
    samples: np.ndarray,
    *,
    threads: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Inference:
    """Classify samples; every field equals that of :func:`firstspike.sim.golden.infer`.

    Parameters
    ----------
    network : Network
    samples : (batch, inputs) integers
        Spike step of each input, 0 … T−1, or ``NEVER``. ``int32`` in C order is read in place.
    threads : int
        Threads to spread the batch over.
    progress : callable, optional
        Called with the number of samples finished since the last call, like ``tqdm.update``.

    Raises
    ------
    DataError
        If the samples do not suit the network, or ``threads`` is not positive.
    """
    if threads < 1:
        raise DataError(f"{threads} threads were asked for, but it takes at least 1")
    samples = network.check_samples(samples).view()
    samples.flags.writeable = False  # numba compiles for read-only arrays apart; keep to one kind
    plan = _plan(network)
    batch, layers = len(samples), len(network.layers)
    result = _Result(
        label=np.empty(batch, dtype=np.int32),
        step=np.empty(batch, dtype=np.int32),
        fired=np.empty(batch, dtype=bool),
        tied=np.empty(batch, dtype=bool),
        spikes=np.empty((batch, plan.neuron_base[-1]), dtype=np.int32),
        potential=np.empty((batch, network.outputs), dtype=np.int32),
        events=np.empty((batch, layers), dtype=np.int32),
        rows=np.empty((batch, layers), dtype=np.int32),
    )

    def run(start: int) -> int:
        part = slice(start, min(start + _CHUNK, batch))
        _infer(plan, samples[part], _Result(*(array[part] for array in result)))
        return part.stop - part.start

    with ThreadPoolExecutor(threads) as pool:
        spread = pool.map if threads > 1 else map  # a pool starts no thread before its first use
        for finished in spread(run, range(0, batch, _CHUNK)):
            if progress is not None:
                progress(finished)
    layered = tuple(np.split(result.spikes, plan.neuron_base[1:-1], axis=1))
    return Inference(**(result._asdict() | {"spikes": layered}))
