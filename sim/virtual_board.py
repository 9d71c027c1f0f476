"""A board that is not there: it speaks the link's protocol byte by byte, and keeps time.

:class:`VirtualBoard` is the line and its clock. Behind it stands a backend, which is the device:
:class:`ModelBackend` here, which behaves like one, or
:class:`~firstspike.sim.engine.AcceleratorSimulation`, which is the gateware itself. To the host the
board is a transport like a serial port.

Time is counted in cycles of the device's clock and passes only where time passes on a desk: while
bytes are on the line, while the device works, and while the host waits for an answer. What the host
computes in between takes none, so the accounting does not depend on the machine that it runs on.
"""

import struct
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..firmware.config import Config, Region
from ..firmware.errors import DataError, DeviceLost
from ..firmware.framing import FRAME_OVERHEAD, Frame, FrameDecoder
from ..firmware.image import Image
from ..firmware.layout import pack_weights, unpack_row_map, unpack_weights
from ..firmware.learning import Progress, Rule
from ..firmware.network import Network
from ..firmware.protocol import (
    ANSWER,
    Hello,
    Op,
    Outcome,
    Status,
    decode_sample,
    split_memory_address,
)
from ..firmware.registers import register_map, register_values
from . import fast
from .cycles import predict
from .fast_learner import Learner
from .warm_up import warm_up

__all__ = [
    "BITS_A_BYTE",
    "DEFAULT_CLOCK_HZ",
    "Backend",
    "LineUse",
    "ModelBackend",
    "VirtualBoard",
]

#: Start bit, eight data bits, stop bit.
BITS_A_BYTE = 10

#: A clock that the usual baud rates divide.
DEFAULT_CLOCK_HZ = 48_000_000

#: A UART that is off by more than this loses bytes.
_BAUD_TOLERANCE = 0.02

#: What a sample is told for which memories and registers hold no network: rows that are not built,
#: weights out of their range, crossings of another threshold. The gateware reads what it finds, and
#: what comes of it is nowhere specified.
_NO_NETWORK = Status.NO_MODEL

_U32 = struct.Struct("<I")


class Backend(Protocol):
    """A device at the far end of a line that carries a byte in ``byte_cycles`` cycles.

    Attributes
    ----------
    clock_hz : int
    byte_cycles : int
        Set by the board before anything else.
    """

    clock_hz: int
    byte_cycles: int

    def send(self, data: bytes, start: int) -> None:
        """Put bytes on the line to the device, one after the other from cycle ``start`` on.

        ``start`` is not before the end of the bytes sent before, nor before the last ``deadline``.
        """

    def receive(self, deadline: int) -> tuple[bytes, int]:
        """Run until the device has sent a zero byte, at most to cycle ``deadline``.

        Returns
        -------
        data : bytes
            What the device has sent since the last call, the zero included; empty if there was
            nothing.
        end : int
            Cycle in which the last of these bytes has left the line.
        """

    def reset(self, *, power: bool = False) -> None:
        """Reset the device now; with ``power``, as if it had been switched off and on again."""

    def close(self) -> None:
        """Free what the device holds."""


@dataclass(frozen=True)
class LineUse:
    """How busy the line was over a span of virtual time.

    Parameters
    ----------
    elapsed : float
        Seconds.
    to_device, to_host : float
        Seconds in which a byte was on the line in this direction.
    """

    elapsed: float
    to_device: float
    to_host: float

    def __sub__(self, earlier: "LineUse") -> "LineUse":
        """Use between two readings."""
        return LineUse(
            self.elapsed - earlier.elapsed,
            self.to_device - earlier.to_device,
            self.to_host - earlier.to_host,
        )

    def __str__(self) -> str:
        percent = 100 / self.elapsed if self.elapsed else 0.0
        return (
            f"{self.elapsed:.4f} s, busy {percent * self.to_device:.1f} % to the device, "
            f"{percent * self.to_host:.1f} % to the host"
        )


