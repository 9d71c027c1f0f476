"""The host under attack: whatever comes back, a wrong answer is never taken for a right one.

Requests are asked of the protocol's host side, and of the functions that read answers. What comes
back is right, damaged, absurd or noise. Only documented exceptions may be raised, and the next
right answers have to get through.
"""

import contextlib
import random
import struct
from collections.abc import Callable, Iterator

import firstspike
import numpy as np
from firstspike.exchange import Exchange, Request
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError, FirstspikeError, LinkError, Mismatch
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.network import Network
from firstspike.firmware.protocol import ANSWER, Hello, Op, Outcome, Status, decode_sample
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard
from mutations import Mutator

__all__ = ["DecoderFuzz", "DeviceClientFuzz", "ExchangeFuzz"]

_CREDIT = 1024

#: Brackets within brackets, more than a reader by recursion takes.
_DEEP = 5000

#: Requests that the exchange is asked, and what the right answers hold.
_ANSWERS = {
    Op.HELLO: b"1spk" + bytes(range(60)),
    Op.READ_REGISTER: b"\1\2\3\4",
    Op.MEMORY_CRC: b"\0\xff\0\xff",
    Op.READ_MEMORY: bytes(range(200)),
    Op.WRITE_MEMORY: b"",
    Op.INFER_BITMAP: bytes(14),
}


def _answer(frame: Frame) -> Frame:
    """What a device says to a request."""
    # Told apart by the argument, so that no answer passes for that to another request.
    payload = struct.pack("<I", frame.arg) + _ANSWERS[Op(frame.op)]
    return Frame(frame.op | ANSWER, frame.seq, Status.OK, payload)


class ExchangeFuzz:
    """Attacks :class:`firstspike.exchange.Exchange`.

    Parameters
    ----------
    seed : int

    Attributes
    ----------
    frames, bytes : int
        Received so far.
    answered : int
        Requests that were answered.
    errors : dict
        Documented exceptions so far, by name.
    """

    def __init__(self, seed: int) -> None:
        self.frames = self.bytes = self.answered = 0
        self.errors: dict[str, int] = {}
        self._seed = seed
        self._random = random.Random(seed)
        self._number = 0
        self._start()

    def _start(self) -> None:
        self._exchange = Exchange(_CREDIT, retries=1 << 30)
        self._decoder = FrameDecoder()
        self._asked: list[Request] = []

    def run(self, frames: int) -> Iterator[int]:
        """Receive at least ``frames`` mutated answers; yield their number after every batch.

        Raises
        ------
        Mismatch
            If an answer is taken for that to another request, or a right one does not get through.
        """
        sent = 0
        while sent < frames:
            # What the line does to frames, a CRC tells; absurd frames pass for what they say.
            by_line = self._random.random() < 0.7
            answers = [_answer(frame) for frame in self._ask()]
            mutator = Mutator(answers, self._random.getrandbits(32))
            kinds = (mutator.right, mutator.damaged, mutator.broken, mutator.noise)
            if not by_line:
                kinds += (mutator.absurd,)
            batch = [self._random.choice(kinds)() for _ in range(40)]
            yield from self._attack(b"".join(batch), by_line)
            self.frames += len(batch)
            sent += len(batch)
            yield len(batch)

    def noise(self, count: int) -> Iterator[int]:
        """Receive at least ``count`` random bytes; otherwise as :meth:`run`."""
        sent = 0
        while sent < count:
            self._ask()
            data = self._random.randbytes(4096)
            yield from self._attack(data, by_line=True)
            sent += len(data)
            yield len(data)

    def _ask(self) -> list[Frame]:
        """Fill what may be on its way; the frames that the host sends."""
        while True:
            self._number += 1
            op = self._random.choice(list(_ANSWERS))
            request = Request(op, self._number, bytes(self._random.randrange(40)))
            if not self._exchange.admits(request):
                return self._sent()
            self._exchange.submit(request)
            self._asked.append(request)

    def _sent(self) -> list[Frame]:
        return list(self._decoder.feed(self._exchange.outgoing()))

    def _attack(self, data: bytes, by_line: bool) -> Iterator[int]:
        """Give the host what came, then right answers to all that is still asked."""
        self.bytes += len(data)
        try:
            self._exchange.receive(data)
        except LinkError as error:
            name = type(error).__name__
            self.errors[name] = self.errors.get(name, 0) + 1
            if by_line:
                raise Mismatch(
                    f"seed {self._seed}: of damaged frames the host says {error}"
                ) from error
            self._start()
            return
        self._take(strict=by_line)
        # The end of a frame that noise may have begun, and what the host says after a time-out.
        self._exchange.receive(b"\0")
        for _ in range(2):
            if self._asked:
                self._sent()
                self._exchange.resend()
            answers = b"".join(_answer(frame).encode() for frame in self._sent())
            self._exchange.receive(answers)
            self._take(strict=by_line)
        if not self._exchange.idle:
            raise Mismatch(
                f"seed {self._seed}: right answers do not get through after {data.hex()}"
            )
        yield 0

    def _take(self, *, strict: bool) -> None:
        for payload in self._exchange.answers():
            request = self._asked.pop(0)
            expected = _answer(Frame(request.op, 0, request.arg)).payload
            if strict and payload != expected:
                raise Mismatch(
                    f"seed {self._seed}: {payload.hex()} is taken for the answer {expected.hex()}"
                )
            self.answered += 1


