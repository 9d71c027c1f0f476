"""Frames that accident or malice might send, made from frames that are right."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence

from firstspike.firmware.framing import HEAD, Frame, cobs_encode
from firstspike.firmware.protocol import Op

__all__ = ["Mutator"]

#: Numbers at the edges of things.
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0xFFFFFF, 1 << 24)
EDGES += (0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

_STEP_WORD = 0x8000


class Mutator:
    """Draws bytes for a line.

    Parameters
    ----------
    corpus : sequence of Frame
        Right ones, of every kind.
    seed : int
    addresses : sequence of int
        Values of ``arg`` worth trying, such as those of registers and ends of memories.
    """

    def __init__(self, corpus: Sequence[Frame], seed: int, addresses: Sequence[int] = ()) -> None:
        self._corpus = list(corpus)
        self._random = random.Random(seed)
        self._addresses = [*addresses, *EDGES]
        self._damages: list[Callable[[bytearray], None]] = [
            self._flip,
            self._flip,
            self._drop,
            self._insert,
            self._double,
            self._overwrite,
            self._truncate,
            self._splice,
        ]

    def right(self) -> bytes:
        """A frame of the corpus, as it was."""
        return self._random.choice(self._corpus).encode()

    def damaged(self) -> bytes:
        """A frame that the line has damaged, once or more."""
        coded = bytearray(self.right())
        for _ in range(self._random.choice((1, 1, 1, 2, 4))):
            self._random.choice(self._damages)(coded)
        return bytes(coded)

    def absurd(self) -> bytes:
        """A frame whose CRC is right and whose content need not be."""
        frame = self._random.choice(self._corpus)
        op, seq, arg, payload = frame.op, frame.seq, frame.arg, frame.payload
        match self._random.randrange(8):
            case 0:
                op = self._random.choice((self._random.randrange(256), *Op))
            case 1:
                seq = self._random.randrange(256)
            case 2 | 3:
                arg = self._number(arg)
            case 4:
                payload = payload[: self._random.randrange(len(payload) + 1)]
            case 5:
                payload += self._random.randbytes(self._random.choice((1, 2, 3, 4, 8)))
            case 6:
                payload = self._content(len(payload))
            case _:
                op, arg = self._random.choice((*Op,)), self._number(arg)
                payload = self._content(self._random.choice((0, 2, 4, 4, len(payload))))
        return Frame(op, seq, arg, payload).encode()

    def broken(self) -> bytes:
        """A frame whose code is right and whose CRC or length is not."""
        frame = self._random.choice(self._corpus)
        body = HEAD.pack(frame.op, frame.seq, frame.arg) + frame.payload
        crc = struct.pack("<I", zlib.crc32(body))
        match self._random.randrange(4):
            case 0:
                body = body[: self._random.randrange(len(body))]
            case 1:
                crc = self._random.randbytes(4)
            case 2:
                crc = crc[: self._random.randrange(4)]
            case _:
                crc = crc[::-1]
        return cobs_encode(body + crc) + b"\0"

    def noise(self) -> bytes:
        """Bytes without a meaning."""
        return self._random.randbytes(self._random.randrange(1, 40))

    def any(self) -> bytes:
        """One of all these."""
        kinds = (self.right, self.damaged, self.damaged, self.absurd, self.absurd, self.broken)
        return self._random.choice((*kinds, *kinds, self.noise))()

    # What happens to the bytes of a frame

    def _place(self, coded: bytearray) -> int:
        return self._random.randrange(len(coded) + 1)

    def _flip(self, coded: bytearray) -> None:
        if coded:
            coded[self._random.randrange(len(coded))] ^= 1 << self._random.randrange(8)

    def _drop(self, coded: bytearray) -> None:
        place = self._place(coded)
        del coded[place : place + self._random.choice((1, 1, 2, 5))]

    def _insert(self, coded: bytearray) -> None:
        place = self._place(coded)
        coded[place:place] = self._random.choice((b"\0", b"\xff", self._random.randbytes(3)))

    def _double(self, coded: bytearray) -> None:
        place = self._place(coded)
        coded[place:place] = coded[place : place + self._random.choice((1, 1, 7, 40))]

    def _overwrite(self, coded: bytearray) -> None:
        place = self._place(coded)
        noise = self._random.randbytes(self._random.randrange(1, 9))
        coded[place : place + len(noise)] = noise

    def _truncate(self, coded: bytearray) -> None:
        del coded[self._place(coded) :]

    def _splice(self, coded: bytearray) -> None:
        other = self.right()
        coded[self._place(coded) :] = other[self._random.randrange(len(other)) :]

    # What stands in a frame

    def _number(self, number: int) -> int:
        match self._random.randrange(4):
            case 0:
                return self._random.getrandbits(32)
            case 1:
                return (number + self._random.choice((-2, -1, 1, 2))) & 0xFFFFFFFF
            case 2:
                return number ^ 1 << self._random.randrange(32)
            case _:
                return self._random.choice(self._addresses)

    def _content(self, length: int) -> bytes:
        match self._random.randrange(3):
            case 0:
                return self._random.randbytes(length)
            case 1:
                return struct.pack("<I", self._number(self._random.randrange(64)))[:length]
            case _:
                # Spikes, with steps that ascend more often than not.
                words = [self._random.randrange(64) for _ in range(length // 2)]
                steps = sorted(self._random.randrange(64) for _ in words)
                chosen = (
                    step | _STEP_WORD if self._random.random() < 0.3 else word
                    for word, step in zip(words, steps, strict=True)
                )
                return struct.pack(f"<{len(words)}H", *chosen)
