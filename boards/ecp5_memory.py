"""Weight memories out of the block RAM of the ECP5, with its output registers."""

from dataclasses import dataclass
from itertools import product
from typing import Self

from amaranth.hdl import Array, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring

from ..firmware.config import Region
from ..hdl.weight_memory import weight_memory_members

__all__ = ["PackedMemory", "Packing"]

#: Of a DP16KD.
_BLOCK_BITS = 18 * 1024

_PORT_BITS = 18
_ADDRESS_BITS = 14


@dataclass(frozen=True)
class Packing:
    """How a memory is cut into block RAMs: side by side in columns, one behind the other in banks.

    Parameters
    ----------
    width : int
        Bits of a word of one block.
    depth : int
        Its words.
    columns, banks : int
    """

    width: int
    depth: int
    columns: int
    banks: int

    @property
    def blocks(self) -> int:
        return self.columns * self.banks

    @property
    def latency(self) -> int:
        """Cycles of a read; several banks have a register behind the choice among them."""
        return 2 if self.banks == 1 else 3

    @classmethod
    def best(cls, words: int, bits: int) -> Self:
        """The packing with the fewest blocks, and among these with the fewest banks."""
        shapes = [(width, _BLOCK_BITS // width) for width in (36, 18, 9)]
        packings = [
            cls(width, depth, -(-bits // width), -(-words // depth)) for width, depth in shapes
        ]
        return min(packings, key=lambda packing: (packing.blocks, packing.banks))


class PackedMemory(wiring.Component):
    """A :class:`~firstspike.hdl.weight_memory.WeightMemory` of DP16KD primitives.

    The data of a block RAM come 5.8 ns after the clock, those of its output register 0.6 ns (speed
    grade 6): tools that infer memories use the former.

    Parameters
    ----------
    region : Region

    Members
    -------
    address, data, store, word, write_address
        As of :class:`~firstspike.hdl.weight_memory.WeightMemory`.

    Latency: 2 cycles, or 3 with more than one bank.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.packing = Packing.best(region.words, region.lanes * region.bits)
        super().__init__(weight_memory_members(region))

    @property
    def latency(self) -> int:
        return self.packing.latency

    def elaborate(self, platform) -> Module:
        m = Module()
        packing = self.packing
        row_bits = (packing.depth - 1).bit_length()
        row, bank = self.address[:row_bits], self.address[row_bits:]
        write_address = self.write_address if self.region.learns else self.address
        write_row, write_bank = write_address[:row_bits], write_address[row_bits:]
        padded = Signal(packing.columns * packing.width)
        outputs = [Signal.like(padded, name=f"output_{number}") for number in range(packing.banks)]
        m.d.comb += padded.eq(self.word.as_value())
        for number, column in product(range(packing.banks), range(packing.columns)):
            part = slice(column * packing.width, (column + 1) * packing.width)
            m.submodules[f"block_{number}_{column}"] = self._block(
                row,
                write_row,
                padded[part],
                self.store & (write_bank == number) if packing.banks > 1 else self.store,
                outputs[number][part],
            )
        if packing.banks == 1:
            m.d.comb += self.data.eq(outputs[0])
        else:
            fetched_bank, output_bank = (Signal.like(bank, reset_less=True) for _ in range(2))
            chosen = Signal.like(padded, reset_less=True)
            m.d.sync += [
                fetched_bank.eq(bank),
                output_bank.eq(fetched_bank),
                chosen.eq(Array(outputs)[output_bank]),
            ]
            m.d.comb += self.data.eq(chosen)
        return m

    def _block(self, row, write_row, written, store, read) -> Instance:
        """One block RAM: port A writes, port B reads.

        A word wider than a port takes the data pins of both.
        """
        width = self.packing.width
        ports = {}
        # The lowest address bits choose among parts of a word; with 18 bits and more they are byte
        # enables where words are written.
        shift = _ADDRESS_BITS - (self.packing.depth - 1).bit_length()
        enables = width // 9 if width > 9 else 0
        for bit in range(_ADDRESS_BITS):
            held = shift <= bit < shift + len(row)
            write_bit = write_row[bit - shift] if held else 0
            ports[f"i_ADA{bit}"] = store if bit < enables else write_bit
            ports[f"i_ADB{bit}"] = row[bit - shift] if held else 0
        for bit in range(_PORT_BITS):
            ports[f"i_DIA{bit}"] = written[bit] if bit < width else 0
            ports[f"i_DIB{bit}"] = written[_PORT_BITS + bit] if width > _PORT_BITS else 0
        if width > _PORT_BITS:
            for bit in range(_PORT_BITS):
                ports[f"o_DOA{bit}"] = read[bit]
                ports[f"o_DOB{bit}"] = read[_PORT_BITS + bit]
        else:
            for bit in range(width):
                ports[f"o_DOB{bit}"] = read[bit]
        for side in "AB":
            ports |= {
                f"p_DATA_WIDTH_{side}": width,
                f"p_REGMODE_{side}": "OUTREG",
                f"p_WRITEMODE_{side}": "NORMAL",
                f"p_CSDECODE_{side}": "0b000",
                f"i_CLK{side}": ClockSignal(),
                f"i_CE{side}": 1,
                f"i_OCE{side}": 1,
                f"i_RST{side}": 0,
                **{f"i_CS{side}{bit}": 0 for bit in range(3)},
            }
        return Instance(
            "DP16KD",
            **ports,
            p_RESETMODE="SYNC",
            p_GSR="DISABLED",
            i_WEA=store,
            i_WEB=0,
        )
