"""Who is left out, against Marsaglia's generator in numpy."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from core_driver import simulate, strobe
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.dropout import Dropout

SHAPES = [(1, 1), (3, 3), (8, 8), (18, 18), (11, 4), (24, 8), (29, 12), (40, 20)]


def draw(state, neurons, probability):
    """The next state, and the mask as an array."""
    state = np.uint64(state)
    numbers = []
    while len(numbers) < neurons:
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        numbers += [int(state >> np.uint64(16 * n)) & 0xFFFF for n in range(4)]
    return int(state), np.array(numbers[:neurons]) < probability


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_masks_and_states(shape):
    neurons, lanes = shape
    layer = LayerConfig(3, neurons, lanes)
    dut = Dropout(Config([layer, LayerConfig(neurons, 2, 2)], learning=True), 0)
    start = int(np.random.default_rng([neurons, lanes]).integers(1, 1 << 63))
    state = Signal(64, init=start)

    async def bench(ctx):
        drawn = start
        for probability in (0, 65535, 20000, 40000, 1):
            ctx.set(dut.probability, probability)
            drawn, expected = draw(drawn, neurons, probability)
            await strobe(ctx, dut.start)
            cycles = 0
            while ctx.get(dut.busy):
                await ctx.tick()
                cycles += 1
            assert cycles <= layer.groups * -(-lanes // 4) + 1
            assert ctx.get(dut.random) == drawn
            mask = []
            for group in range(layer.groups):
                ctx.set(dut.group, group)
                await ctx.tick()
                mask += [ctx.get(dut.mask) >> lane & 1 for lane in range(lanes)]
            assert mask[:neurons] == expected.tolist()

    m = Module()
    m.submodules.dut = dut
    with m.If(dut.random_load):
        m.d.sync += state.eq(dut.random_next)
    m.d.comb += dut.random.eq(state)
    simulate(m, bench)
