"""The core against the golden model."""

import random

import numpy as np
import pytest
from core_driver import events, fetch, load, simulate
from firstspike.compile import compile
from firstspike.hdl.core import Core
from firstspike.sim import golden
from firstspike.sim.random_networks import random_case
from streams import receive, send


def classify(case, *, idle, busy):
    """What the core makes of a case's samples: label, step, fired, rows; and cycles apart."""
    image = compile(case.network, case.config)
    core = Core(case.config)
    rng = random.Random(case.seed)
    results = []

    async def feed(ctx):
        await load(ctx, core, image)
        for sample in case.samples:
            await send(ctx, core.i, events(sample, rng), rng, idle)

    async def collect(ctx):
        results.extend(await receive(ctx, core.o, len(case.samples), rng, busy))

    simulate(core, feed, collect, cycles=200_000)
    outcomes = [(r.label, r.step, r.fired, *r.rows) for r in results]
    return np.array(outcomes), np.array([result.cycles for result in results])


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("pace", [(0, 0), (0.5, 0.5)], ids=["busy", "idle"])
def test_core_equals_golden(seed, pace):
    case = random_case(seed, batch=6)
    expected = golden.infer(case.network, case.samples)
    idle, busy = pace
    outcomes, _ = classify(case, idle=idle, busy=busy)
    wanted = np.column_stack([expected.label, expected.step, expected.fired, expected.rows])
    np.testing.assert_array_equal(outcomes, wanted, err_msg=str(case))
