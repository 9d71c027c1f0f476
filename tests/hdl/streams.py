"""Both ends of a stream in an Amaranth simulation, with random idle and random back-pressure."""

import random
from collections.abc import Callable, Iterable
from typing import Any

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator, SimulatorContext

__all__ = ["receive", "receive_while", "run", "send"]


async def pause(ctx: SimulatorContext, rng: random.Random, share: float) -> None:
    """Wait for as long as a coin shows ``share``."""
    while rng.random() < share:
        await ctx.tick()


async def send(
    ctx: SimulatorContext, stream: Any, items: Iterable[Any], rng: random.Random, idle: float = 0.3
) -> None:
    """Offer ``items``, with pauses between them."""
    for item in items:
        await pause(ctx, rng, idle)
        ctx.set(stream.payload, item)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)


async def receive(
    ctx: SimulatorContext, stream: Any, count: int, rng: random.Random, busy: float = 0.3
) -> list[Any]:
    """Take ``count`` items, with pauses between them."""
    items = []
    for _ in range(count):
        await pause(ctx, rng, busy)
        ctx.set(stream.ready, 1)
        (item,) = await ctx.tick().sample(stream.payload).until(stream.valid)
        ctx.set(stream.ready, 0)
        items.append(item)
    return items


async def receive_while(
    ctx: SimulatorContext,
    stream: Any,
    going: Callable[[], bool],
    rng: random.Random,
    busy: float = 0.3,
) -> list[Any]:
    """Take whatever comes, with pauses, for as long as ``going`` says so."""
    items = []
    while going():
        ready = rng.random() >= busy
        ctx.set(stream.ready, ready)
        *_, valid, item = await ctx.tick().sample(stream.valid, stream.payload)
        if ready and valid:
            items.append(item)
    return items


def run(dut: Elaboratable, *testbenches: Any, cycles: int = 100_000) -> None:
    """Simulate until every testbench is done, or fail after ``cycles`` cycles."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    running = len(testbenches)

    def counted(testbench: Any) -> Any:
        async def body(ctx: SimulatorContext) -> None:
            nonlocal running
            await testbench(ctx)
            running -= 1

        return body

    for testbench in testbenches:
        simulator.add_testbench(counted(testbench))
    simulator.run_until(cycles * 1e-6)
    assert not running, f"{running} testbenches are not done after {cycles} cycles"
