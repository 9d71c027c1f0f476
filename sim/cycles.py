"""The cycle model: how many clock cycles the core takes for a sample, to the cycle.

Everything in the core stays in order, so the time of each thing that happens follows from the times
of a few that happened before: each line below that takes a maximum is one register that has to be
free, or one value that has to be there. ``docs/gateware.md`` describes the stages that they stand
for. Spikes after the decision cannot delay it, so the spikes of an inference are enough.
"""

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

import numpy as np

from ..firmware.config import Config
from ..firmware.errors import DataError
from ..firmware.layout import row_numbers
from ..firmware.network import Network
from .jit import jit
from .result import Inference

__all__ = ["Course", "Passed", "Plan", "plan_of", "predict", "run"]

#: Cycles from the issue of a group to its spikes, besides those of the weight memory and those in
#: which several ways are added up.
_LAYER_LATENCY = 2
#: Groups that a scanner's queue holds.
_QUEUE_DEPTH = 16
#: Cycles from the end of an empty queue to its head. A group gets there a cycle after its spikes.
_QUEUE_LATENCY = 2
#: Cycles from the last group to the result, besides one for each round of the tournament.
_DECISION_LATENCY = 2

#: A time before any sample, and one after all.
_LONG_AGO = -(1 << 40)
_NEVER = 1 << 40


class Plan(NamedTuple):
    """A build and the network in it; arrays have an entry for each layer."""

    groups: np.ndarray
    lanes: np.ndarray
    ways: np.ndarray
    """Rows that the layer fetches in one cycle."""
    chunk: np.ndarray
    """Lanes that each way of the scanner behind the layer looks at at once."""
    base: np.ndarray
    """Where the layer's neurons start among those of all."""
    latency: np.ndarray
    """Cycles from a group's issue to its spikes."""
    steps: int
    has_row: np.ndarray
    """Whether an input has a weight row."""
    busy: np.ndarray
    """The first cycle in which the layer may issue groups of a ``STEP`` token."""
    settle: int
    """Cycles from the last group of the last layer to the result, or to the end of the run."""


class Course(NamedTuple):
    """A batch of samples and what the network makes of them."""

    samples: np.ndarray
    """(batch, inputs) spike steps."""
    kept: np.ndarray
    """The same without those that are left out where they enter."""
    spikes: np.ndarray
    """(batch, neurons) spike steps of the neurons of all layers."""
    stop: np.ndarray
    """(batch,) the last step that counts."""


class Passed(NamedTuple):
    """Cycles in which a sample came to a point; the last two are empty if nothing after the stop
    step matters."""

    flushed: np.ndarray
    """(batch,) the stop step is over, and what else is in the core is dropped."""
    ended: np.ndarray
    """(batch,) the sample's end was accepted."""
    first: np.ndarray
    """(batch, layers) the layer accepted its first ``SPIKE`` token."""


class _Times(NamedTuple):
    """The cycles in which something happened last; arrays have an entry for each layer and way."""

    accepted: np.ndarray
    """The layer accepted a token from this way."""
    first: np.ndarray
    """(layers,) the layer accepted its first ``SPIKE`` token."""
    picked: np.ndarray
    """The way of the scanner behind it moved a chunk, or the end of a step, from ``pick`` to
    ``chunk``."""
    sent: np.ndarray
    """It moved a token from ``chunk`` to its output."""
    queued: np.ndarray
    """No cycle: number of groups that entered its queue."""
    entered: np.ndarray
    """(layers, ways, depth) when the latest groups entered, in a ring."""
    read: np.ndarray
    """(layers, ways, depth) when they left."""


class _Spikes(NamedTuple):
    """Who spikes when: a linked list for each step, in ascending order."""

    head: np.ndarray
    """(layers, ways, steps) the first to spike, or −1."""
    link: np.ndarray
    """The next of the same way to spike in the same step, or −1."""


@jit
def _sort(spikes: _Spikes, layer: int, base: int, ways: int, when: np.ndarray) -> None:
    """Enter a layer's spike steps."""
    spikes.head[layer] = -1
    for index in range(len(when) - 1, -1, -1):
        step = when[index]
        if step >= 0:
            spikes.link[base + index] = spikes.head[layer, index % ways, step]
            spikes.head[layer, index % ways, step] = index


@jit
def _room(entered: np.ndarray, read: np.ndarray, count: int, limit: int, cycle: int) -> int:
    """Return the first cycle from ``cycle`` on in which the queue holds fewer than ``limit``."""
    while True:
        held = 0
        oldest = cycle
        index = count - 1
        while index >= 0 and count - index <= _QUEUE_DEPTH and read[index % _QUEUE_DEPTH] >= cycle:
            if entered[index % _QUEUE_DEPTH] < cycle:
                held += 1
                oldest = read[index % _QUEUE_DEPTH]
            index -= 1
        if held < limit:
            return cycle
        cycle = oldest + 1


