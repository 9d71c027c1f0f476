"""All that is compiled for the models: classifying and learning, in one module.

The front ends are :mod:`firstspike.sim.fast` and :mod:`firstspike.sim.fast_learner`. One module,
since numba's cache notices a change only of the file that holds a function.
"""

from typing import NamedTuple

import numpy as np

from ..firmware.formats import NEVER
from .jit import jit

__all__ = ["Inferred", "Learning", "Plan", "Taught", "infer", "learn", "tabulate"]


class Plan(NamedTuple):
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


class Inferred(NamedTuple):
    """The arrays of an :class:`Inference`, with the spikes of all layers in one."""

    label: np.ndarray
    step: np.ndarray
    fired: np.ndarray
    tied: np.ndarray
    spikes: np.ndarray
    potential: np.ndarray
    events: np.ndarray
    rows: np.ndarray


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


@jit
def tabulate(delays: np.ndarray, k: int, threshold: int, steps: int) -> None:
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
def _list_rows(plan: Plan, sample: np.ndarray, arrivals: np.ndarray) -> int:
    """Write the inputs that spike and have a row to ``arrivals``; return their number."""
    count = 0
    for i in range(len(sample)):
        arrivals[count] = i
        count += (sample[i] >= 0) & plan.has_row[i]
    return count


@jit
def _winner(outputs: np.ndarray, contenders: np.ndarray, count: int) -> int:
    """The highest of ``outputs`` among the first ``count`` of ``contenders``."""
    best = contenders[0]
    for index in range(1, count):
        if outputs[contenders[index]] > outputs[best]:
            best = contenders[index]
    return best


@jit
def infer(plan: Plan, samples: np.ndarray, result: Inferred) -> None:
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
            count = _list_rows(plan, sample, arrivals)
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


class Learning(NamedTuple):
    """The learning rule, and the generators' states, which change."""

    margin: int
    dropout: int
    activity: int
    input_dropout: int
    dead_zone: int
    rates: np.ndarray
    """(layers,) probabilities in units of 2^-16."""
    changes: np.ndarray
    """(layers,) what an update adds to a weight."""
    limits: np.ndarray
    """(layers,) the largest weight."""
    update: np.ndarray
    """(1,) uint64, the state of the update generator."""
    leave_out: np.ndarray
    """(layers - 1,) uint64, the states of the dropout generators."""
    feedback: np.ndarray
    """What votes in place of the weights: by the rule these themselves."""
    weighted: bool
    """Whether votes count as much as their weights, which the rule does not do."""


class Taught(NamedTuple):
    """The arrays of a :class:`~firstspike.sim.learner.Learned`."""

    label: np.ndarray
    step: np.ndarray
    fired: np.ndarray
    stop: np.ndarray
    erred: np.ndarray
    rows: np.ndarray
    updated: np.ndarray


@jit
def _leave_out(states: np.ndarray, plan: Plan, probability: int, left_out: np.ndarray) -> None:
    """Draw which neurons of the hidden layers are left out."""
    for layer in range(len(states)):
        state = states[layer]
        low, high = plan.neuron_base[layer], plan.neuron_base[layer + 1]
        for first in range(low, high, 4):
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            numbers = state
            for neuron in range(first, min(first + 4, high)):
                left_out[neuron] = int(numbers & np.uint64(0xFFFF)) < probability
                numbers >>= np.uint64(16)
        states[layer] = state


