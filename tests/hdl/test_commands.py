"""The command processor beside a core that is written in Python, against a plain model of both."""

import random
import struct
import zlib

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.formats import NEVER
from firstspike.firmware.protocol import (
    ANSWER,
    Hello,
    Op,
    Status,
    decode_sample,
    encode_sample,
    memory_address,
    split_memory_address,
)
from firstspike.firmware.registers import register_map, register_values
from firstspike.hdl.cobs import packet_byte
from firstspike.hdl.commands import CommandProcessor
from firstspike.hdl.framing import frame_item
from firstspike.hdl.memory_window import FETCH_CYCLES, SHIFT_CYCLES, MemoryPort
from firstspike.hdl.registers import RegisterFile
from firstspike.hdl.token import event_layout, result_layout
from streams import receive, receive_while, run, send

CONFIG = Config(
    [LayerConfig(13, 6, 4, rows=5), LayerConfig(6, 3, 3)], max_steps=20, buffer_bytes=256
)
HELLO = Hello(CONFIG, 25_000_000, 0xCAFE)

#: A number that names what the memories hold, whatever that is.
MODEL = 0x89ABCDEF
(MODEL_ADDRESS,) = (address for name, address, _ in register_map(CONFIG) if name == "model")

Request = tuple[int, int, int, bytes]


