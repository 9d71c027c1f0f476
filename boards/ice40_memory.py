"""Weight memories out of the single-port RAM of the iCE40 UltraPlus."""

from itertools import product

from amaranth.hdl import Array, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring

from ..firmware.config import Region
from ..firmware.errors import DataError
from ..hdl.weight_memory import weight_memory_members

__all__ = ["LargeMemory"]

#: Of an SB_SPRAM256KA.
_BITS = 16
_WORDS = 16_384


class LargeMemory(wiring.Component):
    """A :class:`~firstspike.hdl.weight_memory.WeightMemory` of SB_SPRAM256KA primitives.

    Side by side they make a word, and one behind the other more words.

    Parameters
    ----------
    region : Region

    Members
    -------
    address, data, store, word
        As of :class:`~firstspike.hdl.weight_memory.WeightMemory`.

    Latency: 2 cycles; the second is a register behind the memories.

    Raises
    ------
    DataError
        If the region learns.
    """

    latency = 2

    def __init__(self, region: Region) -> None:
        if region.learns:
            raise DataError(
                f"the large RAMs of the iCE40 UltraPlus have one port, but {region.name} is "
                "written while it is read if the build learns; give it block RAM"
            )
        # Side by side, and one behind the other.
        self.columns = -(-region.lanes * region.bits // _BITS)
        self.banks = -(-region.words // _WORDS)
        super().__init__(weight_memory_members(region))

    def elaborate(self, platform) -> Module:
        m = Module()
        row_bits = (_WORDS - 1).bit_length()
        row, bank = Signal(row_bits), self.address[row_bits:]
        word = Signal(self.columns * _BITS)
        m.d.comb += [row.eq(self.address), word.eq(self.word.as_value())]
        outputs = [Signal.like(word, name=f"output_{number}") for number in range(self.banks)]
        for number, column in product(range(self.banks), range(self.columns)):
            part = slice(column * _BITS, (column + 1) * _BITS)
            chosen = (bank == number) if self.banks > 1 else Const(1)
            m.submodules[f"bank_{number}_column_{column}"] = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=row,
                i_DATAIN=word[part],
                i_MASKWREN=Const(0b1111, 4),
                i_WREN=self.store,
                i_CHIPSELECT=chosen,
                i_STANDBY=Const(0),
                i_SLEEP=Const(0),
                i_POWEROFF=Const(1),  # active low
                o_DATAOUT=outputs[number][part],
            )
        fetched = outputs[0]
        if self.banks > 1:
            fetched_bank = Signal.like(bank, reset_less=True)
            m.d.sync += fetched_bank.eq(bank)
            fetched = Array(outputs)[fetched_bank]
        settled = Signal(len(self.data.as_value()), reset_less=True)
        m.d.sync += settled.eq(fetched)
        m.d.comb += self.data.eq(settled)
        return m
