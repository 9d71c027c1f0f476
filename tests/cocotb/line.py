"""The host's end of a serial line, bit by bit in simulated time."""

import random
import struct
from collections.abc import Iterable

import cocotb
from cocotb.clock import Clock
from cocotb.queue import Queue
from cocotb.triggers import ClockCycles, FallingEdge, Timer, with_timeout
from design import BAUD, CLOCK_HZ
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.image import Image
from firstspike.firmware.protocol import ANSWER, Op, Status, memory_address
from firstspike.firmware.registers import register_map

__all__ = ["Line"]

_PICOSECONDS = 10**12


class Line:
    """Sends and receives frames through the pins of a ``SerialAccelerator``.

    Parameters
    ----------
    dut
    error : float
        By how much the host's baud rate is too high.
    gap : float
        Share of the bytes that the line is idle before, for up to three bits.
    """

    def __init__(self, dut, *, error: float = 0.0, gap: float = 0.2, seed: int = 0) -> None:
        self.dut = dut
        self.answers: Queue[Frame] = Queue()
        self.decoder = FrameDecoder()
        self._bit = round(_PICOSECONDS / BAUD / (1 + error))
        self._gap = gap
        self._rng = random.Random(seed)

    async def start(self) -> None:
        """Start the clock, reset, listen."""
        period = round(_PICOSECONDS / CLOCK_HZ / 2) * 2
        self.dut.rx.value = 1
        self.dut.rst.value = 1
        cocotb.start_soon(Clock(self.dut.clk, period, "ps").start())
        await ClockCycles(self.dut.clk, 3)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 3)
        cocotb.start_soon(self._listen())

    async def write(self, data: bytes) -> None:
        """Send raw bytes."""
        rx = self.dut.rx
        for byte in data:
            if self._rng.random() < self._gap:
                await Timer(self._rng.randrange(1, 3 * self._bit), "ps")
            for level in (0, *(byte >> position & 1 for position in range(8)), 1):
                rx.value = level
                await Timer(self._bit, "ps")

    async def _listen(self) -> None:
        tx = self.dut.tx
        while True:
            await FallingEdge(tx)
            await Timer(self._bit // 2, "ps")
            assert tx.value == 0, "a glitch on tx"
            byte = 0
            for position in range(8):
                await Timer(self._bit, "ps")
                byte |= int(tx.value) << position
            await Timer(self._bit, "ps")
            assert tx.value == 1, "a stop bit is missing on tx"
            for frame in self.decoder.feed(bytes([byte])):
                self.answers.put_nowait(frame)

    async def answer(self, milliseconds: int = 5) -> Frame:
        """The next frame from the device."""
        return await with_timeout(self.answers.get(), milliseconds, "ms")

    async def ask(self, frame: Frame) -> bytes:
        """Send a request and return the payload of its answer, which must be ``OK``."""
        await self.write(frame.encode())
        answer = await self.answer()
        assert (answer.op, answer.seq) == (frame.op | ANSWER, frame.seq)
        assert answer.arg == Status.OK, Status(answer.arg).sentence
        return answer.payload

    async def ask_all(self, frames: Iterable[Frame], buffer_bytes: int) -> list[Frame]:
        """Send requests with no more bytes in flight than the device holds; answers in order."""
        in_flight: list[int] = []
        answers = []

        async def settle() -> None:
            answers.append(await self.answer())
            in_flight.pop(0)

        for frame in frames:
            coded = frame.encode()
            while sum(in_flight) + len(coded) > buffer_bytes:
                await settle()
            in_flight.append(len(coded))
            await self.write(coded)
        while in_flight:
            await settle()
        return answers

    async def read_register(self, address: int) -> int:
        return struct.unpack("<I", await self.ask(Frame(Op.READ_REGISTER, 1, address)))[0]

    async def write_register(self, address: int, value: int) -> None:
        await self.ask(Frame(Op.WRITE_REGISTER, 2, address, struct.pack("<I", value)))

    async def load(self, image: Image) -> None:
        """Write registers and memories, in frames that fit the device's buffer, then the model."""
        addresses = {name: address for name, address, _ in register_map(image.config)}
        for name, value in image.registers.items():
            await self.write_register(addresses[name], value)
        for number, region in enumerate(image.config.regions):
            contents = image.regions[region.name]
            words = (image.config.buffer_bytes - 32) // region.lanes
            for word in range(0, region.words, words):
                part = contents[word * region.lanes : (word + words) * region.lanes]
                await self.ask(Frame(Op.WRITE_MEMORY, 3, memory_address(number, word), part))
        await self.write_register(addresses["model"], image.crc)
