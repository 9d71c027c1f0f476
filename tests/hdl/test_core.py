"""The core against the golden model and the cycle model."""

import random

import numpy as np
import pytest
from core_driver import events, load, simulate
from firstspike.compile import compile
from firstspike.firmware.formats import NEVER
from firstspike.hdl.core import Core
from firstspike.sim import golden
from firstspike.sim.cycles import predict
from firstspike.sim.random_networks import random_case
from streams import receive, send


def classify(case, *, idle=0.0, busy=0.0, shuffled=True):
    """What the core makes of a case's samples: (label, step, fired, rows …) and the cycles."""
    image = compile(case.network, case.config)
    core = Core(case.config)
    rng = random.Random(case.seed)
    results = []

    async def feed(ctx):
        await load(ctx, core, image)
        for sample in case.samples:
            await send(ctx, core.i, events(sample, rng if shuffled else None), rng, idle)

    async def collect(ctx):
        results.extend(await receive(ctx, core.o, len(case.samples), rng, busy))
        assert ctx.get(core.o.valid) == 0

    simulate(core, feed, collect, cycles=200_000)
    outcomes = [(result.label, result.step, result.fired, *result.rows) for result in results]
    return np.array(outcomes), np.array([result.cycles for result in results])


def expected_outcomes(inference):
    return np.column_stack([inference.label, inference.step, inference.fired, inference.rows])


@pytest.mark.parametrize("seed", range(24))
def test_equals_both_models_at_full_speed(seed):
    case = random_case(seed)
    expected = golden.infer(case.network, case.samples)
    outcomes, cycles = classify(case, shuffled=False)
    np.testing.assert_array_equal(outcomes, expected_outcomes(expected), str(case))
    predicted = predict(case.config, case.network, case.samples, expected)
    np.testing.assert_array_equal(cycles, predicted, str(case))


@pytest.mark.parametrize("seed", range(100, 112))
def test_equals_golden_whatever_the_pace(seed):
    case = random_case(seed)
    expected = golden.infer(case.network, case.samples)
    outcomes, _ = classify(case, idle=0.5, busy=0.5)
    np.testing.assert_array_equal(outcomes, expected_outcomes(expected), str(case))


def test_trace_shows_every_spike_and_membrane():
    case = random_case(7, batch=4)
    config = case.config
    expected = golden.infer(case.network, case.samples)
    image = compile(case.network, config)
    core = Core(config, trace=True)
    shape = [layer.groups * layer.lanes for layer in config.layers]

    async def bench(ctx):
        await load(ctx, core, image)
        ctx.set(core.o.ready, 1)
        for number, sample in enumerate(case.samples):
            spikes = [np.full(neurons, NEVER) for neurons in shape]
            potential = {}
            pending = events(sample)
            while not ctx.get(core.o.valid):
                ctx.set(core.i.valid, bool(pending))
                if pending:
                    ctx.set(core.i.payload, pending[0])
                    if ctx.get(core.i.ready):
                        pending.pop(0)
                for index, layer in enumerate(config.layers):
                    trace = getattr(core, f"trace_{index}")
                    step = ctx.get(trace.step)
                    if not ctx.get(trace.valid) or step > expected.step[number]:
                        continue
                    for lane, membrane in enumerate(ctx.get(trace.membranes)):
                        neuron = ctx.get(trace.group) * layer.lanes + lane
                        if ctx.get(trace.spikes) >> lane & 1:
                            spikes[index][neuron] = step
                        potential[index, step, neuron] = membrane
                await ctx.tick()
            while pending:
                ctx.set(core.i.valid, 1)
                ctx.set(core.i.payload, pending[0])
                if ctx.get(core.i.ready):
                    pending.pop(0)
                await ctx.tick()
            ctx.set(core.i.valid, 0)
            for index, observed in enumerate(spikes):
                wanted = expected.spikes[index][number]
                np.testing.assert_array_equal(observed[: len(wanted)], wanted)
                assert (observed[len(wanted) :] == NEVER).all()
            last = len(shape) - 1
            for neuron, wanted in enumerate(expected.potential[number]):
                assert potential[last, int(expected.step[number]), neuron] == wanted
            await ctx.tick()

    simulate(core, bench)
