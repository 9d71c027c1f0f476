"""A bad cable: link faults around any transport, drawn from a seed.

What happens to a byte depends on the seed and on how many bytes went before it in its direction,
not on how they were cut into blocks: the same traffic meets the same faults on a model, a
pseudo-terminal or a board. ``docs/faults.md`` lists the kinds.
"""

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np

from ..firmware.errors import DataError, DeviceLost
from ..firmware.suggest import suggest
from ..firmware.transport import Transport, VirtualTransport
from .virtual_board import BITS_A_BYTE

__all__ = ["Faults", "FaultyLine", "FaultyTransport"]

_SHORTEST_BURST, _LONGEST_BURST = 2, 64

#: Beyond this nothing looks like a byte any more.
_WORST_BAUD = 0.2

#: What happens to frames, before anything happens to their bytes.
_FRAME_FAULTS = ("lose", "repeat", "swap")
#: What happens to the whole line at a byte, and what to that byte, in this order.
_LINE_FAULTS = ("stall", "reset", "brownout")
#: Those of them that take a board that is not real.
_BOARD_FAULTS = ("reset", "brownout")
_BYTE_FAULTS = ("insert", "drop", "duplicate")


@dataclass(frozen=True)
class Faults:
    """What happens to one direction of a line, and how often.

    Parameters
    ----------
    flip : float
        Probability, for each bit, that it is inverted: the bit-error rate.
    drop, duplicate, insert : float
        Probability, for each byte, that it is lost, that it comes twice, that a random byte comes
        before it.
    burst : float
        Probability, for each byte, that noise takes the place of it and of up to 63 bytes after it.
    lose, repeat, swap : float
        Probability, for each frame, that it is lost, that it comes twice, that it changes places
        with the next one.
    stall : float
        Probability, for each byte, that the line stands still before it, in both directions.
    pause : float
        Seconds that the line then stands still.
    unplug : float
        Probability, for each byte, that the cable is pulled before it. It may be plugged in again.
    reset, brownout : float
        Probability, for each byte, that the device is reset before it, or loses its power for so
        short a time that its port stays; for virtual boards alone.
    baud : float
        Share by which the sender's bits are shorter than the receiver believes.

    Raises
    ------
    DataError
        If a number is out of its range.
    """

    flip: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    insert: float = 0.0
    burst: float = 0.0
    lose: float = 0.0
    repeat: float = 0.0
    swap: float = 0.0
    stall: float = 0.0
    pause: float = 1.0
    unplug: float = 0.0
    reset: float = 0.0
    brownout: float = 0.0
    baud: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "pause":
                if not 0 <= value < float("inf"):
                    raise DataError(f"the pause of a stall is {value} s, but it takes at least 0")
            elif name == "baud":
                if not abs(value) <= _WORST_BAUD:
                    raise DataError(
                        f"the baud rate is to be wrong by {value}, but the range is "
                        f"-{_WORST_BAUD} to {_WORST_BAUD}"
                    )
            elif not 0 <= value <= 1:
                raise DataError(f"the probability of {name} is {value}, but the range is 0 to 1")


def _parse(text: str) -> tuple[Faults, Faults, int | None]:
    """Faults to the device, faults to the host and the seed that a text describes."""
    kinds = [*(field.name for field in fields(Faults)), "seed"]
    to_device: dict[str, float] = {}
    to_host: dict[str, float] = {}
    seed = None
    given = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if not name:
            raise DataError(f"{part} names no fault; write one as in flip=1e-3")
        if name not in kinds:
            raise DataError(f"there is no fault {name}{suggest(name, kinds)}")
        if name in given:
            raise DataError(
                f"{name} is given twice; give it once, with two numbers as in "
                f"{name}=1e-3/0 if the directions differ"
            )
        given.add(name)
        try:
            if name == "seed":
                seed = int(value)
                continue
            there, slash, back = value.partition("/")
            to_device[name] = float(there)
            to_host[name] = float(back if slash else there)
        except ValueError:
            raise DataError(
                f"{part} is no fault; write a number as in {name}=1e-3, or one for each direction "
                f"as in {name}=1e-3/0, first that to the device"
            ) from None
    if "pause" in given and "stall" not in given:
        raise DataError(
            "pause says how long a stall takes, but no stall is given; add one as in stall=1e-4"
        )
    return Faults(**to_device), Faults(**to_host), seed


