import random

import pytest
from firstspike.hdl.packet_buffer import PacketBuffer
from streams import receive, run, send


@pytest.mark.parametrize("headed", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_only_committed_packets_come_out(seed: int, headed: bool) -> None:
    rng = random.Random(seed)
    dut = PacketBuffer(8, 16, headed=headed)
    packets = [[rng.randrange(256) for _ in range(rng.randrange(1, 15))] for _ in range(60)]
    kept = [rng.random() < 0.7 for _ in packets]
    expected = [item for packet, keep in zip(packets, kept, strict=True) if keep for item in packet]

    async def write(ctx):
        for packet, keep in zip(packets, kept, strict=True):
            body, closing = (packet[1:], packet[0]) if headed else (packet[:-1], packet[-1])
            await send(ctx, dut.i, body, rng)
            if not keep:
                # What is offered in the cycle of the discard is forgotten, too.
                ctx.set(dut.i.valid, rng.randrange(2))
                ctx.set(dut.discard, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                ctx.set(dut.discard, 0)
            else:
                ctx.set(dut.commit, 1)
                await send(ctx, dut.i, [closing], rng, idle=0)
                ctx.set(dut.commit, 0)

    async def read(ctx):
        assert await receive(ctx, dut.o, len(expected), rng) == expected

    run(dut, write, read)


def test_a_commit_without_an_item() -> None:
    dut = PacketBuffer(8, 4)

    async def bench(ctx):
        await send(ctx, dut.i, [1, 2, 3, 4], random.Random(0), idle=0)
        assert not ctx.get(dut.i.ready)
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.o.valid)
        ctx.set(dut.commit, 1)
        await ctx.tick()
        ctx.set(dut.commit, 0)
        assert await receive(ctx, dut.o, 4, random.Random(0)) == [1, 2, 3, 4]
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.o.valid)

    run(dut, bench)


def test_a_packet_that_is_too_long_can_be_discarded() -> None:
    dut = PacketBuffer(8, 8)

    async def bench(ctx):
        await send(ctx, dut.i, range(8), random.Random(0), idle=0)
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.discard, 1)
        await ctx.tick()
        ctx.set(dut.discard, 0)
        await send(ctx, dut.i, [7, 8], random.Random(0), idle=0)
        ctx.set(dut.commit, 1)
        await send(ctx, dut.i, [9], random.Random(0), idle=0)
        ctx.set(dut.commit, 0)
        assert await receive(ctx, dut.o, 3, random.Random(0)) == [7, 8, 9]

    run(dut, bench)


def test_an_item_a_cycle() -> None:
    dut = PacketBuffer(8, 64)
    count = 40

    async def bench(ctx):
        await send(ctx, dut.i, range(count), random.Random(0), idle=0)
        ctx.set(dut.commit, 1)
        await ctx.tick()
        ctx.set(dut.commit, 0)
        ctx.set(dut.o.ready, 1)
        await ctx.tick()
        for item in range(count):
            assert ctx.get(dut.o.valid)
            assert ctx.get(dut.o.payload) == item
            await ctx.tick()
        assert not ctx.get(dut.o.valid)

    run(dut, bench)
