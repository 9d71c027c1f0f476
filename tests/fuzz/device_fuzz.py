"""The gateware under attack: it must answer whatever comes as the model of the device does.

Both are given the same bytes, batch after batch: frames that are right, damaged, absurd, broken or
no frames at all. Every byte of their answers is compared, then the counters and, now and then, the
memories; frames that are right come between, so a device that hangs or loses its place is found.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import firstspike
import numpy as np
from firstspike.firmware.config import Config
from firstspike.firmware.errors import Mismatch
from firstspike.firmware.formats import NEVER
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.learning import Progress, Rule
from firstspike.firmware.network import Layer, Network
from firstspike.firmware.protocol import ANSWER, Op, Status, memory_address
from firstspike.firmware.registers import register_map
from firstspike.firmware.transport import Transport
from firstspike.sim.engine import AcceleratorSimulation
from firstspike.sim.virtual_board import Backend, ModelBackend
from mutations import Mutator

__all__ = ["CONFIGS", "NETWORK", "DeviceFuzz"]

_NETWORK_SEED = 5
_BUFFER = 1024

#: Frames that are sent at once where there is room for a few dozen; no two have the same number.
_FLOOD = 250
#: Cycles of a byte on the line back, which holds the device up meanwhile.
_SLOW = 40

#: Frames between two loads, where nothing has to be right.
_CARELESS = 60

#: Cycles that no batch takes; a device that has nothing to say is through them at once.
_LONG = 1 << 32


def _network() -> Network:
    """24-13-5, with an input that has no row."""
    rng = np.random.default_rng(_NETWORK_SEED)
    hidden = rng.integers(-30, 60, (24, 13))
    hidden[3] = 0
    return Network([Layer(hidden, 3, 300), Layer(rng.integers(-50, 80, (13, 5)), 2, 250)], steps=24)


NETWORK = _network()

#: What is attacked: accelerators of every kind, all of them small.
CONFIGS = {
    "plain": Config.for_network(NETWORK, [5, 3], buffer_bytes=_BUFFER),
    "sum": Config.for_network(NETWORK, [6, 5], neuron="sum", ways=2, buffer_bytes=_BUFFER),
    "learning": Config.for_network(NETWORK, [4, 5], learning=True, buffer_bytes=_BUFFER),
}

_RULE = Rule([20_000, 40_000], margin=2, dropout=9000, activity=3, step=2, input_dropout=4000)

_LEARNS = (Op.LEARN_BITMAP, Op.LEARN_SPIKES)
_INFERS = (Op.INFER_BITMAP, Op.INFER_SPIKES)
_LISTS = (Op.INFER_SPIKES, Op.LEARN_SPIKES)
_STEP_WORD = 0x8000

#: Share of frames that are samples to learn from in their turn, of a device that learns.
_LESSONS = 0.1

#: Registers that count while bytes come in.
_COUNTERS = ("frames_accepted", "frames_damaged", "frames_overrun", "line_errors")


class _Recorder:
    """A line that remembers what was sent over it."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._decoder = FrameDecoder()

    def __call__(self, connect: Callable[[], Transport]) -> "_Recorder":
        self._transport = connect()
        return self

    def write(self, data: bytes) -> None:
        self.frames += self._decoder.feed(data)
        self._transport.write(data)

    def read(self, timeout: float) -> bytes:
        return self._transport.read(timeout)

    def close(self) -> None:
        self._transport.close()