class _Moments:
    """Trials in which something of a given probability happens, asked for in any portions."""

    def __init__(self, probability: float, random: np.random.Generator) -> None:
        self._probability = probability
        self._random = random
        self._left = self._gap()

    def _gap(self) -> int:
        """Trials in which it does not happen, before one in which it does."""
        return int(self._random.geometric(self._probability)) - 1 if self._probability else 0

    def among(self, trials: int) -> list[int]:
        """Those of the next ``trials`` in which it happens, counted from 0."""
        if not self._probability:
            return []
        found = []
        while self._left < trials:
            found.append(self._left)
            self._left += 1 + self._gap()
        self._left -= trials
        return found

    def first(self, trials: int) -> int | None:
        """The first of the next ``trials`` in which it happens; those after it are not made."""
        if not self._probability:
            return None
        if self._left >= trials:
            self._left -= trials
            return None
        found, self._left = self._left, self._gap()
        return found


class _Way:
    """One direction of a line: bytes go in; what arrives of them, and what happens, comes out."""

    def __init__(self, faults: Faults, seed: list[int], injected: Counter[str]) -> None:
        self._faults = faults
        self._injected = injected
        # A generator for the moments of each kind, so that one kind more leaves the others where
        # they were, and one for what is drawn at those moments.
        kinds = ("unplug", "flip", "burst", *_FRAME_FAULTS, *_LINE_FAULTS, *_BYTE_FAULTS)
        self._moments = {
            kind: _Moments(getattr(faults, kind), np.random.default_rng([*seed, number]))
            for number, kind in enumerate(kinds)
        }
        self._strangers = np.random.default_rng([*seed, len(kinds)])
        self._noises = np.random.default_rng([*seed, len(kinds) + 1])
        self._by_frames = any(getattr(faults, kind) for kind in _FRAME_FAULTS)
        #: Of a frame whose end has yet to come.
        self._begun = b""
        #: A frame that waits for the next one to pass it.
        self._overtaken = b""
        #: What is left of a burst.
        self._noise = b""

    def pass_on(self, data: bytes) -> Iterator[bytes | str]:
        """Bytes as they come out at the far end, and the names of what happens to the line."""
        pulled = self._moments["unplug"].first(len(data))
        data = data[:pulled]
        if self._by_frames:
            data = self._spoil_frames(data)
        for piece in self._spoil_bytes(data):
            if isinstance(piece, bytes) and self._faults.baud:
                yield _misread(piece, self._faults.baud)
            else:
                yield piece
        if pulled is not None:
            self._injected["unplug"] += 1
            yield "unplug"

    def forget(self) -> None:
        """Lose what is on its way."""
        self._begun = self._overtaken = self._noise = b""

    def _happens(self, kind: str) -> bool:
        happens = bool(self._moments[kind].among(1))
        self._injected[kind] += happens
        return happens

    def _spoil_frames(self, data: bytes) -> bytes:
        *frames, self._begun = (self._begun + data).split(b"\0")
        passed = bytearray()
        for frame in (frame + b"\0" for frame in frames):
            if frame == b"\0":
                passed += frame
            elif self._happens("lose"):
                continue
            elif not self._overtaken and self._happens("swap"):
                self._overtaken = frame
            else:
                passed += frame + self._overtaken
                self._overtaken = b""
                if self._happens("repeat"):
                    passed += frame
        return bytes(passed)

    def _spoil_bytes(self, data: bytes) -> Iterator[bytes | str]:
        spoiled = bytearray(data)
        for bit in self._moments["flip"].among(8 * len(data)):
            spoiled[bit // 8] ^= 1 << bit % 8
            self._injected["flip"] += 1
        self._cover(spoiled)
        kinds = (*_LINE_FAULTS, *_BYTE_FAULTS)
        happening = sorted(
            (at, rank, kind)
            for rank, kind in enumerate(kinds)
            for at in self._moments[kind].among(len(data))
        )
        piece = bytearray()
        done = 0
        for at, _, kind in happening:
            piece += spoiled[done:at]
            lost = done > at
            done = max(done, at)
            if kind == "drop":
                done = at + 1
            elif kind == "insert":
                piece.append(self._strangers.integers(256))
            elif kind != "duplicate":
                yield bytes(piece)
                yield kind
                piece.clear()
            elif lost:
                continue
            else:
                piece.append(spoiled[at])
            self._injected[kind] += 1
        yield bytes(piece + spoiled[done:])

    def _cover(self, spoiled: bytearray) -> None:
        """Put noise over what bursts hit."""
        bursts = [(0, self._noise)]
        for start in self._moments["burst"].among(len(spoiled)):
            before, noise = bursts[-1]
            if start >= before + len(noise):
                length = int(self._noises.integers(_SHORTEST_BURST, _LONGEST_BURST + 1))
                bursts.append((start, self._noises.bytes(length)))
                self._injected["burst"] += 1
        for start, noise in bursts:
            spoiled[start : start + len(noise)] = noise[: len(spoiled) - start]
        start, noise = bursts[-1]
        self._noise = noise[len(spoiled) - start :]


def _misread(data: bytes, error: float) -> bytes:
    """What a receiver reads whose bits are longer than the sender's by a share of ``error``.

    It waits for an edge down, looks at the middle of each bit that should follow, leaves out a
    byte whose stop bit is low, and waits again from there.
    """
    bits = np.ones((len(data), BITS_A_BYTE), np.uint8)
    bits[:, 0] = 0
    bits[:, 1:9] = np.unpackbits(np.frombuffer(data, np.uint8)[:, None], axis=1, bitorder="little")
    # Before and after the block, the line is high.
    line = np.concatenate([[1], bits.ravel(), np.ones(2 * BITS_A_BYTE, np.uint8)])
    edges = (np.flatnonzero(np.diff(line.astype(np.int8)) < 0) + 1).tolist()
    middles = (np.arange(BITS_A_BYTE) + 0.5) * (1 + error)
    read = bytearray()
    now = 0.0
    while (number := bisect_left(edges, now)) < len(edges):
        looks = edges[number] + middles
        seen = line[looks.astype(np.int64)]
        now = float(looks[-1])
        if seen[-1]:
            read += np.packbits(seen[1:9], bitorder="little").tobytes()
    return bytes(read)


class FaultyTransport:
    """Passes bytes on, not always as they were.

    Parameters
    ----------
    transport : Transport
        What it stands in front of.
    to_device, to_host : Faults
    seed : int
        The same seed and the same traffic give the same faults.
    connect : callable, optional
        Opens the transport anew after it was unplugged.

    Attributes
    ----------
    silent : bool
        While set, nothing that the device sends arrives.
    clock : callable
        Seconds, by the clock of a virtual board if there is one.
    reset : callable
        That of a virtual board, if there is one.
    injected : Counter
        Faults so far, by kind.

    Raises
    ------
    DataError
        If a board is to be reset that is not virtual.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        to_device: Faults = Faults(),
        to_host: Faults = Faults(),
        seed: int = 0,
        connect: Callable[[], Transport] | None = None,
    ) -> None:
        for kind in _BOARD_FAULTS:
            asked = getattr(to_device, kind) or getattr(to_host, kind)
            if asked and not isinstance(transport, VirtualTransport):
                raise DataError(
                    f"the fault {kind} is for virtual boards alone; leave it out, or use model:, "
                    "sim: or netlist:"
                )
        self.silent = False
        self.injected: Counter[str] = Counter()
        self._transport = transport
        #: What is behind, if it is a board that is not real.
        self._virtual = transport if isinstance(transport, VirtualTransport) else None
        self.clock = time.monotonic
        if self._virtual is not None:
            # So that another line in front of this one finds them.
            self.clock, self.reset = self._virtual.clock, self._virtual.reset
        self._connect = connect
        self._pause = {"to_device": to_device.pause, "to_host": to_host.pause}
        self._ways = {
            "to_device": _Way(to_device, [seed, 0], self.injected),
            "to_host": _Way(to_host, [seed, 1], self.injected),
        }
        #: What has yet to pass, in order: bytes, and what happens to the line.
        self._queues: dict[str, deque[bytes | str]] = {way: deque() for way in self._ways}
        self._still_until = 0.0
        self._plugged = True

    def write(self, data: bytes) -> None:
        """Send bytes, with faults.

        Raises
        ------
        DeviceLost
            If the cable is unplugged, after the bytes that still got through.
        """
        self._demand_cable()
        self._queues["to_device"].extend(self._ways["to_device"].pass_on(data))
        self._advance("to_device")

    def read(self, timeout: float) -> bytes:
        """Wait for bytes, with faults.

        Raises
        ------
        DeviceLost
            If the cable is unplugged.
        """
        self._demand_cable()
        deadline = self.clock() + timeout
        late = False
        while True:
            self._advance("to_device")
            if arrived := self._advance("to_host"):
                return arrived
            if late:
                return b""
            # While the line stands still, time passes here and nothing else.
            end = min(deadline, self._still_until) if self._stands_still else deadline
            data = self._transport.read(max(end - self.clock(), 0.0))
            # A port that is never quiet is not read for ever, though all of it gets lost.
            late = self.clock() >= deadline
            if data and self.silent:
                self.injected["silence"] += len(data)
            elif data:
                self._queues["to_host"].extend(self._ways["to_host"].pass_on(data))
            elif end == deadline:
                return b""
            else:
                # It is over, though rounding to the board's clock may leave it a moment short.
                self._still_until = 0.0

    def close(self) -> None:
        """Close what is behind; a virtual board whose cable is pulled stays where it is."""
        if self._plugged or self._virtual is None:
            self._transport.close()

    def plug_in(self) -> None:
        """Plug the cable in again; what was on it is lost."""
        if self._virtual is None:
            assert self._connect is not None
            self._transport.close()
            self._transport = self._connect()
        self._plugged = True

    @property
    def _stands_still(self) -> bool:
        return self.clock() < self._still_until

    def _advance(self, way: str) -> bytes:
        """Pass on what is due in one direction; return the bytes for the host."""
        queue = self._queues[way]
        arrived = bytearray()
        while queue and not self._stands_still:
            if queue[0] == "unplug" and arrived:
                break  # what came before is still read
            piece = queue.popleft()
            if not isinstance(piece, bytes):
                self._happen(piece, way)
            elif way == "to_host":
                arrived += piece
            elif piece:
                self._transport.write(piece)
        return bytes(arrived)

    def _happen(self, fault: str, way: str) -> None:
        """Do to the line what is no matter of single bytes."""
        if fault == "stall":
            self._still_until = self.clock() + self._pause[way]
        elif fault in _BOARD_FAULTS:
            assert self._virtual is not None
            self._virtual.reset(power=fault == "brownout")
        else:
            self._plugged = False
            for name, queue in self._queues.items():
                queue.clear()
                self._ways[name].forget()
            self._demand_cable()

    def _demand_cable(self) -> None:
        if not self._plugged:
            raise DeviceLost("the cable was unplugged")


class FaultyLine:
    """A bad line for one port, what :class:`firstspike.device.Device` takes as its ``line``.

    Parameters
    ----------
    text : str
        Kinds and how often, such as ``flip=1e-4,drop=1e-3/0,seed=7``: one number for both
        directions, or two, the first for the way to the device.
    seed : int
        Where the text names none.

    Raises
    ------
    DataError
        If the text does not describe faults, or the seed is below 0.
    """

    def __init__(self, text: str, *, seed: int = 0) -> None:
        self._to_device, self._to_host, given = _parse(text)
        self._seed = seed if given is None else given
        if self._seed < 0:
            raise DataError(f"the seed of the faults is {self._seed}, but it takes at least 0")
        self._transport: FaultyTransport | None = None

    @property
    def injected(self) -> dict[str, int]:
        """Faults so far, by kind."""
        if self._transport is None:
            return {}
        return {kind: count for kind, count in sorted(self._transport.injected.items()) if count}

    def __call__(self, connect: Callable[[], Transport]) -> FaultyTransport:
        """Open a port by ``connect``, or once more if its cable was pulled.

        Raises
        ------
        DataError
            See :class:`FaultyTransport`.
        """
        if self._transport is not None:
            self._transport.plug_in()
            return self._transport
        transport = connect()
        try:
            self._transport = FaultyTransport(
                transport,
                to_device=self._to_device,
                to_host=self._to_host,
                seed=self._seed,
                connect=connect,
            )
        except DataError:
            transport.close()
            raise
        return self._transport
