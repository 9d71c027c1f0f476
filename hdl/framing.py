"""Frames between the byte stream and the commands: COBS, a CRC-32 and an ending zero."""

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out, connect

from ..firmware.framing import FRAME_OVERHEAD
from .cobs import CobsDecoder, CobsEncoder, packet_byte

__all__ = ["Deframer", "Framer", "frame_item"]

_CRC_BYTES = 4


#: A byte of a frame, or with ``end`` the end of the frame, which carries no byte.
frame_item = data.StructLayout({"data": 8, "end": 1})


class Deframer(wiring.Component):
    """Takes bytes from the line and passes on what stands in frames, without their CRCs.

    Frames go out as they come in; ``commit`` and ``discard`` then tell whether they were frames.
    Meant to feed a :class:`~firstspike.hdl.packet_buffer.PacketBuffer`. It never makes the line
    wait: if an item finds no room, the frame is discarded at its end.

    Members
    -------
    i : In(stream)
        Bytes of the line; always ready.
    o : Out(stream)
        :data:`frame_item`.
    commit : Out(1)
        With the item that ends a frame: code, length and CRC are right, and all of it found room.
    discard : Out(1)
        What was passed on since the last end is void, for one of two reasons:
    damaged, overrun : Out(1)
        Code, length or CRC are wrong; they are right, but not all of it found room.

    Latency: an item appears with the fourth byte after it, and ``commit`` with the ending zero.
    Throughput: a byte a cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(frame_item)),
                "commit": Out(1),
                "discard": Out(1),
                "damaged": Out(1),
                "overrun": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.decoder = decoder = CobsDecoder()
        ended = Signal()
        crc = CRC32_ISO_HDLC().create()
        m.submodules.crc = ResetInserter(ended)(crc)
        connect(m, wiring.flipped(self.i), decoder.i)

        # The last four bytes of a frame are its CRC, so every byte waits until four more have come.
        delay = Signal(8 * _CRC_BYTES)
        count = Signal(range(FRAME_OVERHEAD + 1))
        lost = Signal()

        taken = Signal()
        whole = Signal()
        good = Signal()
        m.d.comb += [
            decoder.o.ready.eq(1),
            taken.eq(decoder.o.valid & ~decoder.o.p.end),
            ended.eq(decoder.o.valid & decoder.o.p.end),
            crc.data.eq(decoder.o.p.data),
            crc.valid.eq(taken),
            whole.eq(decoder.o.p.good & crc.match_detected & (count == FRAME_OVERHEAD)),
            good.eq(ended & whole & ~lost),
            self.o.p.data.eq(delay[:8]),
            self.o.p.end.eq(decoder.o.p.end),
            self.o.valid.eq((taken & (count >= _CRC_BYTES)) | good),
            self.commit.eq(good & self.o.ready),
            self.discard.eq(ended & ~self.commit),
            self.damaged.eq(ended & ~whole),
            self.overrun.eq(self.discard & whole),
        ]
        with m.If(taken):
            m.d.sync += delay.eq(Cat(delay[8:], decoder.o.p.data))
            with m.If(count != FRAME_OVERHEAD):
                m.d.sync += count.eq(count + 1)
        with m.If(self.o.valid & ~self.o.ready):
            m.d.sync += lost.eq(1)
        with m.If(ended):
            m.d.sync += [count.eq(0), lost.eq(0)]

        return m


class Framer(wiring.Component):
    """Makes frames of packets: appends the CRC, encodes, and ends each with a zero.

    Members
    -------
    i : In(stream)
        :data:`~firstspike.hdl.cobs.packet_byte`.
    o : Out(stream)
        Bytes for the line.

    Latency: up to 262 cycles. Throughput: a byte a cycle, less about seven cycles for each packet.
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(packet_byte)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.encoder = encoder = CobsEncoder()
        done = Signal()
        crc = CRC32_ISO_HDLC().create()
        m.submodules.crc = ResetInserter(done)(crc)
        connect(m, encoder.o, wiring.flipped(self.o))

        index = Signal(range(_CRC_BYTES))
        with m.FSM(name="state"):
            with m.State("body"):
                m.d.comb += [
                    encoder.i.p.data.eq(self.i.p.data),
                    encoder.i.valid.eq(self.i.valid),
                    self.i.ready.eq(encoder.i.ready),
                    crc.data.eq(self.i.p.data),
                    crc.valid.eq(self.i.valid & self.i.ready),
                ]
                with m.If(crc.valid & self.i.p.last):
                    m.next = "crc"
            with m.State("crc"):
                m.d.comb += [
                    encoder.i.p.data.eq(crc.crc.word_select(index, 8)),
                    encoder.i.p.last.eq(index == _CRC_BYTES - 1),
                    encoder.i.valid.eq(1),
                ]
                with m.If(encoder.i.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(encoder.i.p.last):
                        m.d.comb += done.eq(1)
                        m.next = "body"

        return m
