"""A lane's weight update against the rule, for every weight and error."""

from itertools import product

import pytest
from core_driver import simulate
from firstspike.firmware.config import LayerConfig
from firstspike.firmware.learning import STEP_RANGE
from firstspike.hdl.synapse import Synapse


@pytest.mark.parametrize("last", [False, True], ids=["hidden", "last"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weights_and_votes(bits, last):
    dut = Synapse(LayerConfig(3, 4, 4, weight_bits=bits), last=last)
    limit = (1 << (bits - 1)) - 1
    weights = (
        range(-limit, limit + 1) if bits < 8 else [*range(-127, -110), *range(-9, 9), 120, 127]
    )

    async def bench(ctx):
        for weight, error, step in product(weights, (-1, 0, 1), STEP_RANGE if last else [1]):
            ctx.set(dut.weight, weight)
            ctx.set(dut.concerned, error != 0)
            ctx.set(dut.negative, error < 0)
            ctx.set(dut.learn, 1)
            await ctx.delay(1e-9)
            if last:
                ctx.set(dut.step, step)
            else:
                assert ctx.get(dut.change) == error
                total = weight + error
                ctx.set(dut.moved, (total + limit + 1) % (2 * limit + 2) - limit - 1)
            await ctx.tick()
            assert ctx.get(dut.next) == max(-limit, min(limit, weight + step * error))
            for zone in (0, 1, limit - 1, limit, 127):
                ctx.set(dut.dead_zone, zone)
                await ctx.delay(1e-9)
                sign = (weight > 0) - (weight < 0) if abs(weight) > zone else 0
                assert ctx.get(dut.vote) == sign * error

        # What the memory port reads stays as it is, even what is no weight.
        ctx.set(dut.learn, 0)
        for weight in (*weights, -limit - 1):
            ctx.set(dut.weight, weight)
            if not last:
                ctx.set(dut.moved, weight)
            await ctx.tick()
            assert ctx.get(dut.next) == weight

    simulate(dut, bench, cycles=1 << 20)
