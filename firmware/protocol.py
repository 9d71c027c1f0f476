"""The operations of the link: what host and device say to each other inside frames.

Operations are absolute and idempotent, an inference is a pure function of weights and spikes, and
the device keeps no session: a request that got no answer is sent again as it was.
"""

import enum
import struct
from dataclasses import dataclass
from typing import Self

import numpy as np

from . import __version__
from .config import Config
from .errors import DataError
from .formats import NEVER

__all__ = [
    "ANSWER",
    "PROTOCOL_VERSION",
    "Hello",
    "Op",
    "Outcome",
    "Status",
    "decode_sample",
    "encode_sample",
    "learning_argument",
    "memory_address",
    "split_memory_address",
]

PROTOCOL_VERSION = 4

#: Bit of ``op`` that marks an answer.
ANSWER = 0x80


class Op(enum.IntEnum):
    """Requests. An answer repeats the operation with :data:`ANSWER` set."""

    HELLO = 0x01  #: answer: :class:`Hello`
    READ_REGISTER = 0x02  #: arg: address; answer: u32
    WRITE_REGISTER = 0x03  #: arg: address; payload: u32
    WRITE_MEMORY = 0x04  #: arg: memory address; payload: whole words
    MEMORY_CRC = 0x05  #: arg: memory address; payload: u32 words; answer: u32, as zlib's crc32
    READ_MEMORY = 0x06  #: arg: memory address; payload: u32 words; answer: the words
    INFER_BITMAP = 0x07  #: arg: the model's CRC; payload: a bit an input; answer: :class:`Outcome`
    INFER_SPIKES = 0x08  #: arg: likewise; payload: u16 words, see :func:`encode_sample`
    LEARN_BITMAP = 0x09  #: arg: see :func:`learning_argument`; else as ``INFER_BITMAP``
    LEARN_SPIKES = 0x0A  #: likewise


class Status(enum.IntEnum):
    """What became of a request; the ``arg`` of its answer. Only ``OK`` has a payload."""

    OK = 0
    UNKNOWN_OPERATION = 1
    BAD_LENGTH = 2
    BAD_ADDRESS = 3
    READ_ONLY = 4
    BAD_SAMPLE = 5  #: an index or step out of range, steps out of order, or too many spikes
    BAD_VALUE = 6  #: a register does not take the value
    REPEATED = 7  #: a sample that was learned before; it changed nothing
    OUT_OF_ORDER = 8  #: a sample to learn is not the next one
    BAD_LABEL = 9  #: no output of this number takes part
    NO_MODEL = 10  #: the device does not hold the model that the sample is for
    STALLED = 11  #: the core gave no result in time and was reset

    @property
    def sentence(self) -> str:
        """The status in words."""
        return {
            Status.OK: "done",
            Status.UNKNOWN_OPERATION: "the device does not know the operation",
            Status.BAD_LENGTH: "the payload has a length that the operation does not take",
            Status.BAD_ADDRESS: "there is no register or memory word at the address",
            Status.READ_ONLY: "the register or memory cannot be written",
            Status.BAD_SAMPLE: "a spike has an index or a step out of range or out of order, "
            "or there are more spikes than inputs",
            Status.BAD_VALUE: "the value is out of the register's range",
            Status.REPEATED: "the sample was learned before",
            Status.OUT_OF_ORDER: "samples to learn before this one are missing",
            Status.BAD_LABEL: "the label is of no output that takes part",
            Status.NO_MODEL: "the device does not hold the model that the sample is for",
            Status.STALLED: "the core gave no result in time and was reset",
        }[self]


_REGION_SHIFT = 24


def memory_address(region: int, word: int) -> int:
    """The ``arg`` of a memory operation: region in bits 31–24, word in bits 23–0."""
    return region << _REGION_SHIFT | word


def split_memory_address(arg: int) -> tuple[int, int]:
    """Region and word of an ``arg`` that :func:`memory_address` made."""
    return arg >> _REGION_SHIFT, arg & ((1 << _REGION_SHIFT) - 1)


