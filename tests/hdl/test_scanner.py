"""The scanner against the tokens that a list of groups amounts to."""

import random

import pytest
from core_driver import simulate
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.scanner import Scanner
from firstspike.hdl.token import TokenKind

IN_FLIGHT = 4
SHAPES = [(1, 1), (5, 5), (7, 2), (40, 13), (70, 70), (64, 16), (129, 43)]


def groups_of(rng, neurons, lanes, steps):
    """Random spikes, some steps without any, some full."""
    for step in range(steps):
        density = rng.choice([0, 0, 0.02, 0.2, 0.6, 1])
        for base in range(0, neurons, lanes):
            count = min(lanes, neurons - base)
            yield {
                "spikes": [lane for lane in range(count) if rng.random() < density],
                "base": base,
                "closes": base + lanes >= neurons,
                "last": step == steps - 1,
                "rows": [rng.randrange(9)],
            }


def expected_tokens(groups):
    for group in groups:
        for lane in group["spikes"]:
            yield TokenKind.SPIKE, group["base"] + lane
        if group["closes"]:
            yield TokenKind.STEP, group["last"], group["rows"]


async def offer(ctx, dut, groups, rng):
    """Put groups into the scanner as a layer does it."""
    rooms = [1] * IN_FLIGHT
    for group in groups:
        # What was issued while there was room comes later.
        while True:
            rooms.append(ctx.get(dut.room))
            if rooms.pop(0) and rng.random() < 0.9:
                break
            ctx.set(dut.i.valid, 0)
            await ctx.tick()
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.spikes, sum(1 << lane for lane in group["spikes"]))
        ctx.set(dut.i.closes, group["closes"])
        ctx.set(dut.i.last, group["last"])
        ctx.set(dut.i.rows, group["rows"])
        await ctx.tick()
    ctx.set(dut.i.valid, 0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("busy", [0, 0.2, 0.8])
def test_tokens(shape, busy):
    neurons, lanes = shape
    config = Config([LayerConfig(8, neurons, lanes), LayerConfig(neurons, 2, 1)], max_steps=64)
    dut = Scanner(config, 0, in_flight=IN_FLIGHT)
    rng = random.Random(f"{shape} {busy}")
    groups = list(groups_of(rng, neurons, lanes, 40))
    expected = list(expected_tokens(groups))

    async def produce(ctx):
        await offer(ctx, dut, groups, rng)

    async def consume(ctx):
        while expected:
            ready = rng.random() >= busy
            ctx.set(dut.o.ready, ready)
            _, _, valid, token = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if ready and valid:
                kind, *rest = expected.pop(0)
                assert token.kind == kind
                if kind == TokenKind.SPIKE:
                    assert [token.index] == rest
                else:
                    assert [token.last, list(token.rows)] == rest

    simulate(dut, produce, consume, cycles=60_000)


@pytest.mark.parametrize("shape", [(5, 5), (40, 8), (70, 70), (64, 16)], ids=str)
@pytest.mark.parametrize("ways", [2, 4, 8])
@pytest.mark.parametrize("busy", [0, 0.8])
def test_several_ways_send_the_same_spikes(shape, ways, busy):
    neurons, lanes = shape
    layers = [LayerConfig(8, neurons, lanes), LayerConfig(neurons, 2, 2, ways=ways)]
    config = Config(layers, max_steps=64)
    dut = Scanner(config, 0, in_flight=IN_FLIGHT)
    rng = random.Random(f"{shape} {ways} {busy}")
    groups = list(groups_of(rng, neurons, lanes, 20))
    steps = []
    spikes: list[int] = []
    for kind, *rest in expected_tokens(groups):
        spikes.extend(rest if kind == TokenKind.SPIKE else [])
        if kind == TokenKind.STEP:
            steps.append((spikes, rest))
            spikes = []

    async def produce(ctx):
        await offer(ctx, dut, groups, rng)

    async def consume(ctx):
        found = []
        while steps:
            ready = rng.random() >= busy
            ctx.set(dut.o.ready, ready)
            _, _, valid, token = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if not (ready and valid):
                continue
            if token.kind == TokenKind.SPIKE:
                assert token.spikes
                mine = [way for way in range(ways) if token.spikes >> way & 1]
                found += [token.index[way] * ways + way for way in mine]
            else:
                expected, rest = steps.pop(0)
                assert sorted(found) == expected
                assert [token.last, list(token.rows)] == rest
                found = []

    simulate(dut, produce, consume, cycles=60_000)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_token_a_cycle(shape):
    neurons, lanes = shape
    config = Config([LayerConfig(8, neurons, lanes), LayerConfig(neurons, 2, 1)], max_steps=64)
    dut = Scanner(config, 0, in_flight=IN_FLIGHT)
    rng = random.Random(str(shape))
    # As many as fit, and each either brings spikes or closes a step.
    groups = [g for g in groups_of(rng, neurons, lanes, 40) if g["spikes"] or g["closes"]][:15]
    expected = list(expected_tokens(groups))

    async def produce(ctx):
        for group in groups:
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.spikes, sum(1 << lane for lane in group["spikes"]))
            ctx.set(dut.i.closes, group["closes"])
            await ctx.tick()
        ctx.set(dut.i.valid, 0)

    async def consume(ctx):
        ctx.set(dut.o.ready, 1)
        for _ in range(dut.latency):
            assert not ctx.get(dut.o.valid)
            await ctx.tick()
        for kind, *_ in expected:
            assert ctx.get(dut.o.valid)
            assert ctx.get(dut.o.payload.kind) == kind
            await ctx.tick()
        assert not ctx.get(dut.o.valid)

    simulate(dut, produce, consume)