class VirtualBoard:
    """A transport to a device that is simulated.

    Serves one thread: time passes in :meth:`read` alone.

    Parameters
    ----------
    backend : Backend
    baud : int
        Bits a second on the line in each direction.
    latency : float
        Seconds that a byte takes between the host's program and the line, one way, as in the USB
        stack of a serial adapter.

    Raises
    ------
    DataError
        If the device's clock cannot be divided down to ``baud`` within 2 %.
    """

    def __init__(self, backend: Backend, *, baud: int = 3_000_000, latency: float = 0.0) -> None:
        bit_cycles = round(backend.clock_hz / baud) if baud > 0 else 0
        if not bit_cycles or abs(backend.clock_hz / bit_cycles / baud - 1) > _BAUD_TOLERANCE:
            raise DataError(
                f"a clock of {backend.clock_hz} Hz cannot be divided down to {baud} baud; choose a "
                "rate that divides it"
            )
        if latency < 0:
            raise DataError(f"the latency is {latency} s, but it takes at least 0")
        self._backend = backend
        self._clock_hz = backend.clock_hz
        backend.byte_cycles = self._byte_cycles = BITS_A_BYTE * bit_cycles
        self._latency = round(latency * self._clock_hz)
        self._now = 0
        self._line_free = 0
        self._sent = 0
        self._received = 0
        self._open = True

    @property
    def use(self) -> LineUse:
        """Time and line use since the board was made."""
        second = self._byte_cycles / self._clock_hz
        return LineUse(self.clock(), self._sent * second, self._received * second)

    def clock(self) -> float:
        """Seconds since the board was made."""
        return self._now / self._clock_hz

    def write(self, data: bytes) -> None:
        """Send bytes; they queue up for the line and the call returns at once.

        Raises
        ------
        DeviceLost
            If the board is closed.
        """
        self._check_open()
        start = max(self._line_free, self._now + self._latency)
        self._backend.send(data, start)
        self._line_free = start + len(data) * self._byte_cycles
        self._sent += len(data)

    def read(self, timeout: float) -> bytes:
        """Wait for bytes, at most ``timeout`` seconds of virtual time.

        Returns
        -------
        bytes
            What has arrived up to the end of the next frame; empty if nothing came in time.

        Raises
        ------
        DeviceLost
            If the board is closed.
        """
        self._check_open()
        deadline = self._now + round(timeout * self._clock_hz)
        data, end = self._backend.receive(deadline - self._latency)
        self._received += len(data)
        self._now = max(self._now, end + self._latency) if data else deadline
        return data

    def reset(self, *, power: bool = False) -> None:
        """Reset the device, in the middle of whatever it does; its port stays.

        Parameters
        ----------
        power : bool
            Whether it is its power that goes and comes: then its memories are lost as well.
        """
        self._check_open()
        self._backend.reset(power=power)

    def close(self) -> None:
        """Unplug the board; closing twice does nothing."""
        if self._open:
            self._open = False
            self._backend.close()

    def _check_open(self) -> None:
        if not self._open:
            raise DeviceLost("the virtual board was closed; open another one")


