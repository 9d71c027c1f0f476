"""Frames on the wire: ``COBS(op, seq, arg, payload, CRC-32) 0x00``, sans-IO.

Any zero byte ends a frame, so a receiver that lost its place finds it again at the next zero.
COBS is Cheshire and Baker, *Consistent Overhead Byte Stuffing* (1999); the CRC is that of zlib.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "FRAME_OVERHEAD",
    "HEAD",
    "Frame",
    "FrameDecoder",
    "cobs_decode",
    "cobs_encode",
    "coded_bytes",
]

#: op, seq, arg; little-endian like every number of the link.
HEAD = struct.Struct("<BBI")
_CRC = struct.Struct("<I")

#: Bytes of a frame besides its payload, before COBS.
FRAME_OVERHEAD = HEAD.size + _CRC.size

_FULL_BLOCK = 0xFF


def cobs_encode(data: bytes) -> bytes:
    """Return ``data`` recoded without zero bytes (and without the ending zero)."""
    coded = bytearray()
    for run in data.split(b"\0"):
        # A run of 254 bytes fills a block, whose code 0xff stands for no zero.
        start = 0
        while len(run) - start >= _FULL_BLOCK - 1:
            coded.append(_FULL_BLOCK)
            coded += run[start : start + _FULL_BLOCK - 1]
            start += _FULL_BLOCK - 1
        coded.append(len(run) - start + 1)
        coded += run[start:]
    return bytes(coded)


def cobs_decode(coded: bytes) -> bytes | None:
    """Return the bytes that :func:`cobs_encode` was given, or None if ``coded`` is malformed."""
    data = bytearray()
    position = 0
    while position < len(coded):
        code = coded[position]
        block = coded[position + 1 : position + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return None
        data += block
        position += code
        if code != _FULL_BLOCK and position < len(coded):
            data.append(0)
    return bytes(data)


def coded_bytes(payload: int) -> int:
    """Bytes that a frame with so many bytes of payload takes on the line at most."""
    body = FRAME_OVERHEAD + payload
    # A code for each block that may be full, one for the last block, and the ending zero.
    return body + body // (_FULL_BLOCK - 1) + 2


@dataclass(frozen=True)
class Frame:
    """One message in either direction.

    Parameters
    ----------
    op : int
        Operation, 8 bits; the device's answers have bit 7 set.
    seq : int
        Sequence number, 8 bits, chosen by the host and repeated in the answer.
    arg : int
        32 bits; its meaning depends on ``op``. In an answer, the status.
    payload : bytes
    """

    op: int
    seq: int
    arg: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the wire, with the ending zero."""
        body = HEAD.pack(self.op, self.seq, self.arg) + self.payload
        return cobs_encode(body + _CRC.pack(zlib.crc32(body))) + b"\0"

    @classmethod
    def decode(cls, coded: bytes) -> "Frame | None":
        """Read the bytes between two zeros; None if code, length or CRC is bad."""
        data = cobs_decode(coded)
        if data is None or len(data) < FRAME_OVERHEAD:
            return None
        body, crc = data[: -_CRC.size], data[-_CRC.size :]
        if _CRC.unpack(crc)[0] != zlib.crc32(body):
            return None
        op, seq, arg = HEAD.unpack_from(body)
        return cls(op, seq, arg, body[HEAD.size :])


class FrameDecoder:
    """Turns a stream of bytes into frames and counts what had to be dropped.

    Parameters
    ----------
    limit : int
        Longest run of bytes without a zero that can still become a frame.

    Attributes
    ----------
    accepted, dropped : int
        Frames received whole; runs of bytes that were no frame.
    """

    def __init__(self, limit: int = 1 << 16) -> None:
        self.accepted = 0
        self.dropped = 0
        self._limit = limit
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take more bytes and yield the frames that they complete."""
        *ended, rest = (self._pending + data).split(b"\0")
        # What is over the limit is kept just long enough to be dropped at the next zero.
        self._pending = rest[: self._limit + 1]
        for coded in ended:
            if not coded:
                continue
            frame = Frame.decode(bytes(coded)) if len(coded) <= self._limit else None
            if frame is None:
                self.dropped += 1
            else:
                self.accepted += 1
                yield frame