class Device(wiring.Component):
    """Command processor and registers."""

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(frame_item)),
                "o": Out(stream.Signature(packet_byte)),
                "events": Out(stream.Signature(event_layout(CONFIG))),
                "results": In(stream.Signature(result_layout(CONFIG))),
                "stalled": In(1),
                "idle": In(1),
                "memory": Out(MemoryPort(CONFIG)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.commands = commands = CommandProcessor(CONFIG, HELLO)
        m.submodules.registers = registers = RegisterFile(CONFIG)
        connect(m, wiring.flipped(self.i), commands.i)
        connect(m, commands.o, wiring.flipped(self.o))
        connect(m, commands.events, wiring.flipped(self.events))
        connect(m, wiring.flipped(self.results), commands.results)
        connect(m, commands.memory, wiring.flipped(self.memory))
        connect(m, commands.registers, registers.bus)
        m.d.comb += [
            commands.idle.eq(self.idle),
            commands.stalled.eq(self.stalled),
            commands.steps.eq(registers.steps),
            commands.model.eq(registers.model),
            registers.void.eq(commands.void),
            registers.commands_refused.eq(commands.refused),
            registers.inferences.eq(commands.inferred),
        ]
        return m


class Model:
    """What the device has to answer, from the protocol's definition alone."""

    def __init__(self) -> None:
        self.registers = {address: entry.reset for _, address, entry in register_map(CONFIG)}
        self.of_model = {address for _, address, entry in register_map(CONFIG) if entry.of_model}
        self.address = {name: address for name, address, _ in register_map(CONFIG)}
        self.registers[self.address["boots"]] = 1
        self.ranges = {self.address[name]: v for name, v in register_values(CONFIG).items()}
        self.memories = [bytearray(region.bytes) for region in CONFIG.regions]
        self.samples: list[list[tuple[int, int]]] = []

    def answer(self, request: Request) -> bytes:
        op, seq, arg, payload = request
        reply = self.execute(op, arg, payload)
        status = Status.OK
        if isinstance(reply, Status):
            status, reply = reply, b""
            self.registers[self.address["commands_refused"]] += 1
        return struct.pack("<BBI", op | ANSWER, seq, status) + reply

    def execute(self, op: int, arg: int, payload: bytes) -> bytes | Status:
        match op:
            case Op.HELLO:
                return Status.BAD_LENGTH if payload else HELLO.encode()
            case Op.READ_REGISTER:
                if payload:
                    return Status.BAD_LENGTH
                if arg not in self.registers:
                    return Status.BAD_ADDRESS
                return struct.pack("<I", self.registers[arg])
            case Op.WRITE_REGISTER:
                if len(payload) != 4:
                    return Status.BAD_LENGTH
                if arg not in self.registers:
                    return Status.BAD_ADDRESS
                if arg not in self.ranges:
                    return Status.READ_ONLY
                (value,) = struct.unpack("<I", payload)
                if value not in self.ranges[arg]:
                    return Status.BAD_VALUE
                self.registers[arg] = value
                if arg in self.of_model:
                    self.registers[self.address["model"]] = 0
                return b""
            case Op.WRITE_MEMORY | Op.READ_MEMORY | Op.MEMORY_CRC:
                return self.access(op, arg, payload)
            case Op.INFER_BITMAP | Op.INFER_SPIKES:
                return self.infer(op, arg, payload)
        return Status.UNKNOWN_OPERATION

    def access(self, op: int, arg: int, payload: bytes) -> bytes | Status:
        number, word = split_memory_address(arg)
        if op != Op.WRITE_MEMORY and len(payload) != 4:
            return Status.BAD_LENGTH
        if number >= len(CONFIG.regions):
            return Status.BAD_ADDRESS
        region, memory = CONFIG.regions[number], self.memories[number]
        if op == Op.WRITE_MEMORY:
            words, rest = divmod(len(payload), region.lanes)
            # A refused write may have stored some of its words.
            fitting = max(min(words, region.words - word), 0)
            if fitting:
                self.registers[self.address["model"]] = 0
            start = word * region.lanes
            memory[start : start + fitting * region.lanes] = payload[: fitting * region.lanes]
            if rest or not words:
                return Status.BAD_LENGTH
            return b"" if fitting == words else Status.BAD_ADDRESS
        (words,) = struct.unpack("<I", payload)
        if word + words > region.words:
            return Status.BAD_ADDRESS
        contents = bytes(memory[word * region.lanes : (word + words) * region.lanes])
        return contents if op == Op.READ_MEMORY else struct.pack("<I", zlib.crc32(contents))

    def infer(self, op: int, arg: int, payload: bytes) -> bytes | Status:
        steps = self.registers[self.address["steps"]]
        sample = decode_sample(op, payload, CONFIG.inputs, steps)
        model = self.registers[self.address["model"]]
        if sample is not Status.BAD_LENGTH and (arg != model or not model):
            return Status.NO_MODEL
        if isinstance(sample, Status):
            return sample
        # Whether an input is listed twice is the host's concern; the list is passed on as it is.
        events = sorted((int(step), index) for index, step in enumerate(sample) if step != NEVER)
        self.samples.append(events)
        self.registers[self.address["inferences"]] += 1
        result = decide(events)
        head = (result["cycles"], result["label"], result["step"], result["fired"])
        return struct.pack("<IHHH2H", *head, *result["rows"])


def decide(events: list[tuple[int, int]]) -> dict:
    """Any function of a sample will do for a core."""
    total = sum((step + 3) * (index + 5) for step, index in events)
    return {
        "label": total % 3,
        "step": total % 20,
        "fired": total & 1,
        "cycles": total * 77_777 % (1 << 32),
        "rows": [total % 6, total % 5],
    }


class Core:
    """Takes samples and gives results, slowly; keeps the memories and watches over the rules."""

    def __init__(self, dut: Device, rng: random.Random) -> None:
        self.dut = dut
        self.rng = rng
        self.done = False
        self.busy = False
        self.samples: list[list[tuple[int, int]]] = []
        self.memories = [[bytes(region.lanes)] * region.words for region in CONFIG.regions]

    async def run_samples(self, ctx) -> None:
        dut = self.dut
        ctx.set(dut.idle, 1)
        while not self.done:
            events = []
            while not self.done:
                found = await receive_while(ctx, dut.events, self._once(), self.rng)
                self.busy |= bool(found)
                ctx.set(dut.idle, not self.busy)
                ctx.set(dut.events.ready, 0)
                if found and found[0].end:
                    break
                events += [(item.step, item.index) for item in found]
            else:
                return
            self.samples.append(events)
            await ctx.tick().repeat(self.rng.randrange(1, 60))
            await send(ctx, dut.results, [decide(events)], self.rng)
            # It may have to clean up.
            await ctx.tick().repeat(self.rng.randrange(1, 5))
            self.busy = False
            ctx.set(dut.idle, 1)

    @staticmethod
    def _once():
        passes = iter((True, False))
        return lambda: next(passes)

    async def serve_memory(self, ctx) -> None:
        port = self.dut.memory
        window = bytearray()
        ready_in = 0
        pending = b""
        ports = (port.region, port.word, port.shift, port.byte, port.store, port.fetch)
        held = None
        blind = 0
        while not self.done:
            *_, region, word, shift, byte, store, fetch = await ctx.tick().sample(*ports)
            if shift or store or fetch:
                assert not self.busy, "memory is used while a sample is in the core"
            if ready_in:
                assert (region, word) == held, "the address is not held"
                assert not store
                assert not fetch
                ready_in -= 1
                if not ready_in and pending:
                    window, pending = bytearray(pending), b""
            if shift and region < len(CONFIG.regions):
                lanes = CONFIG.regions[region].lanes
                window = bytearray((bytes(window) + bytes(lanes))[1:lanes] + bytes([byte]))
            if store or fetch:
                held, ready_in = (region, word), FETCH_CYCLES - 1
                if store:
                    self.memories[region][word] = bytes(window)
                else:
                    pending = self.memories[region][word]
            blind = SHIFT_CYCLES - 1 if shift else max(blind - 1, 0)
            ctx.set(port.byte_out, window[0] if window and not pending and not blind else 0xEE)


def items_of(frame: bytes) -> list[dict]:
    """What a deframer makes of a frame."""
    return [*({"data": byte, "end": 0} for byte in frame), {"data": 0, "end": 1}]


def name_model() -> list[dict]:
    return items_of(struct.pack("<BBII", Op.WRITE_REGISTER, 0, MODEL_ADDRESS, MODEL))


def converse(requests: list[Request], seed: int, cycles: int = 60_000) -> None:
    """Send requests to the device and compare every answer, sample and memory with the model."""
    dut = Device()
    rng = random.Random(seed)
    core = Core(dut, random.Random(seed))
    model = Model()
    expected = b"".join(model.answer(request) for request in requests)

    async def write(ctx):
        for op, seq, arg, payload in requests:
            items = items_of(struct.pack("<BBI", op, seq, arg) + payload)
            await send(ctx, dut.i, items, rng, idle=0.05)

    async def read(ctx):
        items = await receive(ctx, dut.o, len(expected), rng, busy=0.1)
        answered = b"".join(bytes([item.data]) for item in items)
        assert answered == expected
        await ctx.tick().repeat(100)
        core.done = True

    run(dut, write, read, core.run_samples, core.serve_memory, cycles=cycles)
    assert core.samples == model.samples
    for number, memory in enumerate(core.memories):
        assert b"".join(memory) == model.memories[number]


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def random_sample(rng: random.Random, steps: int) -> tuple[Op, bytes]:
    sample = [rng.choice((NEVER, rng.randrange(steps))) for _ in range(CONFIG.inputs)]
    if rng.random() < 0.5:
        sample = [step if step == NEVER else 0 for step in sample]
    return encode_sample(np.array(sample))


def random_request(rng: random.Random) -> tuple[int, int, bytes]:
    """Something that a host could ask for, or nearly."""
    number = rng.randrange(len(CONFIG.regions) + 1)
    region = CONFIG.regions[number % len(CONFIG.regions)]
    word = rng.choice((0, rng.randrange(region.words + 2), 1 << 23))
    address = memory_address(number, word)
    match rng.randrange(15):
        case 0:
            return Op.READ_REGISTER, rng.randrange(0x14), b""
        case 1:
            return Op.WRITE_REGISTER, rng.randrange(0x14), u32(rng.choice((0, 1, 3, 4, 20, 21)))
        case 2 | 3:
            size = region.lanes * rng.randrange(4) + (rng.random() < 0.2)
            return Op.WRITE_MEMORY, address, rng.randbytes(size)
        case 4:
            return Op.READ_MEMORY, address, u32(rng.choice((0, 1, 3, 1 << 31)))
        case 5:
            return Op.MEMORY_CRC, address, u32(rng.choice((0, 1, 5)))
        case 6:
            return rng.randrange(256), rng.getrandbits(32), rng.randbytes(rng.randrange(9))
        case 7:
            return rng.choice(list(Op)), rng.getrandbits(6), rng.randbytes(rng.randrange(9))
        case 8 | 9:
            return Op.WRITE_REGISTER, MODEL_ADDRESS, u32(rng.choice((0, MODEL, MODEL, 1)))
        case _:
            op, payload = random_sample(rng, 4)
            return op, rng.choice((MODEL, MODEL, MODEL, 0, 1)), payload


@pytest.mark.parametrize("seed", range(3))
def test_any_conversation(seed: int) -> None:
    rng = random.Random(seed)
    requests = [(Op.WRITE_REGISTER, 0, 0, u32(4)), (Op.HELLO, 1, 0, b"")]
    for seq in range(70):
        op, arg, payload = random_request(rng)
        requests.append((op, seq, arg, payload))
    requests += [(Op.READ_REGISTER, 0, address, b"") for address in Model().registers]
    converse(requests, seed)


def test_samples_that_are_refused() -> None:
    steps = 0x8000
    lists = [
        b"",  # no spike is a sample, too
        b"\1",
        struct.pack("<H", 13),
        struct.pack("<2H", steps | 4, 1),
        struct.pack("<4H", steps | 2, 1, steps | 1, 2),
        struct.pack("<4H", steps | 2, 1, steps | 2, 2),
        struct.pack("<H", 13) + b"\1",
        struct.pack("<13H", *range(13)),
        struct.pack("<14H", *range(13), 0),
        struct.pack("<6H", *(steps | step for step in (0, 1, 2, 3, 3, 3))),
    ]
    bitmaps = [b"", b"\1", bytes(2), bytes(3), b"\xff\x1f", b"\xff\x20", b"\0\x80", b"\xff\xff\xff"]
    requests = [(Op.WRITE_REGISTER, 0, 0, u32(4))]
    for model in (0, MODEL, MODEL ^ 1, MODEL ^ 1 << 31):
        requests += [(Op.WRITE_REGISTER, 1, MODEL_ADDRESS, u32(model))]
        requests += [(Op.INFER_SPIKES, seq, MODEL, payload) for seq, payload in enumerate(lists)]
        requests += [(Op.INFER_BITMAP, seq, MODEL, payload) for seq, payload in enumerate(bitmaps)]
    requests += [(Op.WRITE_REGISTER, 1, MODEL_ADDRESS, u32(0)), (Op.INFER_BITMAP, 2, 0, bytes(2))]
    converse(requests, seed=9)


@pytest.mark.parametrize(
    "name", [name for name, _, entry in register_map(CONFIG) if entry.of_model]
)
def test_what_changes_the_model_unnames_it(name: str) -> None:
    """Written with the very value that it has."""
    model = Model()
    value = u32(model.registers[model.address[name]])
    named = (Op.WRITE_REGISTER, 0, MODEL_ADDRESS, u32(MODEL))
    infer = (Op.INFER_BITMAP, 1, MODEL, b"\xff\x1f")
    converse([named, infer, (Op.WRITE_REGISTER, 2, model.address[name], value), infer], seed=1)


def test_only_words_that_are_stored_unname_the_model() -> None:
    named = (Op.WRITE_REGISTER, 0, MODEL_ADDRESS, u32(MODEL))
    infer = (Op.INFER_BITMAP, 1, MODEL, b"\xff\x1f")
    lanes, words = CONFIG.regions[0].lanes, CONFIG.regions[0].words
    requests = [named]
    for address, size in ((0, lanes - 1), (words, lanes), (0, 0), (0, lanes), (1, lanes + 1)):
        write = (Op.WRITE_MEMORY, 2, memory_address(0, address), bytes(range(size)))
        requests += [named, write, infer]
    converse(requests, seed=2)


def test_the_next_sample_waits_complete_while_the_core_works() -> None:
    dut = Device()
    op, payload = Op.INFER_BITMAP, b"\xff\x1f"

    async def bench(ctx):
        ctx.set(dut.idle, 1)
        rng = random.Random(0)
        await send(ctx, dut.i, name_model(), rng, idle=0)
        await receive(ctx, dut.o, 6, rng, busy=0)
        frame = struct.pack("<BBI", op, 0, MODEL) + payload
        items = items_of(frame)
        await send(ctx, dut.i, items, rng, idle=0)
        assert len(await receive(ctx, dut.events, 14, rng, busy=0)) == 14
        # All but the end of the next frame is taken, although the core has not answered.
        await send(ctx, dut.i, items[:-1], rng, idle=0)
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.events.valid)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.payload, items[-1])
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.results.valid, 1)
        await ctx.tick().until(dut.results.ready)
        ctx.set(dut.results.valid, 0)
        # Then the sample starts at once, an event a cycle.
        await ctx.tick().repeat(3)
        ctx.set(dut.events.ready, 1)
        for _ in range(14):
            assert ctx.get(dut.events.valid)
            await ctx.tick()

    run(dut, bench, cycles=1_000)