class DeviceFuzz:
    """Attacks the simulated gateware of one configuration.

    Parameters
    ----------
    config : Config
    seed : int

    Attributes
    ----------
    frames, bytes : int
        Sent so far.
    statuses : dict
        Answers of each status so far.
    """

    def __init__(self, config: Config, seed: int) -> None:
        self.frames = self.bytes = 0
        self.statuses: dict[str, int] = {}
        self._config = config
        self._seed = seed
        self._batch = 0
        self._random = random.Random(seed)
        #: Number of the next sample to learn from.
        self._learned = 0
        self._addresses = {name: address for name, address, _ in register_map(config)}
        self._counters = {self._addresses[name] for name in _COUNTERS}
        self._generators = {
            address for name, address in self._addresses.items() if name.startswith("random_")
        }
        checks = [
            *(Frame(Op.READ_REGISTER, 0, address) for address in self._addresses.values()),
            *(
                Frame(Op.MEMORY_CRC, 0, memory_address(number, 0), struct.pack("<I", region.words))
                for number, region in enumerate(config.regions)
            ),
        ]
        #: A look at all that there is.
        self._checks = [frame.encode() for frame in checks]
        self._record()
        ends = [
            memory_address(number, region.words + offset)
            for number, region in enumerate(config.regions)
            for offset in (-2, -1, 0, 1)
        ]
        self._mutator = Mutator(self._corpus, seed, [*self._addresses.values(), *ends])
        self._gateware: Backend = AcceleratorSimulation(config)
        self._model: Backend = ModelBackend(config)
        #: Cycle in which each has answered all that it was asked.
        self._now = {self._gateware: 0, self._model: 0}
        for backend in self._now:
            backend.byte_cycles = 1

    def _record(self) -> None:
        """Have the host do all that it can do, and keep what it sent."""
        line = _Recorder()
        rng = np.random.default_rng(self._seed)
        samples = rng.integers(0, NETWORK.steps, (24, NETWORK.inputs))
        samples[rng.random(samples.shape) < 0.6] = NEVER
        samples[::2] = np.where(samples[::2] >= 0, 0, NEVER)
        if self._config.layers[0].neuron == "sum":
            samples = np.where(samples >= 0, 0, NEVER)
        with firstspike.open("model:", config=self._config, line=line) as device:
            start = len(line.frames)
            self._image = device.load(NETWORK)
            if self._config.learning:
                device.start_learning(_RULE, Progress.start(2, seed=3))
            self._load = [frame.encode() for frame in line.frames[start:]]
            device.infer(samples)
            if self._config.learning:
                device.learn(samples, rng.integers(0, NETWORK.outputs, len(samples)))
            device.registers()
            device.read_memory("row_map")
        self._corpus = line.frames
        self._lessons = [frame for frame in line.frames if frame.op in _LEARNS]
        self._samples = [frame for frame in line.frames if frame.op in _INFERS]

    def run(self, frames: int) -> Iterator[int]:
        """Send at least ``frames`` mutated frames; yield their number after every batch.

        Raises
        ------
        Mismatch
            If the gateware answers otherwise than the model, or falls silent; or if the registers
            tell of a model that is not there.
        """
        sent = 0
        while sent < frames:
            # In every other batch the model stays loaded, so that samples are worked on.
            calm = self._batch % 4 != 0
            before = self.frames
            self._batch_of(*self._load)
            for _ in range(8):
                self._batch_of(self._mutated(calm))
            sent += self.frames - before
            yield self.frames - before

    def noise(self, count: int) -> Iterator[int]:
        """Send at least ``count`` random bytes; otherwise as :meth:`run`."""
        rng = np.random.default_rng([self._seed, 1])
        sent = 0
        while sent < count:
            data = rng.integers(0, 256, _BUFFER // 2, dtype=np.uint8)
            # As they come, with many zeros, and without any over more than the buffer holds.
            match self._batch % 3:
                case 1:
                    data[rng.random(len(data)) < 0.1] = 0
                case 2:
                    data = np.tile(np.maximum(data, 1), 3)
            self._batch_of(data.tobytes())
            sent += len(data)
            yield len(data)

    def flood(self, frames: int) -> Iterator[int]:
        """Send at least ``frames`` frames, far more at once than there is room for.

        Which of them get lost is a matter of time. But those that are answered have to be answered
        as the model answers them, and in their order, and the memories have to come to the same.

        Raises
        ------
        Mismatch
            If that is not so, or nothing got lost.
        """
        sent = 0
        while sent < frames:
            self._batch += 1
            for frame in self._load:
                self._ask(self._gateware, frame)
                self._ask(self._model, frame)
            batch = self._numbered(_FLOOD)
            data = b"".join(piece for _, piece in batch) + b"\0"
            answers = self._ask(self._gateware, data, byte_cycles=_SLOW)
            requests = {number: piece for number, piece in batch if number is not None}
            for answer in answers:
                request = requests.pop(answer.seq, None)
                expected = [] if request is None else self._ask(self._model, request)
                if [_told(answer)] != [_told(frame) for frame in expected]:
                    raise Mismatch(
                        f"batch {self._batch} of seed {self._seed}: the flooded gateware says "
                        f"{answer}, the model {expected}"
                    )
            numbers = [answer.seq for answer in answers]
            if numbers != sorted(numbers) or not requests:
                raise Mismatch(
                    f"batch {self._batch} of seed {self._seed}: the flooded gateware answers "
                    f"{numbers}, which is out of order or all"
                )
            checks = [check for check in self._checks if not self._counters & {_decode(check).arg}]
            for check in checks:
                ours, theirs = (self._ask(backend, check) for backend in self._now)
                if ours != theirs:
                    raise Mismatch(
                        f"batch {self._batch} of seed {self._seed}: after a flood the gateware "
                        f"says {ours}, the model {theirs}"
                    )
            self.frames += len(batch)
            sent += len(batch)
            yield len(batch)

    def unspecified(self, frames: int) -> Iterator[int]:
        """Send at least ``frames`` frames of which it is left open what comes of them: memories and
        registers hold anything, and `model` says that they hold the model.

        Gateware and model may say what they like, but something, to every frame that is whole.

        Raises
        ------
        Mismatch
            If one of them does not.
        """
        sent = 0
        while sent < frames:
            self._batch += 1
            batch = [*self._load, *(self._careless() for _ in range(_CARELESS))]
            for data in batch:
                asked = list(FrameDecoder().feed(b"\0" + data + b"\0"))
                for backend in self._now:
                    answers = self._ask(backend, b"\0" + data + b"\0")
                    if [(frame.op | ANSWER, frame.seq) for frame in asked] != [
                        (frame.op, frame.seq) for frame in answers
                    ]:
                        raise Mismatch(
                            f"batch {self._batch} of seed {self._seed}: "
                            f"{type(backend).__name__} says {answers} to {asked}"
                        )
                    for frame in answers:
                        self._tell(frame)
            self.frames += len(batch)
            sent += len(batch)
            yield len(batch)

    def _careless(self) -> bytes:
        """Words anywhere in the memories, a `model` that nobody verified, a sample, or anything."""
        match self._random.randrange(5):
            case 0:
                number = self._random.randrange(len(self._config.regions))
                region = self._config.regions[number]
                word = memory_address(number, self._random.randrange(region.words))
                return Frame(
                    Op.WRITE_MEMORY, 1, word, self._random.randbytes(region.lanes)
                ).encode()
            case 1:
                crc = struct.pack("<I", self._image.crc)
                return Frame(Op.WRITE_REGISTER, 2, self._addresses["model"], crc).encode()
            case 2:
                return self._random.choice(self._samples).encode()
            case 3 if self._lessons:
                (answer,) = self._ask(
                    self._model, Frame(Op.READ_REGISTER, 3, self._addresses["learned"]).encode()
                )
                frame = self._random.choice(self._lessons)
                return replace(
                    frame, arg=frame.arg & ~0xFFFF | answer.payload[0] | answer.payload[1] << 8
                ).encode()
            case _:
                return self._mutator.any()

    def _tell(self, frame: Frame) -> None:
        """Count an answer."""
        name = Status(frame.arg).name
        self.statuses[name] = self.statuses.get(name, 0) + 1

    def _numbered(self, count: int) -> list[tuple[int | None, bytes]]:
        """Frames with a number of their own each, between such as are none."""
        pieces: list[tuple[int | None, bytes]] = []
        for number in range(count):
            while True:
                data = self._mutator.absurd()
                frame = replace(_decode(data), seq=number)
                if self._specified(frame, calm=number % 2 == 0):
                    break
            pieces.append((number, frame.encode()))
            broken = self._mutator.broken()
            if not list(FrameDecoder().feed(broken)):
                pieces.append((None, broken))
        return pieces

    def _ask(self, backend: Backend, data: bytes, *, byte_cycles: int = 1) -> list[Frame]:
        """All that one of the two says to some bytes, over a line back that may be slow."""
        self.bytes += len(data)
        backend.send(data, self._now[backend])
        backend.byte_cycles = byte_cycles
        answers = self._collect(backend)
        backend.byte_cycles = 1
        return list(FrameDecoder().feed(answers))

    def close(self) -> None:
        """End the simulation."""
        self._gateware.close()

    def _mutated(self, calm: bool) -> bytes:
        """As many frames as the device has room for."""
        while True:
            pieces: list[bytes] = []
            room = _BUFFER
            while room > 0:
                data = self._lesson() or self._mutator.any()
                if self._allowed(data, calm):
                    room -= len(data)
                    pieces.append(data)
            batch = b"".join(pieces[:-1])
            # What is no frame by itself may be one together with what follows.
            if self._allowed(batch, calm):
                self.frames += len(pieces) - 1
                return batch

    def _lesson(self) -> bytes:
        """Now and then a sample to learn from whose turn it is; else nothing."""
        if not self._lessons or self._random.random() > _LESSONS:
            return b""
        frame = self._random.choice(self._lessons)
        number, self._learned = self._learned, self._learned + 1
        return replace(frame, arg=frame.arg & ~0xFFFF | number & 0xFFFF).encode()

    def _allowed(self, data: bytes, calm: bool) -> bool:
        """Whether the link's specification says what becomes of this, whenever it arrives."""
        frames = FrameDecoder().feed(b"\0" + data + b"\0")
        return all(self._specified(frame, calm) for frame in frames)

    def _specified(self, frame: Frame, calm: bool) -> bool:
        if frame.op == Op.READ_REGISTER:
            # Frames count as soon as they are there, while those before them are worked on.
            return frame.arg not in self._counters
        if frame.op == Op.WRITE_REGISTER:
            # To vouch for what the memories hold is the host's business, and a generator of random
            # numbers is never 0.
            stops = frame.arg in self._generators and not any(frame.payload)
            return not (calm or stops or frame.arg == self._addresses["model"])
        if frame.op in _LISTS:
            return _in_order(frame.payload[: len(frame.payload) & ~1])
        return not (calm and frame.op == Op.WRITE_MEMORY)

    def _batch_of(self, *pieces: bytes) -> None:
        """Give both the same bytes, compare all that they say, and look at what they hold."""
        self._batch += 1
        for piece in pieces:
            self._exchange(piece + b"\0")
        # One by one, since frames that are still on their way count as well.
        self._judge(b"".join(map(self._exchange, self._checks)))

    def _exchange(self, data: bytes) -> bytes:
        """Give both the same bytes, compare their answers and return those of the model."""
        self.bytes += len(data)
        for backend in (self._gateware, self._model):
            # When the last answer has left, so has everything before it.
            backend.send(data, self._now[backend])
        expected = self._collect(self._model)
        answered = self._collect(self._gateware, len(expected))
        if answered != expected:
            self._compare(answered, expected)
        for frame in FrameDecoder().feed(expected):
            self._tell(frame)
        return expected

    def _compare(self, answered: bytes, expected: bytes) -> None:
        """Raise Mismatch at the first answer that differs, but for what the model does not tell."""
        theirs, ours = (list(FrameDecoder().feed(answers)) for answers in (answered, expected))
        for number, (their, our) in enumerate(zip(theirs, ours, strict=False)):
            if _told(their) != _told(our):
                raise Mismatch(
                    f"batch {self._batch} of seed {self._seed}, answer {number}: the gateware says "
                    f"{their}, the model {our}"
                )
        if len(theirs) != len(ours):
            raise Mismatch(
                f"batch {self._batch} of seed {self._seed}: the gateware gave {len(theirs)} "
                f"answers, the model {len(ours)}"
            )

    def _collect(self, backend: Backend, count: int | None = None) -> bytes:
        """All that a device says; of the gateware, as many bytes as are expected."""
        answers = bytearray()
        deadline = self._now[backend] + _LONG
        while count is None or len(answers) < count:
            data, self._now[backend] = backend.receive(deadline)
            if not data:
                self._now[backend] = deadline
                break
            answers += data
        return bytes(answers)

    def _judge(self, checks: bytes) -> None:
        """A device that says it holds the model does hold it."""
        values = [struct.unpack("<I", frame.payload)[0] for frame in FrameDecoder().feed(checks)]
        registers = dict(zip(self._addresses, values, strict=False))
        crcs = values[len(registers) :]
        self._learned = registers.get("learned", 0)
        regions = self._config.regions
        assert len(crcs) == len(regions)
        if self._config.learning or registers["model"] != self._image.crc:
            return
        meant = [zlib.crc32(self._image.regions[region.name]) for region in regions]
        changed = [
            name for name, value in self._image.registers.items() if registers[name] != value
        ]
        if crcs != meant or changed:
            raise Mismatch(
                f"batch {self._batch} of seed {self._seed}: the register `model` tells of a model "
                f"that is not there: the memories have {crcs} instead of {meant}; {changed} differ"
            )


def _decode(coded: bytes) -> Frame:
    (frame,) = FrameDecoder().feed(coded)
    return frame


def _in_order(words: bytes) -> bool:
    """Whether inputs spike at most once, and ascend in each step."""
    step, inputs = 0, []
    for (word,) in struct.iter_unpack("<H", words):
        if word & _STEP_WORD:
            step = word
        else:
            inputs.append((step, word))
    return len({word for _, word in inputs}) == len(inputs) and inputs == sorted(inputs)


def _told(frame: Frame) -> tuple[int, int, int, bytes]:
    """What both tell in the same way; the model does not know how long learning takes."""
    learned = frame.op & ~ANSWER in _LEARNS and frame.payload
    payload = frame.payload[4:] if learned else frame.payload
    return frame.op, frame.seq, frame.arg, payload
