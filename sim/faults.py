"""A bad cable: link faults around any transport, drawn from a seed."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..firmware.errors import DataError, DeviceLost
from .virtual_board import Transport

__all__ = ["Faults", "FaultyTransport"]

_LONGEST_BURST = 64


@dataclass(frozen=True)
class Faults:
    """How often bytes of one direction come to harm.

    Parameters
    ----------
    flip, drop, duplicate, insert : float
        Probability, for each byte, that one of its bits is inverted, that it is lost, that it comes
        twice, that a random byte comes before it.
    garbage : float
        Probability, for each block of bytes written or read, that up to 64 random bytes come before
        it.

    Raises
    ------
    DataError
        If a probability is not 0 … 1.
    """

    flip: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    insert: float = 0.0
    garbage: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise DataError(f"the probability of {name} is {value}, but the range is 0 to 1")


class FaultyTransport:
    """Passes bytes on, not always as they were.

    Parameters
    ----------
    transport : Transport
        What it stands in front of.
    to_device, to_host : Faults
    seed : int
        The same seed and the same traffic give the same faults.

    Attributes
    ----------
    silent : bool
        While set, nothing that the device sends arrives.
    injected : Counter
        Faults so far, by kind.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        to_device: Faults = Faults(),
        to_host: Faults = Faults(),
        seed: int = 0,
    ) -> None:
        self.silent = False
        self.injected: Counter[str] = Counter()
        self._transport = transport
        self._to_device = to_device
        self._to_host = to_host
        self._random = np.random.default_rng(seed)
        self._lost_after: int | None = None

    def disconnect(self, after: int = 0) -> None:
        """Unplug the cable once ``after`` more bytes have been written."""
        self._lost_after = after

    def write(self, data: bytes) -> None:
        """Send bytes, with faults.

        Raises
        ------
        DeviceLost
            If the cable is unplugged, after the bytes that still got through.
        """
        if self._lost_after is not None:
            passed = data[: self._lost_after]
            self._lost_after -= len(passed)
            if len(passed) < len(data) or not self._lost_after:
                self._transport.write(self._spoil(passed, self._to_device))
                raise self._lost()
        self._transport.write(self._spoil(data, self._to_device))

    def read(self, timeout: float) -> bytes:
        """Wait for bytes, with faults.

        Raises
        ------
        DeviceLost
            If the cable is unplugged.
        """
        if self._lost_after == 0:
            raise self._lost()
        while data := self._transport.read(timeout):
            if self.silent:
                self.injected["silence"] += len(data)
            elif data := self._spoil(data, self._to_host):
                break
        return data

    def close(self) -> None:
        """Close what is behind."""
        self._transport.close()

    def _lost(self) -> DeviceLost:
        self.injected["disconnect"] += 1
        return DeviceLost("the cable was unplugged")

    def _spoil(self, data: bytes, faults: Faults) -> bytes:
        """``data`` as it comes out of the far end of the cable."""
        count = len(data)
        flip, drop, duplicate, insert = (
            self._random.random(count) < probability
            for probability in (faults.flip, faults.drop, faults.duplicate, faults.insert)
        )
        bits = np.uint8(1) << self._random.integers(0, 8, count, dtype=np.uint8)
        strangers = self._random.integers(0, 256, count, dtype=np.uint8)
        spoiled = np.frombuffer(data, np.uint8) ^ np.where(flip, bits, np.uint8(0))
        # Each byte becomes a column: the stranger before it, itself, its double.
        columns = np.stack([strangers, spoiled, spoiled])
        kept = np.stack([insert, ~drop, duplicate & ~drop])
        spoiled = columns.T[kept.T]
        burst = self._random.random() < faults.garbage
        if burst:
            length = self._random.integers(1, _LONGEST_BURST + 1)
            noise = self._random.integers(0, 256, length, dtype=np.uint8)
            spoiled = np.concatenate([noise, spoiled])
        self.injected.update(
            flip=int((flip & ~drop).sum()),
            drop=int(drop.sum()),
            duplicate=int((duplicate & ~drop).sum()),
            insert=int(insert.sum()),
            garbage=int(burst),
        )
        return spoiled.tobytes()
