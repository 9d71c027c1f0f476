"""One lane's dynamics against the golden neuron."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from firstspike.firmware.config import LayerConfig
from firstspike.firmware.formats import membrane_floor
from firstspike.hdl.neuron import CurrentNeuron
from firstspike.sim.neuron import CurrentNeurons, decay

LAYERS = [
    LayerConfig(9, 1, 1, weight_bits=8, k=4, current_bits=12, membrane_bits=14),
    LayerConfig(9, 1, 1, weight_bits=2, k=8, current_bits=5, membrane_bits=8),
    LayerConfig(9, 1, 1, weight_bits=8, k=1, current_bits=12, membrane_bits=12),
]


def simulate(layer, bench):
    """Run ``bench(apply)``; ``apply(step, weight, state)`` gives current, membrane and spike."""
    neuron = CurrentNeuron(layer)

    async def testbench(ctx):
        async def apply(step, weight, current, membrane):
            ctx.set(neuron.step, step)
            ctx.set(neuron.weight, weight)
            ctx.set(neuron.state, {"current": current, "membrane": membrane})
            await ctx.delay(1e-9)
            following = ctx.get(neuron.next)
            return following.current, following.membrane, ctx.get(neuron.spike)

        await bench(apply)

    simulator = Simulator(neuron)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_runs_equal_the_golden_neuron(layer):
    rng = np.random.default_rng(7)
    reach = (1 << (layer.current_bits - 1)) - 1
    limit = (1 << (layer.weight_bits - 1)) - 1

    async def bench(apply):
        for _ in range(40):
            highest = -membrane_floor(layer.membrane_bits)
            threshold = min(highest, int(rng.integers(1, rng.choice([highest, 2 * reach]) + 1)))
            sign = int(rng.choice([-1, 0, 1]))
            golden = CurrentNeurons(1, layer.k, threshold, layer.membrane_bits)
            current, membrane = 0, -threshold
            left = {-1: reach, 1: reach}
            for _ in range(60):
                charge = 0
                for _ in range(rng.poisson(1.5)):
                    weight = int(rng.integers(-limit, limit + 1))
                    if sign:
                        weight = sign * abs(weight)
                    if not weight or left[int(np.sign(weight))] < abs(weight):
                        continue
                    left[int(np.sign(weight))] -= abs(weight)
                    charge += weight
                    current, kept, spike = await apply(0, weight, current, membrane)
                    assert (kept, spike) == (membrane, 0)
                spiked = golden.step(np.array([charge]))[0]
                assert current == golden.current[0]
                current, membrane, spike = await apply(1, 99, current, membrane)
                assert spike == spiked
                assert current == decay(golden.current, layer.k)[0]
                if spike or not golden.fired[0]:
                    assert membrane == golden.membrane[0]
                else:
                    assert membrane >= 0

    simulate(layer, bench)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_corners(layer):
    top = (1 << (layer.current_bits - 1)) - 1
    floor = membrane_floor(layer.membrane_bits)
    cases = [
        # current, membrane, next membrane, spike
        (0, -1, -1, 0),
        (1, -1, 0, 1),
        (top, -1, top - 1, 1),
        (-1, floor, floor, 0),
        (-top - 1, floor, floor, 0),
        (-1, floor + 1, floor, 0),
        (0, floor, floor, 0),
        (1, floor, floor + 1, 0),
        (-top, 0, 0, 0),
        (top, top - 1, top - 1, 0),
    ]

    async def bench(apply):
        for current, membrane, following, spike in cases:
            _, got, fired = await apply(1, 0, current, membrane)
            assert (got, fired) == (following, spike), (current, membrane)
            _, got, fired = await apply(0, 1, 0, membrane)
            assert (got, fired) == (membrane, 0)

    simulate(layer, bench)
