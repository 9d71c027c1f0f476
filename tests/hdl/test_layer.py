"""A layer against golden neurons, group by group."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Fragment
from core_driver import simulate, store
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.crossings import crossings, pack_crossings
from firstspike.firmware.layout import pack_weights
from firstspike.hdl.layer import Layer
from firstspike.hdl.token import TokenKind
from firstspike.sim.neuron import CurrentNeurons

BEFORE = LayerConfig(3, 20, 4, current_bits=10)
LAYERS = {
    "one group": LayerConfig(20, 6, 6, weight_bits=4, k=3, current_bits=9, membrane_bits=11),
    "two groups": LayerConfig(20, 6, 3, weight_bits=8, k=2, current_bits=13, membrane_bits=13),
    "padded": LayerConfig(20, 11, 3, weight_bits=8, k=4, current_bits=13, membrane_bits=16),
    "one lane": LayerConfig(20, 4, 1, weight_bits=2, k=1, current_bits=6, membrane_bits=8),
}


def tokens_of(rng, steps, rows):
    """A sample's tokens: some rows in each step, none of them twice."""
    order = rng.sample(range(rows), rows)
    when = [rng.randrange(steps + 3) for _ in order]
    tokens = []
    for step in range(steps):
        for row, chosen in zip(order, when, strict=True):
            if chosen == step:
                tokens.append({"kind": TokenKind.SPIKE, "index": row, "last": 0, "rows": [0]})
        last = int(step == steps - 1)
        before = [rng.randrange(4)]
        tokens.append({"kind": TokenKind.STEP, "index": 0, "last": last, "rows": before})
    return tokens


def expected_groups(layer, weights, threshold, tokens):
    """Spikes, membranes of those that have not fired before, flags and tally of each group."""
    neurons = CurrentNeurons(weights.shape[1], layer.k, threshold, layer.membrane_bits)
    charge = np.zeros(weights.shape[1], dtype=np.int64)
    rows = 0
    for token in tokens:
        if token["kind"] == TokenKind.SPIKE:
            charge += weights[token["index"]]
            rows += 1
            continue
        before = neurons.fired.copy()
        spikes = neurons.step(charge)
        charge[:] = 0
        for group in range(layer.groups):
            own = slice(group * layer.lanes, (group + 1) * layer.lanes)
            yield (
                spikes[own].tolist(),
                [None if b else u for b, u in zip(before[own], neurons.membrane[own], strict=True)],
                group == layer.groups - 1,
                token["last"],
                (token["rows"][0], rows),
            )


@pytest.mark.parametrize("latency", [1, 2, 3])
@pytest.mark.parametrize("pace", [0, 0.4], ids=["busy", "idle"])
@pytest.mark.parametrize("name", LAYERS)
def test_groups_equal_golden(name, pace, latency):
    layer = replace(LAYERS[name], fetch_cycles=latency)
    config = Config([BEFORE, layer], max_steps=40)
    dut = Layer(config, 1)
    rng = random.Random(f"{name} {pace} {latency}")
    numbers = np.random.default_rng(11)
    limit = (1 << (layer.weight_bits - 1)) - 1
    weights = numbers.integers(-limit, limit + 1, (layer.rows, layer.neurons))
    threshold = 5 * limit
    padded = np.zeros((layer.rows, layer.groups * layer.lanes), dtype=np.int64)
    padded[:, : layer.neurons] = weights
    tokens = tokens_of(rng, 30, layer.rows)
    expected = list(expected_groups(layer, padded, threshold, tokens))
    due = []

    async def bench(ctx):
        ctx.set(dut.threshold, threshold)
        ctx.set(dut.memory.word, 0)
        await store(ctx, dut.memory, layer.lanes, pack_weights(weights.astype(np.int8), layer))
        await ctx.tick().repeat(3)
        cycle = 0

        async def tick():
            nonlocal cycle
            assert ctx.get(dut.o.valid) == (due[:1] == [cycle])
            if ctx.get(dut.o.valid):
                due.pop(0)
                spikes, potentials, *wanted = expected.pop(0)
                assert ctx.get(dut.o.spikes) == sum(spike << n for n, spike in enumerate(spikes))
                for lane, potential in enumerate(potentials):
                    got = ctx.get(dut.o.membranes[lane])
                    assert got == potential if potential is not None else got >= 0
                got = (ctx.get(dut.o.closes), ctx.get(dut.o.last), tuple(ctx.get(dut.o.rows)))
                assert got == tuple(wanted)
            await ctx.tick()
            cycle += 1

        for token in tokens:
            step = token["kind"] == TokenKind.STEP
            ctx.set(dut.i.payload, token)
            group = 0
            while group < layer.groups:
                valid, room = rng.random() >= pace, rng.random() >= pace
                ctx.set(dut.i.valid, valid)
                ctx.set(dut.room, room)
                issues = valid and (room or not step)
                if valid:
                    assert ctx.get(dut.i.ready) == (issues and group == layer.groups - 1)
                group += issues
                if step and issues:
                    due.append(cycle + dut.latency)
                await tick()
            ctx.set(dut.i.valid, 0)
        for _ in range(dut.latency + 1):
            await tick()
        assert not expected

    simulate(dut, bench)


