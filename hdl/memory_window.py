"""The port through which the host loads memories and reads them back."""

from amaranth.hdl import Cat, Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config, Region
from .token import index_shape

__all__ = [
    "FETCH_CYCLES",
    "SHIFT_CYCLES",
    "MemoryPort",
    "MemoryWindow",
    "WindowSignature",
    "word_layout",
]

#: Cycles from ``fetch`` to a valid ``byte_out``, whatever memories were built in.
FETCH_CYCLES = 8

#: Cycles from ``shift`` to the next ``byte_out``: one to reach lanes all over the device.
SHIFT_CYCLES = 2

_BYTE = 8


class MemoryPort(wiring.Signature):
    """All memories of the core, one byte at a time, as the side that drives it sees them.

    ``region`` and ``word`` are held from ``store`` or ``fetch`` on for :data:`FETCH_CYCLES` cycles,
    and no strobe but ``shift`` comes in this time; ``shift`` may follow ``store`` at once.

    Parameters
    ----------
    config : Config

    Members
    -------
    region : Out
        Number of the memory in ``config.regions``.
    word : Out
        Word address for ``store`` and ``fetch``.
    shift : Out(1)
        Move the region's shift register by one lane towards the near end, lane 0, and take ``byte``
        in at the far end.
    byte : Out(8)
    store : Out(1)
        Write the shift register to ``word``.
    fetch : Out(1)
        Read ``word`` into the shift register.
    byte_out : In(8)
        Lane 0 of the region's shift register, extended to a byte; :data:`SHIFT_CYCLES` cycles
        behind ``shift``.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "region": Out(index_shape(len(config.regions))),
                "word": Out(index_shape(max(region.words for region in config.regions))),
                "shift": Out(1),
                "byte": Out(_BYTE),
                "store": Out(1),
                "fetch": Out(1),
                "byte_out": In(_BYTE),
            }
        )


class WindowSignature(wiring.Signature):
    """The port of one memory, seen from the core: :class:`MemoryPort` without the choice of region.

    Parameters
    ----------
    region : Region

    Members
    -------
    word, shift, byte, store, byte_out
        As in :class:`MemoryPort`, for this region alone.
    capture : Out(1)
        Take over what the memory reads at ``word``, which has been stable for long enough.
    """

    def __init__(self, region: Region) -> None:
        super().__init__(
            {
                "word": Out(index_shape(region.words)),
                "shift": Out(1),
                "byte": Out(_BYTE),
                "store": Out(1),
                "capture": Out(1),
                "byte_out": In(_BYTE),
            }
        )


def word_layout(region: Region) -> data.ArrayLayout:
    """One word of a memory: a number for each lane."""
    return data.ArrayLayout(Shape(region.bits, signed=region.signed), region.lanes)


class MemoryWindow(wiring.Component):
    """The shift register between the byte-wide port and the words of one memory.

    Parameters
    ----------
    region : Region

    Members
    -------
    port : In(WindowSignature(region))
    word : Out(word_layout(region))
        The word to be stored; right until the cycle after ``port.store``.
    data : In(word_layout(region))
        The word to be captured.
    """

    def __init__(self, region: Region) -> None:
        super().__init__(
            {
                "port": In(WindowSignature(region)),
                "word": Out(word_layout(region)),
                "data": In(word_layout(region)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = Signal.like(self.word, reset_less=True)
        bits = lanes.shape().elem_shape.width
        with m.If(self.port.capture):
            m.d.sync += lanes.eq(self.data)
        with m.Elif(self.port.shift):
            m.d.sync += lanes.eq(Cat(lanes.as_value()[bits:], self.port.byte[:bits]))
        m.d.comb += [self.word.eq(lanes), self.port.byte_out.eq(lanes[0])]
        return m
