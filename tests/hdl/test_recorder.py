"""What is recorded and replayed, with random idle and back-pressure."""

import random

import pytest
from core_driver import simulate, strobe
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.recorder import Recorder
from firstspike.hdl.token import TokenKind

STEPS = 12
LAYERS = [LayerConfig(20, 6, 6, rows=14), LayerConfig(6, 3, 3)]


def tokens_of(rng, rows):
    tokens = []
    for _ in range(STEPS):
        for row in rows[: rng.randrange(4)]:
            tokens.append(("spike", row))
        rows = rows[4:]
        tokens.append(("step", 0))
    return tokens


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("pace", [0, 0.4], ids=["busy", "idle"])
def test_spikes_are_replayed_up_to_the_stop_step(layer, pace):
    config = Config(LAYERS, max_steps=STEPS, learning=True)
    dut = Recorder(config, layer)
    rng = random.Random(f"{layer} {pace}")

    async def bench(ctx):
        for _ in range(20):
            rows = list(range(LAYERS[layer].rows))
            rng.shuffle(rows)
            tokens = tokens_of(rng, rows)
            await strobe(ctx, dut.start)
            recorded, step = [], 0
            for kind, row in tokens:
                spike = kind == "spike"
                ctx.set(dut.i.p.kind, TokenKind.SPIKE if spike else TokenKind.STEP)
                ctx.set(dut.i.p.index, row)
                taken = False
                while not taken:
                    valid, ready = rng.random() >= pace, rng.random() >= pace
                    ctx.set(dut.i.valid, valid)
                    ctx.set(dut.o.ready, ready)
                    assert ctx.get(dut.o.valid) == valid
                    assert ctx.get(dut.i.ready) == ready
                    if valid:
                        assert ctx.get(dut.o.p.index) == row
                        assert not ctx.get(dut.o.p.learn)
                    taken = valid and ready
                    await ctx.tick()
                if spike:
                    recorded.append((row, step))
                step += not spike
            ctx.set(dut.i.valid, 0)
            assert ctx.get(dut.count) == len(recorded)

            stop = rng.randrange(STEPS)
            draws = [rng.random() < 0.5 for _ in recorded]
            expected = [
                (*entry, drawn)
                for entry, drawn in zip(recorded, draws, strict=True)
                if entry[1] <= stop and (drawn or layer > 0)
            ]
            ctx.set(dut.stop, stop)
            ctx.set(dut.replay, 1)
            replayed, drawn = [], 0
            while not ctx.get(dut.done):
                ready = rng.random() >= pace
                ctx.set(dut.o.ready, ready)
                ctx.set(dut.update, drawn < len(draws) and draws[drawn])
                if ctx.get(dut.o.valid) and ready:
                    token = ctx.get(dut.o.payload)
                    assert token.learn
                    replayed.append((token.index, token.arrival, bool(token.update)))
                drawn += ctx.get(dut.draw)
                await ctx.tick()
            ctx.set(dut.replay, 0)
            await ctx.tick()
            assert replayed == expected
            assert drawn == sum(step <= stop for _, step in recorded)

    simulate(dut, bench)
