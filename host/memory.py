"""The registers and memories of a device, over its link."""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from .connection import Connection
from .exchange import Request
from .firmware.config import Region
from .firmware.errors import DataError, LinkError, NoisyLine, NoReply
from .firmware.protocol import Op, memory_address
from .firmware.registers import Register, register_map, register_values
from .firmware.suggest import suggest

__all__ = ["Memory"]

_T = TypeVar("_T")

_U32 = struct.Struct("<I")

#: See ``Memory._pieces``.
_FEWEST_PIECES, _MOST_PIECES = 4, 64


class Memory:
    """Reads and writes registers and memories, each request once: a device that is lost stays so.

    Parameters
    ----------
    connection : Connection
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Into so many pieces of its size, what the device's buffer holds is divided for moving
        # memory: with four, the line stays busy while the device stores one.
        self._pieces = _FEWEST_PIECES

    # Registers

    def read_register(self, name: str) -> int:
        """Read a register by its name; raises DataError if there is none."""
        address, _ = self._register(name)
        return _number(self._connection.link.call(Request(Op.READ_REGISTER, address)))

    def write_register(self, name: str, value: int) -> None:
        """Write a register; raises what :meth:`writable` does."""
        self.writable(name, value)
        address, _ = self._register(name)
        self._connection.link.call(Request(Op.WRITE_REGISTER, address, _U32.pack(value)))

    def writable(self, name: str, value: int) -> Register:
        """The register of a name to which a value can be written.

        Raises
        ------
        DataError
            If there is no such register, it cannot be written or the value is out of its range.
        """
        _, register = self._register(name)
        if not register.writable:
            raise DataError(f"register {name} cannot be written")
        allowed = register_values(self._connection.config)[name]
        if value not in allowed:
            raise DataError(
                f"{value} was to be written to register {name}, but the range is {allowed[0]} to "
                f"{allowed[-1]}"
            )
        return register

    def registers(self, wanted: Callable[[Register], bool] = lambda _: True) -> dict[str, int]:
        """Read the registers for whose entry in the table ``wanted`` holds; by name."""
        table = [
            (name, address)
            for name, address, entry in register_map(self._connection.config)
            if wanted(entry)
        ]
        answers = self._connection.link.stream(
            Request(Op.READ_REGISTER, address) for _, address in table
        )
        return {name: _number(answer) for (name, _), answer in zip(table, answers, strict=True)}

    def _register(self, name: str) -> tuple[int, Register]:
        table = {
            known: (address, entry)
            for known, address, entry in register_map(self._connection.config)
        }
        if name not in table:
            raise DataError(f"there is no register {name}{suggest(name, table)}")
        return table[name]

    # Memories

    def read(self, name: str) -> bytes:
        """Read a whole region by its name; raises DataError if there is none."""
        number, region = self._region(name)
        return self._in_pieces(
            lambda: b"".join(
                self._connection.link.stream(
                    Request(
                        Op.READ_MEMORY,
                        memory_address(number, word),
                        _U32.pack(count),
                        answer_bytes=count * region.lanes,
                    )
                    for word, count in self._spans(region)
                )
            )
        )

    def write(self, name: str, data: bytes) -> None:
        """Write a whole region by its name; raises what :meth:`demand_size` does."""
        self.demand_size(name, data)
        number, region = self._region(name)
        self._in_pieces(
            lambda: list(
                self._write_words(
                    number,
                    (
                        (word, data[word * region.lanes : (word + count) * region.lanes])
                        for word, count in self._spans(region)
                    ),
                )
            )
        )

    def demand_size(self, name: str, data: bytes) -> None:
        """Check what is to be written to a whole region.

        Raises
        ------
        DataError
            If there is no such region or it has another size.
        """
        _, region = self._region(name)
        if len(data) != region.bytes:
            raise DataError(
                f"{len(data)} bytes were to be written to {name}, but it holds {region.bytes}"
            )

    def write_differing(self, name: str, data: bytes, done: Callable[[int], object]) -> None:
        """Write those parts of a region that differ from ``data``.

        Parameters
        ----------
        name : str
        data : bytes
            Of the whole region.
        done : callable
            Called with the number of bytes known to be right since the last call, which is negative
            where they have to be moved once more.
        """
        number, region = self._region(name)
        right = 0

        def count(size: int) -> None:
            nonlocal right
            right += size
            done(size)

        def move() -> None:
            count(-right)
            self._write_differing(number, region, data, count)

        self._in_pieces(move)

    def differing(self, regions: Mapping[str, bytes]) -> Iterator[str]:
        """Names of the regions whose CRC on the device is not that of the bytes given."""
        for name, wanted in regions.items():
            number, region = self._region(name)
            if self._crc(number, 0, region.words) != zlib.crc32(wanted):
                yield name

    def _write_differing(
        self, number: int, region: Region, data: bytes, count: Callable[[int], None]
    ) -> None:
        if self._crc(number, 0, region.words) == zlib.crc32(data):
            count(len(data))
            return
        spans = self._spans(region)
        parts = {
            word: data[word * region.lanes : (word + words) * region.lanes] for word, words in spans
        }
        crcs = self._connection.link.stream(
            Request(Op.MEMORY_CRC, memory_address(number, word), _U32.pack(words))
            for word, words in spans
        )
        differing = []
        for (word, part), answer in zip(parts.items(), crcs, strict=True):
            if _number(answer) == zlib.crc32(part):
                count(len(part))
            else:
                differing.append((word, part))
        written = self._write_words(number, differing)
        for (_, part), _ in zip(differing, written, strict=True):
            count(len(part))

    def _write_words(self, number: int, parts: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        """Write words of a region, each part from a word on; yield as they are written."""
        return self._connection.link.stream(
            Request(Op.WRITE_MEMORY, memory_address(number, word), part) for word, part in parts
        )

    def _spans(self, region: Region) -> list[tuple[int, int]]:
        """First word and number of words of each piece that a region is moved in."""
        most = max(1, self._connection.config.buffer_bytes // self._pieces // region.lanes)
        return [(word, min(most, region.words - word)) for word in range(0, region.words, most)]

    def _in_pieces(self, move: Callable[[], _T]) -> _T:
        """Move a memory region, in smaller and smaller pieces if the line loses the larger ones."""
        while True:
            try:
                return move()
            except NoReply as error:
                if self._pieces >= _MOST_PIECES:
                    raise
                if not isinstance(error, NoisyLine):
                    self._connection.link.hello()  # or it is not there at all
                self._pieces *= 2

    def _region(self, name: str) -> tuple[int, Region]:
        known = self._connection.config.regions
        regions = {region.name: number for number, region in enumerate(known)}
        if name not in regions:
            raise DataError(f"there is no memory region {name}{suggest(name, regions)}")
        return regions[name], known[regions[name]]

    def _crc(self, number: int, word: int, count: int) -> int:
        """CRC-32 of words of a region."""
        request = Request(Op.MEMORY_CRC, memory_address(number, word), _U32.pack(count))
        return _number(self._connection.link.call(request))


def _number(payload: bytes) -> int:
    """The u32 that an answer holds."""
    if len(payload) != _U32.size:
        raise LinkError(f"an answer has {len(payload)} bytes where a number of 4 was expected")
    return int(_U32.unpack(payload)[0])
