"""The sequencer against the tokens that a sample amounts to."""

import random

import numpy as np
import pytest
from core_driver import events, simulate, store
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.formats import NEVER
from firstspike.firmware.layout import pack_row_map
from firstspike.hdl.sequencer import Sequencer
from firstspike.hdl.token import TokenKind
from streams import send

INPUTS, STEPS = 37, 20


def row_map(rng):
    """Rows for most of the inputs, in any order."""
    rows = [*range(25), *[-1] * (INPUTS - 25)]
    rng.shuffle(rows)
    return rows


def expected_tokens(sample, rows, steps):
    """For each step the set of rows, in any order, and whether it is the last."""
    for step in range(steps):
        chosen = [rows[i] for i in np.flatnonzero(sample == step) if rows[i] >= 0]
        yield sorted(chosen), step == steps - 1


@pytest.mark.parametrize("pace", [0, 0.5], ids=["busy", "idle"])
@pytest.mark.parametrize("seed", range(4))
def test_tokens(seed, pace):
    config = Config([LayerConfig(INPUTS, 4, 2, rows=25)], max_steps=STEPS)
    dut = Sequencer(config)
    rng = random.Random(seed)
    numbers = np.random.default_rng(seed)
    rows = row_map(rng)
    plans = []
    for _ in range(12):
        steps = int(numbers.integers(1, STEPS + 1))
        sample = numbers.integers(-1, steps, INPUTS)
        sample[numbers.random(INPUTS) < numbers.choice([0, 0.5, 1])] = NEVER
        # The decision comes after so many steps.
        plans.append((sample, steps, int(numbers.integers(1, steps + 1))))

    loaded = []

    async def feed(ctx):
        await store(ctx, dut.memory, 2, pack_row_map(rows, config))
        loaded.append(True)
        for sample, _, _ in plans:
            await send(ctx, dut.i, events(sample, rng), rng, pace)

    async def take(ctx):
        while not loaded:
            await ctx.tick()
        for sample, steps, decision in plans:
            ctx.set(dut.steps, steps)
            wanted = list(expected_tokens(sample, rows, steps))[:decision]
            spikes = []
            while wanted:
                ready = rng.random() >= pace
                ctx.set(dut.o.ready, ready)
                _, _, valid, token = await ctx.tick().sample(dut.o.valid, dut.o.payload)
                if not (ready and valid):
                    continue
                if token.kind == TokenKind.SPIKE:
                    spikes.append(token.index)
                else:
                    assert (sorted(spikes), token.last) == wanted.pop(0)
                    spikes.clear()
            # What it sends until the flush is nobody's business, unless all steps were sent.
            for _ in range(rng.randrange(8)):
                assert not (decision == steps and ctx.get(dut.o.valid))
                assert not ctx.get(dut.idle)
                ctx.set(dut.o.ready, rng.random() >= pace)
                await ctx.tick()
            early = rng.random() < 0.5
            ctx.set(dut.taken, early)
            ctx.set(dut.flush, 1)
            await ctx.tick()
            ctx.set(dut.flush, 0)
            if not early:
                for _ in range(rng.randrange(60)):
                    assert not ctx.get(dut.idle)
                    assert not ctx.get(dut.o.valid)
                    assert not ctx.get(dut.start)
                    await ctx.tick()
                ctx.set(dut.taken, 1)
                await ctx.tick()
            ctx.set(dut.taken, 0)

    simulate(dut, feed, take)


def test_an_event_a_cycle():
    config = Config([LayerConfig(INPUTS, 4, 4)], max_steps=STEPS)
    dut = Sequencer(config)

    async def bench(ctx):
        await store(ctx, dut.memory, 2, pack_row_map(range(INPUTS), config))
        ctx.set(dut.steps, STEPS)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.valid, 1)
        assert ctx.get(dut.idle)
        for cycle in range(INPUTS + 1 + dut.latency):
            ctx.set(dut.i.payload, {"end": cycle == INPUTS, "step": 0, "index": cycle % INPUTS})
            assert ctx.get(dut.i.ready) == (cycle <= INPUTS)
            assert ctx.get(dut.start) == (cycle == 0)
            assert ctx.get(dut.o.valid) == (cycle >= dut.latency)
            if dut.latency <= cycle < INPUTS + dut.latency:
                assert ctx.get(dut.o.payload.kind) == TokenKind.SPIKE
                assert ctx.get(dut.o.payload.index) == cycle - dut.latency
            await ctx.tick()
            ctx.set(dut.i.valid, cycle < INPUTS)
        for step in range(1, STEPS):
            assert ctx.get(dut.o.payload.kind) == TokenKind.STEP
            assert ctx.get(dut.o.payload.last) == (step == STEPS - 1)
            await ctx.tick()
        assert not ctx.get(dut.o.valid)

    simulate(dut, bench)
