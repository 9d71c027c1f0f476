"""Runs in the simulator: the whole accelerator, through its two pins."""

import random
import struct
import zlib

import cocotb
from cocotb.triggers import Timer
from cocotb.utils import get_sim_time
from design import BAUD, BUILD_NUMBER, CLOCK_HZ, STEPS, image, network, samples
from firstspike.firmware.framing import Frame
from firstspike.firmware.protocol import (
    ANSWER,
    Hello,
    Op,
    Outcome,
    Status,
    encode_sample,
    memory_address,
)
from firstspike.firmware.registers import register_map
from firstspike.sim.golden import infer
from line import Line

LAYERS = len(network.layers)
ADDRESS = {name: address for name, address, _ in register_map(image.config)}


@cocotb.test()
async def greets(dut):
    line = Line(dut)
    await line.start()
    payload = await line.ask(Frame(Op.HELLO, 200))
    assert Hello.decode(payload) == Hello(
        image.config, CLOCK_HZ, BUILD_NUMBER, digest=image.config.digest
    )


@cocotb.test()
async def holds_what_was_loaded(dut):
    line = Line(dut)
    await line.start()
    await line.load(image)
    for number, region in enumerate(image.config.regions):
        contents = image.regions[region.name]
        size = struct.pack("<I", region.words)
        crc = await line.ask(Frame(Op.MEMORY_CRC, 4, memory_address(number, 0), size))
        assert struct.unpack("<I", crc)[0] == zlib.crc32(contents)
        word = random.Random(number).randrange(region.words - 3)
        part = await line.ask(
            Frame(Op.READ_MEMORY, 5, memory_address(number, word), struct.pack("<I", 3))
        )
        assert part == contents[word * region.lanes : (word + 3) * region.lanes]


async def classify(dut, count: int, error: float) -> None:
    """Stream samples through the line and compare each answer with the golden model."""
    line = Line(dut, error=error, seed=count)
    await line.start()
    await line.load(image)
    inputs = samples(count, seed=count)
    requests = []
    for index, sample in enumerate(inputs):
        op, payload = encode_sample(sample)
        requests.append(Frame(op, index & 0xFF, image.crc, payload))
    before = get_sim_time("us")
    answers = await line.ask_all(requests, image.config.buffer_bytes)
    elapsed = get_sim_time("us") - before
    expected = infer(network, inputs)
    for index, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        assert (answer.op, answer.seq, answer.arg) == (request.op | ANSWER, request.seq, Status.OK)
        outcome = Outcome.decode(answer.payload, LAYERS)
        assert (outcome.label, outcome.step, outcome.fired, outcome.rows) == (
            expected.label[index],
            expected.step[index],
            expected.fired[index],
            tuple(expected.rows[index]),
        ), f"sample {index}"
    assert await line.read_register(ADDRESS["inferences"]) == count
    for name in ("frames_damaged", "frames_overrun", "line_errors", "commands_refused", "stalls"):
        assert await line.read_register(ADDRESS[name]) == 0
    # The samples are worth the while: several labels and steps, and some without an output spike.
    assert len(set(expected.label.tolist())) > 3
    assert len(set(expected.step.tolist())) > 3
    assert 0 < expected.fired.sum() < count
    busy = sum(len(request.encode()) for request in requests) * 10e6 / BAUD / (1 + error)
    dut._log.info(f"{count} samples in {elapsed:.0f} us; line busy {100 * busy / elapsed:.0f} %")


@cocotb.test()
async def classifies_like_the_golden_model(dut):
    await classify(dut, 100, 0.0)


@cocotb.test()
async def classifies_at_a_baud_rate_too_low(dut):
    await classify(dut, 30, -0.02)


@cocotb.test()
async def classifies_at_a_baud_rate_too_high(dut):
    await classify(dut, 31, 0.02)


def damage(rng: random.Random, coded: bytes) -> bytes:
    """A flip, a drop, an insertion or a repetition, anywhere in a frame."""
    place = rng.randrange(len(coded))
    match rng.randrange(4):
        case 0:
            return (
                coded[:place] + bytes([coded[place] ^ 1 << rng.randrange(8)]) + coded[place + 1 :]
            )
        case 1:
            return coded[:place] + coded[place + 1 :]
        case 2:
            return coded[:place] + bytes([rng.randrange(256)]) + coded[place:]
        case _:
            return coded[:place] + coded[place:][: rng.randrange(1, 6)] + coded[place:]


@cocotb.test()
async def survives_a_bad_line(dut):
    """A damaged frame gets no answer or the right one, and the frame after it is answered."""
    rng = random.Random(4)
    line = Line(dut, gap=0)
    await line.start()
    await line.load(image)
    inputs = samples(60, seed=2)
    expected = infer(network, inputs)
    frames = await line.read_register(ADDRESS["frames_accepted"])
    for index, sample in enumerate(inputs):
        op, payload = encode_sample(sample)
        request = Frame(op, index, image.crc, payload)
        await line.write(damage(rng, request.encode()) + b"\0")
        await line.write(Frame(Op.READ_REGISTER, 0xFF, ADDRESS["steps"]).encode())
        answers = [await line.answer()]
        while answers[-1].seq != 0xFF:
            answers.append(await line.answer())
        *early, steps = answers
        assert struct.unpack("<I", steps.payload)[0] == STEPS
        for answer in early:
            # Bytes inserted after the ending zero, or zeros, leave the frame as it was.
            assert (answer.op, answer.seq, answer.arg) == (op | ANSWER, index, Status.OK)
            outcome = Outcome.decode(answer.payload, LAYERS)
            assert (outcome.label, outcome.step) == (expected.label[index], expected.step[index])
        frames += len(early) + 2
        assert await line.read_register(ADDRESS["frames_accepted"]) == frames
    damaged = await line.read_register(ADDRESS["frames_damaged"])
    assert len(inputs) // 2 < damaged <= 2 * len(inputs)
    for name in ("frames_overrun", "line_errors"):
        assert await line.read_register(ADDRESS[name]) == 0
    assert line.decoder.dropped == 0


@cocotb.test()
async def survives_noise(dut):
    """Glitches, breaks and random bits between frames."""
    rng = random.Random(5)
    line = Line(dut)
    await line.start()
    for _ in range(20):
        for _ in range(rng.randrange(40)):
            dut.rx.value = rng.randrange(2)
            await Timer(rng.randrange(1_000, 200_000), "ps")
        dut.rx.value = 1
        await Timer(2, "us")
        await line.write(b"\0")
        assert await line.read_register(ADDRESS["steps"]) == 1
    assert await line.read_register(ADDRESS["inferences"]) == 0
    assert await line.read_register(ADDRESS["line_errors"]) > 0
