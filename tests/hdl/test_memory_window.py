"""Loading memories and reading them back, through the window and the weight memory behind it."""

import random

import pytest
from core_driver import fetch, simulate, store, strobe
from firstspike.compile import compile
from firstspike.firmware.config import Region
from firstspike.hdl.core import Core
from firstspike.hdl.memory_window import MemoryWindow
from firstspike.hdl.weight_memory import WeightMemory
from firstspike.sim.random_networks import random_case

REGIONS = [
    Region("one", 5, 1, 8, True),
    Region("narrow", 9, 7, 3, True),
    Region("map", 1, 2, 8, False),
]


def extended(byte, region):
    """What is left of a byte after it went through a region."""
    value = byte & ((1 << region.bits) - 1)
    if region.signed and value >> (region.bits - 1):
        value -= 1 << region.bits
    return value & 0xFF


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.name)
@pytest.mark.parametrize("latency", [1, 2, 3])
def test_reads_after_the_latency(region, latency):
    memory = WeightMemory(region, latency=latency)
    rng = random.Random(3)

    async def bench(ctx):
        contents = [
            [rng.randrange(1 << (region.bits - 1)) for _ in range(region.lanes)]
            for _ in range(region.words)
        ]
        ctx.set(memory.store, 1)
        for address, word in enumerate(contents):
            ctx.set(memory.address, address)
            ctx.set(memory.word, word)
            await ctx.tick()
        ctx.set(memory.store, 0)
        asked = []
        for _ in range(40):
            address = rng.randrange(region.words)
            asked.append(address)
            ctx.set(memory.address, address)
            if len(asked) > latency:
                assert list(ctx.get(memory.data)) == contents[asked[-1 - latency]]
            await ctx.tick()

    simulate(memory, bench)


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.name)
def test_shift_register(region):
    window = MemoryWindow(region)
    rng = random.Random(5)

    async def bench(ctx):
        for _ in range(10):
            sent = [rng.randrange(256) for _ in range(region.lanes)]
            for byte in sent:
                ctx.set(window.port.byte, byte)
                await strobe(ctx, window.port.shift)
            expected = [extended(byte, region) for byte in sent]
            assert [value & 0xFF for value in ctx.get(window.word)] == expected
            assert ctx.get(window.port.byte_out) == expected[0]

            read = [extended(rng.randrange(256), region) for _ in range(region.lanes)]
            mask = (1 << region.bits) - 1
            packed = sum((value & mask) << (region.bits * n) for n, value in enumerate(read))
            ctx.set(window.data.as_value(), packed)
            await strobe(ctx, window.port.capture)
            for value in read:
                assert ctx.get(window.port.byte_out) == value
                await strobe(ctx, window.port.shift)

    simulate(window, bench)


@pytest.mark.parametrize("seed", [4, 9, 17])
def test_every_region_of_a_core_reads_back(seed):
    case = random_case(seed)
    image = compile(case.network, case.config)
    core = Core(case.config)
    rng = random.Random(seed)

    async def bench(ctx):
        for number, region in enumerate(case.config.regions):
            ctx.set(core.memory.region, number)
            await store(ctx, core.memory, region.lanes, image.regions[region.name])
            await ctx.tick()
        for number, region in enumerate(case.config.regions):
            ctx.set(core.memory.region, number)
            contents = image.regions[region.name]
            words = rng.sample(range(region.words), min(region.words, 12))
            for word in {0, region.words - 1, *words}:
                wanted = contents[word * region.lanes :][: region.lanes]
                assert await fetch(ctx, core.memory, region, word) == wanted, (region, word)
        assert ctx.get(core.idle)

    simulate(core, bench)