class ModelBackend:
    """A device that behaves like the gateware: same answers, same counters, nearly the same timing.

    What it infers with, and learns, is the network that its memories hold, not one that it was
    given. Frames wait in a buffer of the configuration's size and are dropped if there is no room.
    Learning takes no time.

    Parameters
    ----------
    config : Config
    clock_hz : int
    build : int
        32 bits that the greeting tells.
    """

    def __init__(self, config: Config, *, clock_hz: int = DEFAULT_CLOCK_HZ, build: int = 0) -> None:
        warm_up(config)
        self.clock_hz = clock_hz
        self.byte_cycles = BITS_A_BYTE
        self._config = config
        self._greeting = Hello(config, clock_hz, build).encode()
        self._registers = {address: (name, entry) for name, address, entry in register_map(config)}
        self._address = {name: address for name, address, _ in register_map(config)}
        self._accepted = register_values(config)
        self._memories = [bytearray(region.bytes) for region in config.regions]
        # What was last unpacked from the memories, or learned from it and is yet to go back there.
        self._network: Network | None = None
        self._learner: Learner | None = None
        #: Bytes on their way in: data and the cycle in which the first of them starts.
        self._incoming: deque[tuple[bytes, int]] = deque()
        #: Frames that wait or are being worked on: when they are done, and their size.
        self._held: deque[tuple[int, int]] = deque()
        #: Frames on their way out: data, and the cycle in which they have left the line.
        self._outgoing: deque[tuple[bytes, int]] = deque()
        self._busy_until = 0
        self._line_free = 0
        self._start(boots=1)
        self._handlers: dict[int, Callable[[Frame], tuple[bytes | Status, int]]] = {
            Op.HELLO: self._hello,
            Op.READ_REGISTER: self._read_register,
            Op.WRITE_REGISTER: self._write_register,
            Op.WRITE_MEMORY: self._write_memory,
            Op.MEMORY_CRC: self._memory_crc,
            Op.READ_MEMORY: self._read_memory,
            Op.INFER_BITMAP: self._infer,
            Op.INFER_SPIKES: self._infer,
        }
        if config.learning:
            self._handlers |= {Op.LEARN_BITMAP: self._learn, Op.LEARN_SPIKES: self._learn}

    def send(self, data: bytes, start: int) -> None:
        """See :meth:`Backend.send`."""
        self._incoming.append((data, start))

    def receive(self, deadline: int) -> tuple[bytes, int]:
        """See :meth:`Backend.receive`."""
        while not self._outgoing and self._incoming:
            data, start = self._incoming.popleft()
            # One frame at a time, so that a batch costs no more memory than its requests.
            length = data.find(b"\0") + 1 or len(data)
            end = start + length * self.byte_cycles
            if end > deadline:
                # Bytes before the deadline change nothing until the rest of their frame is here.
                self._incoming.appendleft((data, start))
                break
            if length < len(data):
                self._incoming.appendleft((data[length:], end))
            for frame in self._decoder.feed(data[:length]):
                self._accept(frame, end)
        if self._outgoing and self._outgoing[0][1] <= deadline:
            return self._outgoing.popleft()
        return b"", deadline

    def reset(self, *, power: bool = False) -> None:
        """See :meth:`Backend.reset`. Answers that have not left are lost."""
        self._keep_learned()
        boots = self._values[self._address["boots"]]
        if power:
            garbage = np.random.default_rng(boots)
            for memory, region in zip(self._memories, self._config.regions, strict=True):
                memory[:] = _held(garbage.bytes(region.bytes), region)
        self._network = None
        self._held.clear()
        self._outgoing.clear()
        self._start(boots=1 if power else boots + 1)

    def close(self) -> None:
        """See :meth:`Backend.close`."""

    def _start(self, boots: int) -> None:
        """Come out of a reset."""
        self._values = {address: entry.reset for address, (_, entry) in self._registers.items()}
        self._values[self._address["boots"]] = boots
        # Registers that count as unknown, since nobody has written them.
        self._unset = {address for address, (_, entry) in self._registers.items() if entry.unset}
        self._decoder = FrameDecoder(self._config.buffer_bytes)

    def _accept(self, frame: Frame, now: int) -> None:
        """Take a frame that is whole in cycle ``now``, and answer it."""
        while self._held and self._held[0][0] <= now:
            self._held.popleft()
        size = FRAME_OVERHEAD + len(frame.payload)
        if sum(held for _, held in self._held) + size > self._config.buffer_bytes:
            self._decoder.accepted -= 1
            self._count("frames_overrun")
            return
        handler = self._handlers.get(frame.op)
        answer, cycles = handler(frame) if handler else (Status.UNKNOWN_OPERATION, 0)
        status = Status.OK
        if isinstance(answer, Status):
            status, answer = answer, b""
            self._count("commands_refused")
        coded = Frame(frame.op | ANSWER, frame.seq, status, answer).encode()

        # The next frame waits until this one's answer is on its way.
        start = max(max(self._busy_until, now) + size + cycles, self._line_free)
        self._busy_until = start
        self._held.append((start, size))
        self._line_free = start + len(coded) * self.byte_cycles
        self._outgoing.append((coded, self._line_free))

    def _count(self, name: str) -> None:
        address = self._address[name]
        self._values[address] += 1

    # Operations give the answer's payload or what refuses it, and the cycles that they take.

    def _hello(self, frame: Frame) -> tuple[bytes | Status, int]:
        if frame.payload:
            return Status.BAD_LENGTH, 0
        return self._greeting, 0

    def _read_register(self, frame: Frame) -> tuple[bytes | Status, int]:
        if frame.payload:
            return Status.BAD_LENGTH, 0
        if frame.arg not in self._registers:
            return Status.BAD_ADDRESS, 0
        self._values[self._address["frames_accepted"]] = self._decoder.accepted
        self._values[self._address["frames_damaged"]] = self._decoder.dropped
        _, register = self._registers[frame.arg]
        return _U32.pack(self._values[frame.arg] % (1 << register.bits)), 0

    def _write_register(self, frame: Frame) -> tuple[bytes | Status, int]:
        if len(frame.payload) != _U32.size:
            return Status.BAD_LENGTH, 0
        if frame.arg not in self._registers:
            return Status.BAD_ADDRESS, 0
        name, register = self._registers[frame.arg]
        if not register.writable:
            return Status.READ_ONLY, 0
        (value,) = _U32.unpack(frame.payload)
        if value not in self._accepted[name]:
            return Status.BAD_VALUE, 0
        self._keep_learned()
        self._values[frame.arg] = value
        self._unset.discard(frame.arg)
        if register.of_model:
            self._values[self._address["model"]] = 0
        self._network = None
        return b"", 0

    def _write_memory(self, frame: Frame) -> tuple[bytes | Status, int]:
        number, word = split_memory_address(frame.arg)
        if number >= len(self._memories):
            return Status.BAD_ADDRESS, 0
        self._keep_learned()
        region, memory = self._config.regions[number], self._memories[number]
        words, rest = divmod(len(frame.payload), region.lanes)
        # Words are stored as they come, so those before the one that is refused stay.
        stored = frame.payload[: max(min(words, region.words - word), 0) * region.lanes]
        start = word * region.lanes
        memory[start : start + len(stored)] = _held(stored, region)
        self._network = None
        if stored:
            self._values[self._address["model"]] = 0
        if rest or not words:
            return Status.BAD_LENGTH, 0
        if word + words > region.words:
            return Status.BAD_ADDRESS, 0
        return b"", 0

    def _read_memory(self, frame: Frame) -> tuple[bytes | Status, int]:
        if len(frame.payload) != _U32.size:
            return Status.BAD_LENGTH, 0
        number, word = split_memory_address(frame.arg)
        (words,) = _U32.unpack(frame.payload)
        if number >= len(self._memories) or word + words > self._config.regions[number].words:
            return Status.BAD_ADDRESS, 0
        self._keep_learned()
        lanes = self._config.regions[number].lanes
        return bytes(self._memories[number][word * lanes : (word + words) * lanes]), words * lanes

    def _memory_crc(self, frame: Frame) -> tuple[bytes | Status, int]:
        answer, cycles = self._read_memory(frame)
        if isinstance(answer, Status):
            return answer, cycles
        return _U32.pack(zlib.crc32(answer)), cycles

    def _decode(self, infers: int, payload: bytes) -> np.ndarray | Status:
        """The sample of an inference, or what is wrong with it."""
        steps = self._config.arrival_steps(self._values[self._address["steps"]])
        return decode_sample(infers, payload, self._config.inputs, steps)

    def _infer(self, frame: Frame) -> tuple[bytes | Status, int]:
        sample = self._decode(frame.op, frame.payload)
        if sample is Status.BAD_LENGTH:
            return sample, 0
        if frame.arg != self._values[self._address["model"]] or not frame.arg:
            return Status.NO_MODEL, 0
        if isinstance(sample, Status):
            return sample, 0
        self._keep_learned()
        try:
            network = self._network = self._network or self._unpack()
        except DataError:
            return _NO_NETWORK, 0
        result = fast.infer(network, sample[None])
        self._count("inferences")
        cycles = int(predict(self._config, network, sample[None], result)[0])
        outcome = Outcome(
            int(result.label[0]),
            int(result.step[0]),
            bool(result.fired[0]),
            cycles,
            tuple(result.rows[0].tolist()),
        )
        return outcome.encode(), cycles

    def _learn(self, frame: Frame) -> tuple[bytes | Status, int]:
        infers = Op.INFER_BITMAP if frame.op == Op.LEARN_BITMAP else Op.INFER_SPIKES
        sample = self._decode(infers, frame.payload)
        if sample is Status.BAD_LENGTH:
            return sample, 0
        if not self._values[self._address["model"]]:
            return Status.NO_MODEL, 0
        # A device of any age takes one number; half of all others were before it.
        ahead = (frame.arg - self._values[self._address["learned"]]) & 0xFFFF
        label = frame.arg >> 16
        if self._address["learned"] in self._unset:
            return Status.OUT_OF_ORDER, 0
        if ahead:
            return Status.REPEATED if ahead >= 0x8000 else Status.OUT_OF_ORDER, 0
        if label >= self._values[self._address["classes"]]:
            return Status.BAD_LABEL, 0
        if isinstance(sample, Status):
            return sample, 0
        try:
            network = self._network = self._network or self._unpack()
            learner = self._learner = self._learner or self._start_learning(network)
        except DataError:
            return _NO_NETWORK, 0
        learned = learner.learn(sample[None], np.array([label]))
        for name, value in learner.progress.registers().items():
            self._values[self._address[name]] = value
        outcome = Outcome(
            int(learned.label[0]),
            int(learned.step[0]),
            bool(learned.fired[0]),
            0,
            tuple(learned.rows[0].tolist()),
        )
        return outcome.encode(), 0

    def _start_learning(self, network: Network) -> Learner:
        """What learns from now on; raises DataError if a generator that is never 0 is."""
        values = {name: self._values[address] for name, address in self._address.items()}
        has_row = unpack_row_map(bytes(self._memories[len(network.layers)]), self._config) >= 0
        rule = Rule.from_registers(values, self._config)
        return Learner(
            network,
            # No run is longer than the network's, whatever the margin.
            replace(rule, margin=min(rule.margin, network.steps - 1)),
            Progress.from_registers(values, self._config),
            has_row=has_row,
        )

    def _keep_learned(self) -> None:
        """Put weights that were learned into the memories, before anything else happens to them."""
        if self._learner is None:
            return
        network, self._network, self._learner = self._learner.network, None, None
        rows = unpack_row_map(bytes(self._memories[len(network.layers)]), self._config)
        for index, (layer, built) in enumerate(
            zip(network.layers, self._config.layers, strict=True)
        ):
            weights = unpack_weights(bytes(self._memories[index]), built).copy()
            if index == 0:
                weights[rows[rows >= 0], : layer.neurons] = layer.weights[rows >= 0]
            else:
                weights[:, : layer.neurons] = layer.weights
            self._memories[index][:] = pack_weights(weights, built)

    def _unpack(self) -> Network:
        """The network that registers and memories hold.

        Raises
        ------
        DataError
            If they hold none: a register or a row of the row map is out of range.
        """
        registers = {
            name: self._values[address]
            for name, address, entry in register_map(self._config)
            if entry.writable and name != "model"
        }
        regions = {
            region.name: bytes(memory)
            for region, memory in zip(self._config.regions, self._memories, strict=True)
        }
        return Image(self._config, registers, regions).network()


def _held(data: bytes, region: Region) -> bytes:
    """What a region holds of bytes written to it: a lane has their low bits, and extends them."""
    spare = 8 - region.bits
    lanes = np.frombuffer(data, np.int8 if region.signed else np.uint8)
    return (lanes << spare >> spare).tobytes()