class DeviceClientFuzz:
    """Attacks :class:`firstspike.Device`, and all that it reads answers with, by absurd answers.

    Parameters
    ----------
    config : Config
    network : Network
        Loaded into it.
    seed : int

    Attributes
    ----------
    frames : int
        Answers that were changed.
    errors : dict
        Documented exceptions so far, by name.
    """

    def __init__(self, config: Config, network: Network, seed: int) -> None:
        self.frames = 0
        self.errors: dict[str, int] = {}
        self._config = config
        self._network = network
        self._random = random.Random(seed)
        self._samples = np.zeros((3, config.inputs), np.int32)

    def run(self, sessions: int) -> Iterator[int]:
        """Use a device so often, from its greeting on; now and then it gives an absurd answer."""
        for _ in range(sessions):
            try:
                self._session()
            except FirstspikeError as error:
                name = type(error).__name__
                self.errors[name] = self.errors.get(name, 0) + 1
            yield 1

    def _session(self) -> None:
        line = _Liar(self, self._config)
        with firstspike.open(
            "model:", config=self._config, timeout=0.01, retries=2, line=lambda connect: line
        ) as device:
            device.load(self._network)
            device.infer(self._samples)
            device.registers()
            device.read_memory("row_map")
            device.network()

    def change(self, data: bytes) -> bytes:
        """An answer as it arrives."""
        if self._random.random() > 0.03:
            return data
        self.frames += 1
        frames = list(FrameDecoder().feed(data))
        return Mutator(frames, self._random.getrandbits(32)).absurd() if frames else data


class _Liar:
    """A board whose answers are changed before they arrive."""

    def __init__(self, fuzz: DeviceClientFuzz, config: Config) -> None:
        self._fuzz = fuzz
        self._board = VirtualBoard(ModelBackend(config))
        self.write = self._board.write
        self.close = self._board.close

    def read(self, timeout: float) -> bytes:
        return self._fuzz.change(self._board.read(timeout))


class DecoderFuzz:
    """Attacks the functions that read what a device says of itself.

    Parameters
    ----------
    config : Config
    seed : int
    """

    def __init__(self, config: Config, seed: int) -> None:
        self._config = config
        self._random = random.Random(seed)
        self._greeting = Hello(config, 48_000_000, 7).encode()
        self._head = len(self._greeting) - len(config.to_json())

    def run(self, count: int) -> Iterator[int]:
        """Have so many greetings and as many outcomes and samples read."""
        for _ in range(count):
            self._read(lambda: Hello.decode(self._changed(self._greeting)))
            text = self._json()
            self._read(lambda text=text: Config.from_json(text))
            noise = self._random.randbytes(self._random.randrange(20))
            self._read(lambda noise=noise: Outcome.decode(noise, self._random.randrange(5)))
            op = self._random.choice((Op.INFER_BITMAP, Op.INFER_SPIKES))
            decode_sample(op, noise, self._random.randrange(1, 40), self._random.randrange(1, 40))
            yield 1

    def _changed(self, data: bytes) -> bytes:
        """The greeting with some bytes changed, but the head whole more often than not."""
        changed = bytearray(data)
        first = self._head if self._random.random() < 0.7 else 0
        for _ in range(self._random.randrange(1, 4)):
            place = self._random.randrange(first, len(changed))
            match self._random.randrange(3):
                case 0:
                    changed[place] = self._random.randrange(256)
                case 1:
                    del changed[place : place + self._random.randrange(1, 9)]
                case _:
                    changed[place:place] = self._random.choice(
                        (b"-", b"e9", b"9" * 30, b"null", b"[", b'"', b"{}", b"\xff", b"1.5")
                    )
            if len(changed) <= first:
                break
        return bytes(changed)

    def _json(self) -> str:
        """The configuration with a value exchanged for what is none."""
        text = self._config.to_json()
        number = self._random.choice([i for i, c in enumerate(text) if c.isdigit()])
        strange = (
            "-1",
            "0",
            "1e400",
            "null",
            "true",
            "[]",
            "{}",
            '""',
            "1.5",
            "9" * 25,
            "NaN",
            "32768",
            _DEEP * "[",
            _DEEP * '{"a":',
        )
        end = number + 1
        while text[end].isdigit():
            end += 1
        start = number
        while text[start - 1].isdigit():
            start -= 1
        return text[:start] + self._random.choice(strange) + text[end:]

    @staticmethod
    def _read(action: Callable[[], object]) -> None:
        with contextlib.suppress(DataError):
            action()
