import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.hdl.framing import Deframer, Framer, frame_item
from firstspike.hdl.packet_buffer import PacketBuffer
from streams import receive, receive_while, run, send


class Receiver(wiring.Component):
    """A deframer with its buffer, as in the accelerator, and its counters."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(frame_item)),
                "commit": Out(1),
                "damaged": Out(1),
                "overrun": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.deframer = deframer = Deframer()
        m.submodules.buffer = buffer = PacketBuffer(frame_item, self.depth)
        connect(m, wiring.flipped(self.i), deframer.i)
        connect(m, deframer.o, buffer.i)
        connect(m, buffer.o, wiring.flipped(self.o))
        m.d.comb += [
            buffer.commit.eq(deframer.commit),
            buffer.discard.eq(deframer.discard),
            self.commit.eq(deframer.commit),
            self.damaged.eq(deframer.damaged),
            self.overrun.eq(deframer.overrun),
        ]
        return m


def receive_frames(
    line: bytes, *, depth: int = 1024, busy: float = 0.3
) -> tuple[list[bytes], int, int, int]:
    """Bodies of the frames that came out, and how many were taken, damaged and without room."""
    dut = Receiver(depth)
    rng = random.Random(len(line))
    frames = []
    counts = np.zeros(3, int)
    sending = True

    async def write(ctx):
        nonlocal sending
        await send(ctx, dut.i, line, rng, idle=0.1)
        await ctx.tick().repeat(depth)
        sending = False

    async def count(ctx):
        while sending:
            _, _, *happened = await ctx.tick().sample(dut.commit, dut.damaged, dut.overrun)
            counts[:] += happened

    async def read(ctx):
        body = bytearray()
        for item in await receive_while(ctx, dut.o, lambda: sending, rng, busy):
            if item.end:
                frames.append(bytes(body))
                body.clear()
            else:
                body.append(item.data)

    run(dut, write, count, read)
    return frames, *counts.tolist()


def body(frame: Frame) -> bytes:
    """What stands in a frame before the CRC."""
    return bytes([frame.op, frame.seq]) + frame.arg.to_bytes(4, "little") + frame.payload


def random_frame(rng: random.Random, longest: int = 40) -> Frame:
    payload = bytes(rng.choice((0, rng.randrange(256))) for _ in range(rng.randrange(longest)))
    return Frame(rng.randrange(256), rng.randrange(256), rng.getrandbits(32), payload)


def damage(rng: random.Random, line: bytes) -> bytes:
    """A flip, a drop, an insertion or a repetition."""
    place = rng.randrange(len(line))
    match rng.randrange(4):
        case 0:
            return line[:place] + bytes([line[place] ^ 1 << rng.randrange(8)]) + line[place + 1 :]
        case 1:
            return line[:place] + line[place + 1 :]
        case 2:
            return line[:place] + bytes([rng.randrange(256)]) + line[place:]
        case _:
            return line[:place] + line[place:][:5] + line[place:]


@pytest.mark.parametrize("seed", range(3))
def test_deframer_agrees_with_the_contract(seed: int) -> None:
    rng = random.Random(seed)
    line = b"\0"
    for _ in range(40):
        coded = random_frame(rng).encode()
        line += coded if rng.random() < 0.5 else damage(rng, coded)
        if rng.random() < 0.3:
            line += b"\0"
    decoder = FrameDecoder()
    expected = [body(frame) for frame in decoder.feed(line)]
    frames, *counts = receive_frames(line)
    assert frames == expected
    assert counts == [decoder.accepted, decoder.dropped, 0]


def test_no_damage_of_one_bit_gets_through() -> None:
    coded = Frame(7, 1, 2, b"abc\0def").encode()
    line = b"\0"
    for position in range(8 * len(coded)):
        flipped = bytearray(coded)
        flipped[position // 8] ^= 1 << position % 8
        line += bytes(flipped) + b"\0"
    assert receive_frames(line)[0] == []


def test_a_frame_without_room_is_dropped_and_the_next_is_not() -> None:
    short, long = Frame(1, 2, 3, b"x"), Frame(1, 2, 3, bytes(70))
    line = b"".join(frame.encode() for frame in (short, long, short, long, short))
    assert receive_frames(line, depth=64, busy=0) == ([body(short)] * 3, 3, 0, 2)


def test_a_frame_without_room_that_is_damaged_is_damaged() -> None:
    coded = bytearray(Frame(1, 2, 3, bytes(70)).encode())
    coded[20] ^= 2
    assert receive_frames(bytes(coded), depth=64, busy=0) == ([], 0, 1, 0)


def test_a_full_buffer_drops_whole_frames_only() -> None:
    frames = [Frame(1, seq, 3, bytes(20)) for seq in range(12)]
    line = b"".join(frame.encode() for frame in frames)
    received, accepted, damaged, overrun = receive_frames(line, depth=64, busy=0.9)
    assert accepted + overrun == len(frames)
    assert overrun
    assert not damaged
    assert set(received) <= {body(frame) for frame in frames}


def test_framer() -> None:
    rng = random.Random(1)
    frames = [random_frame(rng) for _ in range(15)] + [Frame(1, 2, 3, bytes(range(1, 255)) * 2)]
    expected = b"".join(frame.encode() for frame in frames)
    dut = Framer()

    async def write(ctx):
        for frame in frames:
            data = body(frame)
            items = [
                {"data": byte, "last": place == len(data) - 1} for place, byte in enumerate(data)
            ]
            await send(ctx, dut.i, items, rng)

    async def read(ctx):
        assert bytes(await receive(ctx, dut.o, len(expected), rng)) == expected

    run(dut, write, read)
