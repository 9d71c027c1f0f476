import random

import pytest
from cobs import cobs
from firstspike.firmware.framing import cobs_decode, cobs_encode
from firstspike.hdl.cobs import CobsDecoder, CobsEncoder
from streams import receive, receive_while, run, send


def packets(seed: int) -> list[bytes]:
    """Corner cases of block lengths, and random bytes with few and with many zeros."""
    rng = random.Random(seed)
    corners = [b"\0", b"\0\0", b"\1", b"\0\1", b"\1\0"]
    for length in (253, 254, 255, 508, 509):
        run_ = bytes(rng.randrange(1, 256) for _ in range(length))
        corners += [run_, run_ + b"\0", b"\0" + run_, run_ + b"\0" + run_[:3]]
    return corners + [
        bytes(rng.choice((0, *range(1, top))) for _ in range(rng.randrange(1, 40)))
        for top in (2, 4, 256)
        for _ in range(10)
    ]


@pytest.mark.parametrize("busy", [0.0, 0.4])
def test_encoder(busy: float) -> None:
    rng = random.Random(1)
    sent = packets(1)
    expected = b"".join(cobs_encode(packet) + b"\0" for packet in sent)
    dut = CobsEncoder()

    async def write(ctx):
        for packet in sent:
            items = [
                {"data": byte, "last": position == len(packet) - 1}
                for position, byte in enumerate(packet)
            ]
            await send(ctx, dut.i, items, rng, idle=busy)

    async def read(ctx):
        coded = bytes(await receive(ctx, dut.o, len(expected), rng, busy))
        assert coded == expected
        assert [cobs.decode(frame) for frame in coded.split(b"\0")[:-1]] == sent

    run(dut, write, read)


def decode(dut, coded: bytes, seed: int) -> list[tuple[bytes, bool]]:
    """Packets that the decoder made of ``coded``, each with its verdict."""
    rng = random.Random(seed)
    decoded = []
    sending = True

    async def write(ctx):
        nonlocal sending
        await send(ctx, dut.i, coded, rng)
        await ctx.tick().repeat(3)
        sending = False

    async def read(ctx):
        packet = bytearray()
        for item in await receive_while(ctx, dut.o, lambda: sending, rng):
            if item.end:
                decoded.append((bytes(packet), bool(item.good)))
                packet.clear()
            else:
                packet.append(item.data)

    run(dut, write, read)
    return decoded


def test_decoder_inverts_an_independent_encoder() -> None:
    sent = packets(2)
    coded = b"\0\0" + b"".join(cobs.encode(packet) + b"\0" for packet in sent)
    assert decode(CobsDecoder(), coded, 2) == [(packet, True) for packet in sent]


def test_decoder_agrees_with_the_contract_on_any_bytes() -> None:
    rng = random.Random(3)
    runs = [
        bytes(rng.randrange(1, rng.choice((4, 16, 256))) for _ in range(rng.randrange(1, 20)))
        for _ in range(150)
    ]
    coded = b"".join(run_ + b"\0" for run_ in runs)
    verdicts = decode(CobsDecoder(), coded, 3)
    assert len(verdicts) == len(runs)
    for run_, (decoded, good) in zip(runs, verdicts, strict=True):
        expected = cobs_decode(run_)
        assert good == (expected is not None)
        if good:
            assert decoded == expected


@pytest.mark.parametrize(
    ("packet", "coded"),
    [
        (b"\1\2\3\4", b"\4\1\2\3\2\4\0"),
        (b"\1\2\3", b"\4\1\2\3\1\0"),
        (b"\1\2\3\0", b"\4\1\2\3\1\1\0"),
    ],
)
def test_shorter_full_run(packet: bytes, coded: bytes) -> None:
    encoder = CobsEncoder(full_run=3)

    async def write(ctx):
        items = [
            {"data": byte, "last": place == len(packet) - 1} for place, byte in enumerate(packet)
        ]
        await send(ctx, encoder.i, items, random.Random(4))

    async def read(ctx):
        assert bytes(await receive(ctx, encoder.o, len(coded), random.Random(5))) == coded

    run(encoder, write, read)
    assert decode(CobsDecoder(full_run=3), coded, 6) == [(packet, True)]
