"""Loads images into a core under simulation and speaks its streams."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator, SimulatorContext
from firstspike.firmware.config import Region
from firstspike.firmware.formats import NEVER
from firstspike.firmware.image import Image
from firstspike.hdl.core import Core
from firstspike.hdl.memory_window import FETCH_CYCLES, SHIFT_CYCLES

__all__ = ["events", "fetch", "load", "set_registers", "simulate", "store", "strobe"]


def simulate(dut: Elaboratable, *testbenches: Callable, cycles: int = 20_000) -> None:
    """Run until every testbench is done; fail after ``cycles`` cycles."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for _ in range(2 * cycles):  # each goes on to the next edge of the clock
        if not simulator.advance():
            return
    raise AssertionError(f"the testbenches are not done after {cycles} cycles")


async def strobe(ctx: SimulatorContext, signal: Any) -> None:
    """Raise ``signal`` for a cycle."""
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


async def store(ctx: SimulatorContext, port: Any, lanes: int, contents: bytes) -> None:
    """Write a whole region, of words of ``lanes`` bytes, without a needless cycle."""
    for position, byte in enumerate(contents):
        ctx.set(port.byte, byte)
        await strobe(ctx, port.shift)
        if position % lanes == lanes - 1:
            ctx.set(port.word, position // lanes)
            await strobe(ctx, port.store)


async def fetch(ctx: SimulatorContext, port: Any, region: Region, word: int) -> bytes:
    """Read one word."""
    ctx.set(port.word, word)
    await strobe(ctx, port.fetch)
    await ctx.tick().repeat(FETCH_CYCLES - 1)
    contents = []
    for _ in range(region.lanes):
        contents.append(ctx.get(port.byte_out))
        await strobe(ctx, port.shift)
        await ctx.tick().repeat(SHIFT_CYCLES - 1)
    return bytes(contents)


def set_registers(ctx: SimulatorContext, core: Core, image: Image) -> None:
    """Give the core what an image has in registers."""
    ctx.set(core.steps, image.registers["steps"])
    ctx.set(core.classes, image.registers["classes"])
    for index, threshold in enumerate(core.thresholds):
        ctx.set(threshold, image.registers[f"threshold_{index}"])


async def load(ctx: SimulatorContext, core: Core, image: Image) -> None:
    """Give the core a whole image."""
    set_registers(ctx, core, image)
    for number, region in enumerate(image.config.regions):
        ctx.set(core.memory.region, number)
        await store(ctx, core.memory, region.lanes, image.regions[region.name])
        await ctx.tick()


def events(sample: np.ndarray, rng: random.Random | None = None) -> list[dict[str, int]]:
    """The events of a sample, those of one step in ascending order or, with ``rng``, in any."""
    spikes = np.flatnonzero(sample != NEVER).tolist()
    if rng is not None:
        rng.shuffle(spikes)
    spikes.sort(key=lambda index: sample[index])
    return [
        *({"end": 0, "step": int(sample[index]), "index": index} for index in spikes),
        {"end": 1, "step": 0, "index": 0},
    ]
