"""The decision against the rule as it is written down."""

import random

import pytest
from core_driver import simulate
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.decision import Decision

SHAPES = [(1, 1), (2, 2), (10, 10), (10, 3), (7, 4), (33, 16), (5, 1)]
LOWEST = -(1 << 9)


def sample_of(rng, outputs, steps):
    """Membranes of every step; outputs cross zero in a few of them, often together."""
    some = [rng.randrange(LOWEST, 1 << 8) for _ in range(3)]
    chance = rng.choice([0, 0.02, 0.3])
    membranes = []
    for _ in range(steps):
        values = [rng.choice([*some, rng.randrange(LOWEST, 0)]) for _ in range(outputs)]
        membranes.append([u if u < 0 or rng.random() < chance else -1 for u in values])
    return membranes


def expected_outcome(membranes, classes):
    """Label, step, fired."""
    for step, values in enumerate(membranes):
        best = max(values[:classes])
        if best >= 0 or step == len(membranes) - 1:
            return values.index(best), step, best >= 0
    raise AssertionError


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pace", [0, 0.5], ids=["busy", "idle"])
def test_outcomes(shape, pace):
    outputs, lanes = shape
    layer = LayerConfig(3, outputs, lanes, current_bits=10, membrane_bits=10)
    config = Config([layer], max_steps=32)
    dut = Decision(config)
    rng = random.Random(f"{shape} {pace}")

    async def bench(ctx):
        for _ in range(40):
            classes = rng.randint(1, outputs)
            ctx.set(dut.classes, classes)
            await ctx.tick().repeat(2)
            steps = rng.randint(1, 32)
            padding = layer.groups * lanes - outputs
            membranes = sample_of(rng, outputs, steps)
            label, decision, fired = expected_outcome(membranes, classes)
            ready = rng.random() < 0.5
            ctx.set(dut.o.ready, ready)

            # Groups keep coming after the decision, until the flush that it causes.
            due = None
            groups = [
                (step, group, (values + [-1] * padding)[group * lanes :][:lanes])
                for step, values in enumerate(membranes)
                for group in range(layer.groups)
            ]
            while not ctx.get(dut.o.valid):
                assert not ctx.get(dut.flush)
                valid = bool(groups) and rng.random() >= pace
                ctx.set(dut.i.valid, valid)
                if valid:
                    step, group, values = groups.pop(0)
                    for member, value in zip(dut.i.membranes, values, strict=True):
                        ctx.set(member, value)
                    closes = group == layer.groups - 1
                    ctx.set(dut.i.closes, closes)
                    ctx.set(dut.i.last, step == steps - 1)
                    ctx.set(dut.i.rows, [step % 4])
                    if closes and step == decision:
                        due = dut.latency
                assert due is None or due > 0
                if due is not None:
                    due -= 1
                await ctx.tick()
            assert due == 0
            assert ctx.get(dut.flush)
            result = ctx.get(dut.o.payload)
            assert (result.label, result.step, result.fired) == (label, decision, fired)
            assert list(result.rows) == [decision % 4]

            # One more may come with the flush.
            ctx.set(dut.i.valid, rng.random() < 0.5)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            assert not ctx.get(dut.flush)
            while not ready:
                assert ctx.get(dut.o.valid)
                assert ctx.get(dut.o.payload) == result
                ready = rng.random() < 0.5
                ctx.set(dut.o.ready, ready)
                await ctx.tick()
            assert not ctx.get(dut.o.valid)

    simulate(dut, bench, cycles=60_000)
