"""Words of the core's memories as streams of bytes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..firmware.config import Config
from .cobs import packet_byte
from .memory_window import FETCH_CYCLES, SHIFT_CYCLES, MemoryPort
from .token import index_shape

__all__ = ["MemoryStreamer"]

_REGION_BITS = 8
_WORD_BITS = 24
_COUNT_BITS = 32


class MemoryStreamer(wiring.Component):
    """Writes and reads consecutive words of one region, each lane 0 first.

    Parameters
    ----------
    config : Config

    Members
    -------
    region : In(8)
        Held while bytes are written or read.
    word : In(24)
        First word.
    words : In(32)
        Number of words to be read.
    known : Out(1)
        There is such a region, a cycle after ``region``.
    fits : Out(1)
        There are ``words`` words from ``word`` on, a cycle after they are given.
    write : In(1)
        Begin at ``word``; bytes may come from the next cycle on.
    i : In(stream)
        Bytes to be written. A word is stored when it is complete.
    whole : Out(1)
        There were bytes, and the last word of them was complete.
    excess : Out(1)
        Bytes beyond the end of the region came, and were dropped.
    read : In(1)
        Begin to read ``words`` words from ``word`` on. Only while ``known`` and ``fits``.
    o : Out(stream)
        :data:`~firstspike.hdl.cobs.packet_byte`; the bytes that are read.
    busy : Out(1)
        Bytes are left to be read, or a word is being stored.
    memory : Out(MemoryPort(config))

    Throughput: a word of ``n`` bytes takes ``n + FETCH_CYCLES + 1`` cycles to write, and
    ``n * SHIFT_CYCLES + FETCH_CYCLES`` to read.
    """

    def __init__(self, config: Config) -> None:
        self._regions = config.regions
        super().__init__(
            {
                "region": In(_REGION_BITS),
                "word": In(_WORD_BITS),
                "words": In(_COUNT_BITS),
                "known": Out(1),
                "fits": Out(1),
                "write": In(1),
                "i": In(stream.Signature(8)),
                "whole": Out(1),
                "excess": Out(1),
                "read": In(1),
                "o": Out(stream.Signature(packet_byte)),
                "busy": Out(1),
                "memory": Out(MemoryPort(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # Of the region at hand.
        known = Signal()
        size = Signal(range(max(region.words for region in self._regions) + 1))
        last_lane = Signal(index_shape(max(region.lanes for region in self._regions)))
        width = bits_for(len(self._regions) - 1)
        with m.If(self.region[width:] == 0), m.Switch(self.region[:width]):
            for number, region in enumerate(self._regions):
                with m.Case(number):
                    m.d.comb += [
                        known.eq(1),
                        size.eq(region.words),
                        last_lane.eq(region.lanes - 1),
                    ]

        address = Signal.like(size)
        left = Signal.like(size)
        lane = Signal.like(last_lane)
        outside = Signal()
        beyond = Signal()
        timer = Signal(range(FETCH_CYCLES))
        reaches = len(size)
        m.d.comb += [
            outside.eq(self.word[reaches:].any()),
            self.memory.region.eq(self.region),
            self.memory.word.eq(address),
            self.memory.byte.eq(self.i.payload),
            self.o.p.data.eq(self.memory.byte_out),
            self.o.p.last.eq((lane == last_lane) & (left == 1)),
        ]

        def advance() -> None:
            """One lane on."""
            m.d.comb += self.memory.shift.eq(1)
            m.d.sync += lane.eq(lane + 1)
            with m.If(lane == last_lane):
                m.d.sync += lane.eq(0)

        m.d.sync += [
            self.known.eq(known),
            self.fits.eq(
                ~outside
                & ~self.words[reaches:].any()
                & (self.word[:reaches] + self.words[:reaches] <= size)
            ),
        ]

        # Word and region have to stay for a while after each access, which `store` and `fetch`
        # begin and `settle` and `wait` sit out.
        with m.FSM(name="state") as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("idle"))
            with m.State("idle"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += self.whole.eq(lane == last_lane)
                    advance()
                    with m.If(beyond | (address >= size)):
                        m.d.sync += self.excess.eq(1)
                    with m.Elif(lane == last_lane):
                        m.next = "store"
                with m.If(self.write | self.read):
                    m.d.sync += [
                        address.eq(self.word),
                        left.eq(self.words),
                        lane.eq(0),
                        beyond.eq(outside),
                        self.whole.eq(0),
                        self.excess.eq(0),
                    ]
                with m.If(self.read & (self.words != 0)):
                    m.next = "fetch"
            with m.State("store"):
                m.d.comb += self.memory.store.eq(1)
                m.d.sync += timer.eq(FETCH_CYCLES - 2)
                m.next = "settle"
            with m.State("settle"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += address.eq(address + 1)
                    m.next = "idle"
            with m.State("fetch"):
                m.d.comb += self.memory.fetch.eq(1)
                m.d.sync += timer.eq(FETCH_CYCLES - 2)
                m.next = "wait"
            with m.State("wait"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.next = "read"
            with m.State("read"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    advance()
                    m.d.sync += timer.eq(SHIFT_CYCLES - 2)
                    m.next = "wait"
                    with m.If(lane == last_lane):
                        m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
                        m.next = "fetch"
                        with m.If(left == 1):
                            m.next = "idle"

        return m
