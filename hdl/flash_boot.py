"""Loads a model from flash when the device comes up."""

from amaranth.hdl import Array, Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out, connect

from ..firmware.config import Config
from ..firmware.flash import HEAD, MAGIC, longest_frames
from .flash_reader import FlashReader, SpiPins

__all__ = ["FlashBoot"]

_LENGTH_BYTES = 4
_CRC_BYTES = 4


class FlashBoot(wiring.Component):
    """Feeds a device the frames of a flash image, one at a time, if the image is right.

    It is read twice: first to sum it up, so that nothing happens if it is damaged, cut off, partly
    overwritten or for another configuration; then for its frames. The first frame that is not done
    ends it; since the one that names the model is the last, the device then has none.

    Parameters
    ----------
    config : Config
    clock_hz : int
    address : int
        Of the image in the flash.

    Members
    -------
    pins : Out(SpiPins())
    active : Out(1)
        High from a reset until the image has been fed or given up.
    o : Out(stream)
        Bytes of the frames, as they come over a line.
    done, failed : In(1)
        For a cycle, after each frame, at its end or later: it was done; it was dropped or refused.
    """

    def __init__(self, config: Config, *, clock_hz: int, address: int) -> None:
        self._head = HEAD.pack(MAGIC, config.digest, 0)[:-_LENGTH_BYTES]
        self._longest = longest_frames(config)
        self._clock_hz = clock_hz
        self._address = address
        super().__init__(
            {
                "pins": Out(SpiPins()),
                "active": Out(1, init=1),
                "o": Out(stream.Signature(8)),
                "done": In(1),
                "failed": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.reader = reader = FlashReader(self._clock_hz, self._address)
        m.submodules.crc = crc = CRC32_ISO_HDLC().create()
        connect(m, reader.pins, wiring.flipped(self.pins))

        head = Array(Const(byte, 8) for byte in self._head)
        place = Signal(range(HEAD.size))
        # Bytes left; those of the CRC too while the image is summed up.
        left = Signal(8 * _LENGTH_BYTES)
        feeds = Signal()
        begun = Signal()
        byte, taken = reader.o.payload, Signal()
        m.d.comb += [
            taken.eq(reader.o.valid & reader.o.ready),
            crc.start.eq(~reader.enable),
            crc.data.eq(byte),
            crc.valid.eq(taken),
            self.o.payload.eq(byte),
        ]

        with m.FSM(name="state"):
            with m.State("head"):
                m.d.comb += [reader.enable.eq(1), reader.o.ready.eq(1)]
                with m.If(taken):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place >= len(self._head)):
                        m.d.sync += left.eq(Cat(left[8:], byte))
                        with m.If(place == HEAD.size - 1):
                            m.d.sync += place.eq(0)
                            m.next = "length"
                    with m.Elif(byte != head[place]):
                        m.next = "off"

            with m.State("length"):
                m.d.comb += reader.enable.eq(1)
                m.next = "feed"
                with m.If(left > self._longest):
                    m.next = "off"
                with m.Elif(~feeds):
                    m.d.sync += left.eq(left + _CRC_BYTES)
                    m.next = "sum"

            with m.State("sum"):
                m.d.comb += [reader.enable.eq(1), reader.o.ready.eq(left != 0)]
                with m.If(taken):
                    m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.sync += feeds.eq(1)
                    m.next = "off"
                    with m.If(crc.match_detected):
                        m.next = "again"

            with m.State("again"), m.If(~self.pins.cs):
                m.next = "head"

            with m.State("feed"):
                m.d.comb += [
                    reader.enable.eq(1),
                    self.o.valid.eq(reader.o.valid),
                    reader.o.ready.eq(self.o.ready),
                ]
                with m.If(taken):
                    m.d.sync += [left.eq(left - 1), begun.eq(byte != 0)]
                    with m.If(byte == 0):
                        m.next = "wait"
                        # Of nothing between two zeros, nothing would be heard.
                        with m.If(~begun):
                            m.next = "off"
                with m.If(self.failed | (left == 0)):
                    m.next = "off"

            with m.State("wait"):
                m.d.comb += reader.enable.eq(1)
                with m.If(self.done):
                    m.next = "feed"
                with m.If(self.failed):
                    m.next = "off"

            with m.State("off"):
                m.d.sync += self.active.eq(0)

        return m