@dataclass(frozen=True)
class Hello:
    """The device's account of itself.

    Parameters
    ----------
    config : Config
        What it was built for, told by the device itself.
    clock_hz : int
        Frequency of its clock, which the cycle counts refer to.
    build : int
        32 bits that identify the build, such as the head of a commit hash.
    version : int
        Protocol version.
    digest : int
        Digest of the configuration as the device reports it.
    release : str
        Release of Firstspike that the device was built with, such as ``0.1.0``.
    """

    config: Config
    clock_hz: int
    build: int = 0
    version: int = PROTOCOL_VERSION
    digest: int | None = None
    release: str = __version__

    _MAGIC = b"1spk"
    #: magic, protocol version, digest, clock, build, buffer bytes, release padded with zeros;
    #: configuration JSON follows.
    _HEAD = struct.Struct("<4sHxxQIII16s")
    #: Up to its end the head is the same in every protocol version.
    _START = struct.Struct("<4sH")

    def encode(self) -> bytes:
        """The payload of the answer, which the device holds in a ROM."""
        digest = self.config.digest if self.digest is None else self.digest
        head = self._HEAD.pack(
            *(self._MAGIC, self.version, digest, self.clock_hz, self.build),
            *(self.config.buffer_bytes, self.release.encode()),
        )
        return head + self.config.to_json().encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload.

        Raises
        ------
        DataError
            If it is no hello of a Firstspike device of this protocol version.
        """
        if len(payload) < cls._START.size or not payload.startswith(cls._MAGIC):
            raise DataError("the answer is no greeting of a Firstspike device")
        _, version = cls._START.unpack_from(payload)
        if version != PROTOCOL_VERSION:
            raise DataError(
                f"the device speaks protocol version {version}, but this release speaks "
                f"{PROTOCOL_VERSION}; rebuild the bitstream or install the matching release"
            )
        if len(payload) < cls._HEAD.size:
            raise DataError("the device's greeting is cut short; rebuild the bitstream")
        _, _, digest, clock_hz, build, _, release = cls._HEAD.unpack_from(payload)
        config = Config.from_json(payload[cls._HEAD.size :].decode(errors="replace"))
        if config.digest != digest:
            raise DataError(
                f"the device reports digest {digest:016x}, but its configuration has "
                f"{config.digest:016x}; rebuild the bitstream with this release"
            )
        name = release.rstrip(b"\0").decode(errors="replace")
        return cls(config, clock_hz, build, version, digest, name)


@dataclass(frozen=True)
class Outcome:
    """The answer to an inference.

    Parameters
    ----------
    label, step : int
    fired : bool
    cycles : int
        Clock cycles from the first event of the sample to the decision.
    rows : tuple of int
        Weight rows fetched by each layer.
    """

    label: int
    step: int
    fired: bool
    cycles: int
    rows: tuple[int, ...]

    #: cycles, label, step, flags (bit 0: fired); a u16 of rows for each layer follows.
    _HEAD = struct.Struct("<IHHH")

    def encode(self) -> bytes:
        """The payload of the answer."""
        head = self._HEAD.pack(self.cycles, self.label, self.step, int(self.fired))
        return head + struct.pack(f"<{len(self.rows)}H", *self.rows)

    @classmethod
    def decode(cls, payload: bytes, layers: int) -> Self:
        """Read a payload of a network of ``layers`` layers.

        Raises
        ------
        DataError
            If its length is wrong.
        """
        if len(payload) != cls._HEAD.size + 2 * layers:
            raise DataError(f"an answer to an inference has {len(payload)} bytes")
        cycles, label, step, flags = cls._HEAD.unpack_from(payload)
        rows = struct.unpack_from(f"<{layers}H", payload, cls._HEAD.size)
        return cls(label, step, bool(flags & 1), cycles, rows)


def learning_argument(label: int, number: int) -> int:
    """The ``arg`` of a sample to learn: label in bits 31–16, low half of its number in the others.

    Samples are numbered from 0; the next number that a device takes is its register ``learned``.
    """
    return label << 16 | (number & 0xFFFF)


_STEP_WORD = 0x8000


def encode_sample(sample: np.ndarray) -> tuple[Op, bytes]:
    """The shorter request for one sample.

    A list of spikes is a list of u16 words. A word with its top bit set opens a step, whose number
    is in the other 15 bits; every other word is the index of an input that spikes in that step.
    Steps ascend; step 0 is open at the start.

    Parameters
    ----------
    sample : (inputs,) integer spike steps, ``NEVER`` for none

    Returns
    -------
    op, payload
    """
    spiking = np.flatnonzero(sample != NEVER)
    steps = sample[spiking]
    bitmap_bytes = -(-len(sample) // 8)
    if not steps.any() and 2 * len(spiking) >= bitmap_bytes:
        return Op.INFER_BITMAP, np.packbits(sample == 0, bitorder="little").tobytes()
    order = np.argsort(steps, kind="stable")
    steps, words = steps[order], spiking[order].astype("<u2")
    opens = np.flatnonzero(np.diff(steps, prepend=0))
    return Op.INFER_SPIKES, np.insert(words, opens, steps[opens] | _STEP_WORD).tobytes()


def decode_sample(op: int, payload: bytes, inputs: int, steps: int) -> np.ndarray | Status:
    """The (inputs,) ``int32`` spike steps of a request, or the status that refuses it."""
    sample = np.full(inputs, NEVER, dtype=np.int32)
    if op == Op.INFER_BITMAP:
        if len(payload) != -(-inputs // 8):
            return Status.BAD_LENGTH
        bits = np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="little")
        if bits[inputs:].any():
            return Status.BAD_SAMPLE
        sample[bits[:inputs] != 0] = 0
        return sample
    if len(payload) % 2:
        return Status.BAD_LENGTH
    step = spikes = 0
    for (word,) in struct.iter_unpack("<H", payload):
        if word & _STEP_WORD:
            opened = word & ~_STEP_WORD
            if not step <= opened < steps:
                return Status.BAD_SAMPLE
            step = opened
        elif word >= inputs or spikes == inputs:
            return Status.BAD_SAMPLE
        else:
            sample[word] = step
            spikes += 1
    return sample