@jit
def _all_room(times: _Times, layer: int, ways: int, limit: int, cycle: int) -> int:
    """Return the first cycle from ``cycle`` on for which every queue had room one cycle before."""
    way = 0
    cycle -= 1
    while way < ways:
        entered, read = times.entered[layer, way], times.read[layer, way]
        found = _room(entered, read, times.queued[layer, way], limit, cycle)
        # One that had room before may have none later.
        way = way + 1 if found == cycle else 0
        cycle = found
    return cycle + 1


@jit
def _step(plan: Plan, times: _Times, spikes: _Spikes, step: int, visible: int) -> int:
    """Run the ``STEP`` token of ``step``, visible from cycle ``visible`` on, through all layers.

    Returns the cycle in which the spikes of the last layer's last group appear.
    """
    layers = len(plan.groups)
    for layer in range(layers - 1):
        after = layer + 1
        lanes, ways = plan.lanes[layer], plan.ways[after]
        limit = _QUEUE_DEPTH - plan.latency[layer] - 2
        neurons = spikes.head[layer, :ways, step].copy()
        issued = max(visible, times.accepted[layer].max() + 1) - 1
        closed = 0
        for group in range(plan.groups[layer]):
            issued = _all_room(times, layer, ways, limit, max(issued + 1, plan.busy[layer]))
            end = (group + 1) * lanes
            closes = group == plan.groups[layer] - 1
            for way in range(ways):
                neuron = neurons[way]
                if not closes and not 0 <= neuron < end:
                    continue
                count = times.queued[layer, way]
                entered = issued + plan.latency[layer] + 1
                ready = entered + _QUEUE_LATENCY
                if count > 0:
                    ready = max(ready, times.read[layer, way, (count - 1) % _QUEUE_DEPTH] + 1)
                picked, sent = times.picked[layer, way], times.sent[layer, way]
                accepted = times.accepted[after, way]
                while 0 <= neuron < end:
                    chunk = (neuron - group * lanes) // ways // plan.chunk[layer]
                    chunk_end = min(group * lanes + (chunk + 1) * plan.chunk[layer] * ways, end)
                    picked = max(ready, picked + 1, sent)
                    while 0 <= neuron < chunk_end:
                        sent = max(picked + 1, sent + 1, accepted)
                        accepted = max(sent, accepted) + plan.groups[after]
                        times.first[after] = min(times.first[after], accepted)
                        neuron = spikes.link[plan.base[layer] + neuron]
                if closes:
                    picked = max(ready, picked + 1, sent)
                    sent = max(picked + 1, sent + 1, accepted)
                    closed = max(closed, sent)
                neurons[way] = neuron
                times.accepted[after, way] = accepted
                times.picked[layer, way], times.sent[layer, way] = picked, sent
                times.entered[layer, way, count % _QUEUE_DEPTH] = entered
                times.read[layer, way, count % _QUEUE_DEPTH] = picked
                times.queued[layer, way] = count + 1
        times.accepted[layer] = issued
        visible = closed + 1
    last = layers - 1
    times.accepted[last] = max(visible - 1, times.accepted[last].max()) + plan.groups[last]
    return times.accepted[last, 0] + plan.latency[last]