SUM_LAYERS = {
    "one group": replace(LAYERS["one group"], neuron="sum"),
    "two groups": replace(LAYERS["two groups"], neuron="sum"),
    "padded": replace(LAYERS["padded"], neuron="sum"),
}


@pytest.mark.parametrize("latency", [1, 2, 3])
@pytest.mark.parametrize("name", SUM_LAYERS)
def test_sum_neurons_spike_when_golden_ones_do(name, latency):
    layer = replace(SUM_LAYERS[name], fetch_cycles=latency)
    config = Config([layer, LayerConfig(layer.neurons, 2, 2)], max_steps=32)
    dut = Layer(config, 0)
    rng = random.Random(f"{name} {latency}")
    numbers = np.random.default_rng(12)
    limit = (1 << (layer.weight_bits - 1)) - 1
    weights = numbers.integers(-limit, limit + 1, (layer.rows, layer.neurons))
    threshold, steps = 2 * limit, 20
    spikes, expected = [], []

    async def bench(ctx):
        async def tick():
            if ctx.get(dut.o.valid):
                spikes.append(ctx.get(dut.o.spikes))
            await ctx.tick()

        ctx.set(dut.threshold, threshold)
        ctx.set(dut.room, 1)
        await store(ctx, dut.memory, layer.lanes, pack_weights(weights.astype(np.int8), layer))
        region = config.region("crossings")
        values = crossings(layer.k, threshold, steps, layer.current_bits)
        contents = pack_crossings(values, region.lanes, region.words)
        await store(ctx, dut.crossings, region.lanes, contents)
        await ctx.tick().repeat(3)
        chosen = rng.sample(range(layer.rows), layer.rows // 2)
        tokens = [{"kind": TokenKind.SPIKE, "index": row} for row in chosen]
        tokens += [{"kind": TokenKind.STEP, "last": int(n == steps - 1)} for n in range(steps)]
        for token in tokens:
            ctx.set(dut.i.payload, {"index": 0, "last": 0, "rows": []} | token)
            done = False
            while not done:
                valid = rng.random() < 0.8
                ctx.set(dut.i.valid, valid)
                done = valid and ctx.get(dut.i.ready)
                await tick()
            ctx.set(dut.i.valid, 0)
        for _ in range(dut.latency + 1):
            await tick()

        neurons = CurrentNeurons(layer.neurons, layer.k, threshold, layer.membrane_bits)
        charge = weights[chosen].sum(axis=0)
        for _ in range(steps):
            fired = np.zeros(layer.groups * layer.lanes, dtype=int)
            fired[: layer.neurons] = neurons.step(charge)
            charge = np.zeros_like(charge)
            groups = fired.reshape(layer.groups, layer.lanes)
            expected.extend(sum(int(b) << n for n, b in enumerate(group)) for group in groups)
        assert neurons.fired.any()
        assert spikes == expected

    simulate(dut, bench)


def test_a_memory_of_another_speed_is_refused():
    config = Config([BEFORE, LAYERS["one group"]], max_steps=40)
    layer = Layer(config, 1, memory=lambda region: SimpleNamespace(latency=3))
    with pytest.raises(ValueError, match="takes 3 cycles to read, but fetch_cycles is 2"):
        Fragment.get(layer, platform=None)
