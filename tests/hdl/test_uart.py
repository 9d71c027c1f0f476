"""The line is a function of real time here, so that the baud rate and its error are exact."""

import random
from collections.abc import Iterable

import pytest
from amaranth.sim import SimulatorContext
from firstspike.firmware.errors import DataError
from firstspike.hdl.uart import UartReceiver, UartTransmitter, bit_period
from streams import receive_while, run, send

#: Clocks a bit: the least, odd, fractional, and comfortable.
RATES = [(48_000_000, 12_000_000), (15_000_000, 3_000_000), (25_000_000, 3_000_000), (16, 1)]


async def drive(
    ctx: SimulatorContext, rx, bits: Iterable[tuple[int, float]], phase: float = 0.0
) -> None:
    """Put levels on a line, each for its own number of clocks, which need not be whole."""
    now, end = 0, phase
    for level, clocks in bits:
        end += clocks
        while now < end:
            # What holds at a clock edge is what the receiver sees.
            ctx.set(rx, level)
            await ctx.tick()
            now += 1


def frame(byte: int, bit: float) -> list[tuple[int, float]]:
    """Start bit, data, stop bit."""
    return [(0, bit), *((byte >> position & 1, bit) for position in range(8)), (1, bit)]


def received(
    clock_hz: int, baud: int, bits: list[tuple[int, float]], phase: float = 0.0
) -> list[int]:
    """What a receiver makes of the levels."""
    dut = UartReceiver(clock_hz, baud)
    sending = True
    result = []

    async def write(ctx):
        nonlocal sending
        await drive(ctx, dut.rx, [*bits, (1, 3 * clock_hz / baud)], phase)
        sending = False

    async def read(ctx):
        result.extend(await receive_while(ctx, dut.o, lambda: sending, random.Random(0), busy=0))

    run(dut, write, read)
    return result


@pytest.mark.parametrize(("clock_hz", "baud"), RATES)
@pytest.mark.parametrize("error", [-0.02, 0.0, 0.02])
def test_receiver_tolerates_baud_error_and_idle(clock_hz: int, baud: int, error: float) -> None:
    rng = random.Random(f"{clock_hz} {error}")
    sent = [0x00, 0xFF, 0x55, 0xAA, *(rng.randrange(256) for _ in range(12))]
    bit = clock_hz / baud / (1 + error)
    bits = [(1, bit)]
    for byte in sent:
        bits += frame(byte, bit)
        if rng.random() < 0.5:
            bits.append((1, rng.random() * 3 * bit))
    assert received(clock_hz, baud, bits, phase=rng.random()) == sent


def test_glitches_and_framing_errors_are_ignored() -> None:
    bit = 16.0
    bits = [(1, bit), (0, 0.3 * bit), (1, 2 * bit)]
    bits += frame(0x12, bit)
    # A stop bit that is low, then a line that stays low: a break.
    bits += [*frame(0x34, bit)[:-1], (0, 30 * bit), (1, bit)]
    bits += frame(0x56, bit)
    assert received(16, 1, bits) == [0x12, 0x56]


def test_a_byte_that_is_not_taken_is_kept() -> None:
    dut = UartReceiver(8, 1)

    async def bench(ctx):
        await drive(ctx, dut.rx, [*frame(0x12, 8), *frame(0x34, 8), (1, 16)])
        assert ctx.get(dut.o.valid)
        assert ctx.get(dut.o.payload) == 0x12

    run(dut, bench)


@pytest.mark.parametrize(("clock_hz", "baud"), RATES)
def test_transmitter_sends_whole_frames_without_gaps(clock_hz: int, baud: int) -> None:
    rng = random.Random(clock_hz)
    sent = [rng.randrange(256) for _ in range(8)]
    dut = UartTransmitter(clock_hz, baud)
    bit = clock_hz / baud
    levels = []
    sending = True

    async def write(ctx):
        nonlocal sending
        await send(ctx, dut.i, sent, rng, idle=0)
        await ctx.tick().repeat(int(11 * bit))
        sending = False

    async def watch(ctx):
        while sending:
            _, _, level = await ctx.tick().sample(dut.tx)
            levels.append(level)

    run(dut, write, watch)
    start = levels.index(0)
    expected = [level for byte in sent for level, _ in frame(byte, bit)]
    middles = [start + int((position + 0.5) * bit) for position in range(len(expected))]
    assert [levels[middle] for middle in middles] == expected


def test_both_ends_agree() -> None:
    rng = random.Random(5)
    sent = [rng.randrange(256) for _ in range(10)]
    transmitter = UartTransmitter(25_000_000, 3_000_000)
    levels = []

    async def write(ctx):
        await send(ctx, transmitter.i, sent, rng, idle=0.5)
        await ctx.tick().repeat(100)

    async def watch(ctx):
        for _ in range(len(sent) * 90):
            _, _, level = await ctx.tick().sample(transmitter.tx)
            levels.append((level, 1))

    run(transmitter, write, watch)
    assert received(25_000_000, 3_000_000, levels) == sent


@pytest.mark.parametrize(
    ("clock_hz", "baud"),
    [
        (48_000_000, 12_000_000),
        (25_000_000, 3_000_000),
        (12_000_000, 115_200),
        (50_000_000, 12 * 10**6),
    ],
)
def test_bit_period_is_exact_enough(clock_hz: int, baud: int) -> None:
    period, fraction_bits = bit_period(clock_hz, baud)
    exact = clock_hz / baud
    assert abs(period / 2**fraction_bits - exact) <= 0.001 * exact


def test_a_clock_that_is_too_slow_is_refused() -> None:
    with pytest.raises(DataError, match=r"12000000 baud .* limit is 6250000"):
        bit_period(25_000_000, 12_000_000)