@jit
def run(plan: Plan, course: Course, passed: Passed) -> None:
    """Write to ``passed`` what a batch of samples comes to."""
    samples, spikes, stop = course.samples, course.spikes, course.stop
    kept, flushed, ended = course.kept, passed.flushed, passed.ended
    to_the_end = len(ended) > 0
    layers, steps = len(plan.groups), plan.steps
    inputs = samples.shape[1]
    shape = (layers, plan.ways.max())
    times = _Times(
        np.empty(shape, np.int64),
        np.empty(layers, np.int64),
        np.empty(shape, np.int64),
        np.empty(shape, np.int64),
        np.empty(shape, np.int64),
        np.empty((*shape, _QUEUE_DEPTH), np.int64),
        np.empty((*shape, _QUEUE_DEPTH), np.int64),
    )
    of_inputs = _Spikes(np.empty((1, 1, steps), np.int32), np.empty(inputs, np.int32))
    of_neurons = _Spikes(np.empty((*shape, steps), np.int32), np.empty(spikes.shape[1], np.int32))
    for b in range(len(samples)):
        _sort(of_inputs, 0, 0, 1, samples[b])
        for layer in range(layers - 1):
            base = plan.base[layer]
            when = spikes[b, base : plan.base[layer + 1]]
            _sort(of_neurons, layer, base, plan.ways[layer + 1], when)
        times.accepted[:] = _LONG_AGO
        times.first[:] = _NEVER
        times.picked[:] = _LONG_AGO
        times.sent[:] = _LONG_AGO
        times.queued[:] = 0

        flush = _NEVER
        accepted, mapped, done, sent = -1, _LONG_AGO, _LONG_AGO, _LONG_AGO
        closed = 0  # steps whose STEP token was sent
        for step in range(steps + 1):
            ends = step == steps
            event = 0 if ends else of_inputs.head[0, 0, step]
            while event >= 0 and (to_the_end or flush == _NEVER):
                before, accepted = accepted, max(accepted + 1, mapped)
                if accepted > flush:
                    # What comes now is only taken.
                    accepted = max(before, flush) + 1
                elif ends or kept[b, event] >= 0:
                    mapped = max(accepted + 1, done)
                    done = mapped + 1
                    if ends or plan.has_row[event]:
                        while closed < step and (to_the_end or flush == _NEVER):
                            sent = max(mapped + 1, sent + 1, times.accepted[0, 0])
                            fired = _step(plan, times, of_neurons, closed, sent + 1)
                            if closed == stop[b]:
                                flush = fired + plan.settle
                            closed += 1
                        sent = max(mapped + 1, sent + 1, times.accepted[0, 0])
                        times.accepted[0] = max(sent, times.accepted[0, 0]) + plan.groups[0]
                        if not ends:
                            times.first[0] = min(times.first[0], times.accepted[0, 0])
                        done = sent
                event = -1 if ends else of_inputs.link[event]
        flushed[b] = flush
        if to_the_end:
            ended[b] = accepted
            passed.first[b] = times.first


def _chunk_lanes(lanes: int) -> int:
    """Lanes that a scanner looks at at once: the square root, rounded up to a power of two."""
    return 1 << isqrt(lanes - 1).bit_length()


def predict(
    config: Config, network: Network, samples: np.ndarray, inference: Inference
) -> np.ndarray:
    """Predict the ``cycles`` of each sample's result.

    The prediction holds if every event is offered as soon as the core takes it, those of one step
    in ascending order of their indices.

    Parameters
    ----------
    config : Config
        What the accelerator is built for.
    network : Network
        What it is loaded with.
    samples : (batch, inputs) integers
        Spike steps.
    inference : Inference
        What a model made of them.

    Returns
    -------
    (batch,) int64
        Cycles from the one in which the first event is accepted to the one in which the result is
        offered.

    Raises
    ------
    DataError
        If the arguments do not belong together.
    """
    samples = network.check_samples(samples)
    config.check_samples(samples)
    shape = (len(samples), *(layer.neurons for layer in network.layers))
    if shape != (len(inference), *(spikes.shape[1] for spikes in inference.spikes)):
        raise DataError("the inference is of other samples or of another network")
    if len(config.layers) != len(network.layers):
        raise DataError(
            f"the network has {len(network.layers)} layers, but the accelerator is built for "
            f"{len(config.layers)}"
        )
    plan = plan_of(config, network, row_numbers(network.layers[0].weights) >= 0)
    cycles = np.empty(len(samples), dtype=np.int64)
    spikes = np.concatenate(inference.spikes, axis=1)
    nothing = np.empty(0, dtype=np.int64)
    run(
        plan,
        Course(samples, samples, spikes, inference.step),
        Passed(cycles, nothing, nothing[:, None]),
    )
    return cycles


def plan_of(
    config: Config, network: Network, has_row: np.ndarray, busy: Sequence[int] = ()
) -> Plan:
    """What :func:`run` has to know of a build and the network in it."""
    lanes = [layer.lanes for layer in config.layers]
    ways = [layer.ways for layer in config.layers]
    neurons = [layer.neurons for layer in network.layers]
    return Plan(
        groups=np.array([layer.groups for layer in config.layers]),
        lanes=np.array(lanes),
        ways=np.array(ways),
        chunk=np.array(
            [
                _chunk_lanes(-(-count // after))
                for count, after in zip(lanes, [*ways[1:], 1], strict=True)
            ]
        ),
        base=np.cumsum([0, *neurons[:-1]]),
        latency=np.array(
            [layer.fetch_cycles + layer.gather_cycles + _LAYER_LATENCY for layer in config.layers]
        ),
        steps=network.steps,
        has_row=has_row,
        busy=np.array(busy or [0] * len(lanes)),
        settle=(lanes[-1] - 1).bit_length() + _DECISION_LATENCY,
    )