@jit
def _draw(state: np.ndarray) -> int:
    """Draw a number of the update generator."""
    x = state[0]
    x ^= (x << np.uint64(13)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(17)
    x ^= (x << np.uint64(5)) & np.uint64(0xFFFFFFFF)
    state[0] = x
    return int(x >> np.uint64(16))


@jit
def _leave_out_inputs(learning: Learning, sample: np.ndarray, steps: int) -> None:
    """Draw which input spikes are left out, and take them out of ``sample``."""
    first, last = steps, -1
    for i in range(len(sample)):
        if sample[i] >= 0:
            first, last = min(first, sample[i]), max(last, sample[i])
    for step in range(first, last + 1):
        for i in range(len(sample)):
            if sample[i] == step and _draw(learning.update) < learning.input_dropout:
                sample[i] = NEVER


@jit
def _votes(weights: np.ndarray, errors: np.ndarray, dead_zone: int, weighted: bool) -> int:
    """Positive less negative votes of the neurons concerned, whose errors are given."""
    votes = 0
    for j in range(len(weights)):
        weight = int(weights[j])
        voice = weight if weighted else (weight > dead_zone) - (weight < -dead_zone)
        votes += voice * errors[j]
    return votes


@jit
def _move(weights: np.ndarray, errors: np.ndarray, change: int, limit: int) -> None:
    """Update one weight row."""
    # All in 8 bits, so that a vector holds as many weights as it can.
    step, most, least = np.int8(change), np.int8(limit), np.int8(-limit)
    above, below = np.int8(limit - change), np.int8(change - limit)
    for j in range(len(weights)):
        weight, error = weights[j], errors[j]
        up = most if weight > above else np.int8(weight + step)
        down = least if weight < below else np.int8(weight - step)
        weights[j] = up if error > 0 else (down if error < 0 else weight)


class _Work(NamedTuple):
    """What one sample after the other is learned in."""

    sample: np.ndarray
    """(inputs,) int32"""
    left_out: np.ndarray
    """(neurons,) bool"""
    current: np.ndarray
    """(neurons,) int32"""
    membrane: np.ndarray
    """(neurons,) int32"""
    when: np.ndarray
    """(neurons,) int32 spike steps."""
    errors: np.ndarray
    """(neurons,) int8"""
    concerned: np.ndarray
    """(largest layer,) int8, the errors of the neurons that a row concerns, 0 for others."""
    arrivals: np.ndarray
    """(largest layer or inputs,) int64"""
    fetched: np.ndarray
    """(layers,) rows that were fetched."""
    updated: np.ndarray
    """(layers,) rows that were updated."""
    row_base: np.ndarray
    """(layers,) where the rows that each layer fetched start in the next two, in their order."""
    row_index: np.ndarray
    row_step: np.ndarray
    head: np.ndarray
    """(steps,) int32, spikes that wait for their step: a linked list a step."""
    link: np.ndarray
    narrow_sums: np.ndarray
    """(neurons of the first layer,) int16"""
    wide_sums: np.ndarray
    """(neurons of the first layer,) int32"""


@jit
def _workspace(plan: Plan) -> _Work:
    layers = len(plan.k)
    inputs, hidden = plan.sizes[0], plan.sizes[1]
    neurons = plan.neuron_base[layers]
    row_base = np.empty(layers, np.int64)
    row_base[0] = 0
    for layer in range(1, layers):
        row_base[layer] = row_base[layer - 1] + plan.sizes[layer - 1]
    rows = row_base[layers - 1] + plan.sizes[layers - 1]
    return _Work(
        np.empty(inputs, np.int32),
        np.zeros(neurons, np.bool_),
        np.empty(neurons, np.int32),
        np.empty(neurons, np.int32),
        np.empty(neurons, np.int32),
        np.empty(neurons, np.int8),
        np.empty(plan.sizes[1:].max(), np.int8),
        np.empty(plan.sizes.max(), np.int64),
        np.empty(layers, np.int64),
        np.empty(layers, np.int64),
        row_base,
        np.empty(rows, np.int64),
        np.empty(rows, np.int32),
        np.empty(plan.steps, np.int32),
        np.empty(max(inputs, hidden), np.int32),
        np.empty(hidden, np.int16),
        np.empty(hidden, np.int32),
    )


@jit
def _present(plan: Plan, limit: int, work: _Work) -> tuple[int, int]:
    """Let the first spikes wait for their steps; return the first step and layer to simulate."""
    sample, left_out, arrivals, sums = work.sample, work.left_out, work.arrivals, work.wide_sums
    head, link = work.head, work.link
    head[:] = -1
    # Lists are filled from the end, so that they ascend.
    _, meeting = _meeting(sample)
    if meeting == NEVER or len(plan.k) == 1:
        begin = plan.steps - 1
        for i in range(len(sample) - 1, -1, -1):
            if sample[i] >= 0 and plan.has_row[i]:
                link[i] = head[sample[i]]
                head[sample[i]] = i
                begin = min(begin, sample[i])
        return begin, 0
    # The table gives the spikes of layer 0; the simulation starts with layer 1.
    count = _list_rows(plan, sample, arrivals)
    work.fetched[0] = count
    work.row_index[:count] = arrivals[:count]
    work.row_step[:count] = meeting
    if count * limit < 1 << 15:
        _sum_rows(plan.weights, arrivals, count, work.narrow_sums)
        sums[:] = work.narrow_sums
    else:
        _sum_rows(plan.weights, arrivals, count, sums)
    count = 0
    for j in range(len(sums)):
        arrivals[count] = j
        count += (sums[j] >= plan.least) & ~left_out[j]
    for index in range(count - 1, -1, -1):
        j = arrivals[index]
        step = meeting + plan.delays[sums[j]]
        if step < plan.steps:
            link[j] = head[step]
            head[step] = j
    return meeting, 1


@jit
def _run(plan: Plan, learning: Learning, label: int, work: _Work) -> tuple[int, int, bool, int]:
    """Run a sample to its stop step; return the answer's label, step and fired, and that step."""
    begin, level = _present(plan, learning.limits[0], work)
    layers = len(plan.k)
    outputs, neurons = plan.neuron_base[layers - 1], plan.neuron_base[layers]
    current, membrane, when, arrivals = work.current, work.membrane, work.when, work.arrivals
    current[plan.neuron_base[level] :] = 0
    for layer in range(level, layers):
        membrane[plan.neuron_base[layer] : plan.neuron_base[layer + 1]] = plan.start[layer]
    winner, decision, fired = 0, -1, False
    stop = plan.steps - 1
    step = begin
    while step <= stop:
        count = 0
        waiting = work.head[step]
        while waiting >= 0:
            arrivals[count] = waiting
            count += 1
            if level > 0:
                when[waiting] = step
            waiting = work.link[waiting]
        for layer in range(level, layers):
            low, high = plan.neuron_base[layer], plan.neuron_base[layer + 1]
            first = work.row_base[layer] + work.fetched[layer]
            work.row_index[first : first + count] = arrivals[:count]
            work.row_step[first : first + count] = step
            work.fetched[layer] += count
            state = _Layer(
                plan.weights[plan.weight_base[layer] :],
                plan.k[layer],
                plan.floor[layer],
                current[low:high],
                membrane[low:high],
                when[low:high],
            )
            count = _step(state, step, arrivals, count)
            if layer < layers - 1:
                kept = 0
                for index in range(count):
                    j = arrivals[index]
                    arrivals[kept] = j
                    kept += not work.left_out[low + j]
                count = kept
        if decision < 0 and (count > 0 or step == plan.steps - 1):
            decision, fired = step, count > 0
            if count == 0:  # all outputs contend
                count = neurons - outputs
                arrivals[:count] = np.arange(count)
            winner = _winner(membrane[outputs:], arrivals, count)
        if when[label] == step:
            stop = min(step + learning.margin, plan.steps - 1)
        step += 1
    return winner, decision, fired, stop


@jit
def _judge(plan: Plan, label: int, work: _Work) -> bool:
    """Write the errors of the outputs; return whether there is anything to learn."""
    outputs = plan.neuron_base[len(plan.k) - 1]
    errors, when = work.errors, work.when
    erred = when[label] == NEVER
    for j in range(outputs, len(errors)):
        errors[j] = -(when[j] != NEVER)
        erred |= (errors[j] < 0) & (j != label)
    errors[label] = 1
    return erred


@jit
def _update(plan: Plan, learning: Learning, missed: bool, work: _Work) -> None:
    """Update the fetched rows, from the last layer down."""
    layers = len(plan.k)
    errors, when, concerned = work.errors, work.when, work.concerned
    errors[: plan.neuron_base[layers - 1]] = 0
    for layer in range(layers - 1, -1, -1):
        low, high = plan.neuron_base[layer], plan.neuron_base[layer + 1]
        count = high - low
        if layer < layers - 1:
            for j in range(low, high):
                if work.left_out[j]:
                    when[j] = NEVER
            if missed and work.fetched[layer + 1] < learning.activity:
                for j in range(low, high):
                    if when[j] == NEVER:
                        errors[j] = 1
        weights = plan.weights[plan.weight_base[layer] :]
        at = -1
        first_row = work.row_base[layer]
        for index in range(first_row, first_row + work.fetched[layer]):
            if work.row_step[index] != at:
                at = work.row_step[index]
                for j in range(count):
                    spiked = when[low + j]
                    concerned[j] = errors[low + j] * ((spiked >= at) | (spiked == NEVER))
            row = work.row_index[index]
            own = weights[row * count : (row + 1) * count]
            if layer > 0:
                first = plan.weight_base[layer] + row * count
                voting = learning.feedback[first : first + count]
                votes = _votes(voting, concerned[:count], learning.dead_zone, learning.weighted)
                errors[plan.neuron_base[layer - 1] + row] = (votes > 0) - (votes < 0)
            if _draw(learning.update) < learning.rates[layer]:
                _move(own, concerned[:count], learning.changes[layer], learning.limits[layer])
                work.updated[layer] += 1


@jit
def learn(
    plan: Plan, learning: Learning, samples: np.ndarray, labels: np.ndarray, taught: Taught
) -> None:
    """Learn from ``samples``; the weights of ``plan`` and the states of ``learning`` change."""
    work = _workspace(plan)
    outputs = plan.neuron_base[len(plan.k) - 1]
    for b in range(len(samples)):
        work.sample[:] = samples[b]
        work.when[:] = NEVER
        label = outputs + labels[b]
        work.fetched[:] = 0
        work.updated[:] = 0
        _leave_out(learning.leave_out, plan, learning.dropout, work.left_out)
        if learning.input_dropout > 0:
            _leave_out_inputs(learning, work.sample, plan.steps)
        winner, decision, fired, stop = _run(plan, learning, label, work)
        erred = _judge(plan, label, work)
        if erred:
            _update(plan, learning, work.when[label] == NEVER, work)
        taught.label[b], taught.step[b], taught.fired[b] = winner, decision, fired
        taught.stop[b] = stop
        taught.erred[b] = erred
        taught.rows[b] = work.fetched
        taught.updated[b] = work.updated
