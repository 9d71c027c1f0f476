"""Consistent overhead byte stuffing: bytes without zeros, so that a zero can end a frame."""

from amaranth.hdl import Module, Signal, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from .packet_buffer import PacketBuffer

__all__ = ["CobsDecoder", "CobsEncoder", "decoded_byte", "packet_byte"]

#: Bytes without a zero that one code byte can announce.
_FULL_RUN = 254


#: A byte of a packet; ``last`` marks its last one.
packet_byte = data.StructLayout({"data": 8, "last": 1})

#: A byte, or the end of what a zero has ended: ``good`` says whether the codes added up.
decoded_byte = data.StructLayout({"data": 8, "end": 1, "good": 1})


class CobsDecoder(wiring.Component):
    """Turns the bytes between two zeros back into the bytes that were encoded.

    A zero ends whatever came before it, complete or not. Zeros with nothing between them are
    skipped.

    Parameters
    ----------
    full_run : int
        Bytes without a zero that one code byte can announce, 254 in COBS; fewer are of use to
        proofs.

    Members
    -------
    i : In(stream)
        Coded bytes.
    o : Out(stream)
        :data:`decoded_byte`; an item with ``end`` carries no byte.

    Latency: none, the path is combinational. Throughput: a byte a cycle.
    """

    def __init__(self, full_run: int = _FULL_RUN) -> None:
        self._full_run = full_run
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(decoded_byte))})

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # Bytes up to the next code; whether that code stands for a zero, too; whether any came.
        left = Signal(8)
        zero_due = Signal()
        begun = Signal()

        is_zero = Signal()
        is_code = Signal()
        produces = Signal()
        m.d.comb += [
            is_zero.eq(self.i.payload == 0),
            is_code.eq(left == 0),
            self.o.p.data.eq(self.i.payload),
            self.o.p.end.eq(is_zero),
            self.o.p.good.eq(is_code),
            self.o.valid.eq(self.i.valid & produces),
            self.i.ready.eq(self.o.ready | ~produces),
        ]
        with m.If(is_zero):
            m.d.comb += produces.eq(begun)
        with m.Elif(is_code):
            m.d.comb += [produces.eq(zero_due), self.o.p.data.eq(0)]
        with m.Else():
            m.d.comb += produces.eq(1)

        with m.If(self.i.valid & self.i.ready):
            m.d.sync += begun.eq(~is_zero)
            with m.If(is_zero):
                m.d.sync += [left.eq(0), zero_due.eq(0)]
            with m.Elif(is_code):
                m.d.sync += [
                    left.eq(self.i.payload - 1),
                    zero_due.eq(self.i.payload != self._full_run + 1),
                ]
            with m.Else():
                m.d.sync += left.eq(left - 1)

        return m


class CobsEncoder(wiring.Component):
    """Recodes packets without zero bytes and ends each with a zero.

    Parameters
    ----------
    full_run : int
        As of :class:`CobsDecoder`.

    Members
    -------
    i : In(stream)
        :data:`packet_byte`.
    o : Out(stream)
        Coded bytes.

    Latency: up to 256 cycles, for a code byte goes before the bytes that it counts.
    Throughput: a byte a cycle, less a cycle for each full run and two for each packet.
    """

    def __init__(self, full_run: int = _FULL_RUN) -> None:
        self._full_run = full_run
        super().__init__({"i": In(stream.Signature(packet_byte)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # Each code with its run is a packet whose head, the code, is known last. Two full runs fit.
        m.submodules.runs = runs = PacketBuffer(8, 2 * (self._full_run + 1), headed=True)
        connect(m, runs.o, wiring.flipped(self.o))

        code = Signal(8, init=1)
        last = Signal()

        def close(head: ValueLike) -> None:
            """Commit the run and start the next."""
            m.d.comb += [runs.i.payload.eq(head), runs.commit.eq(1)]
            with m.If(runs.i.ready):
                m.d.sync += code.eq(1)

        # A zero closes a run while it is taken; a run that is full, or the packet's last, is closed
        # in a cycle of its own, and the ending zero is a run of its own.
        with m.FSM(name="state"):
            with m.State("run"):
                m.d.comb += [
                    runs.i.valid.eq(self.i.valid),
                    self.i.ready.eq(runs.i.ready),
                ]
                with m.If(self.i.valid):
                    with m.If(self.i.p.data == 0):
                        close(code)
                    with m.Else():
                        m.d.comb += runs.i.payload.eq(self.i.p.data)
                        with m.If(runs.i.ready):
                            m.d.sync += code.eq(code + 1)
                    with m.If(runs.i.ready):
                        m.d.sync += last.eq(self.i.p.last)
                        with m.If(self.i.p.last):
                            m.next = "close"
                        with m.Elif((self.i.p.data != 0) & (code == self._full_run)):
                            m.next = "close"
            with m.State("close"):
                m.d.comb += runs.i.valid.eq(1)
                close(code)
                with m.If(runs.i.ready):
                    m.next = "run"
                    # A full run hides the empty one that still has to end the packet.
                    with m.If(last & (code != self._full_run + 1)):
                        m.next = "end"
                    with m.Elif(last):
                        m.next = "close"
            with m.State("end"):
                m.d.comb += runs.i.valid.eq(1)
                close(0)
                with m.If(runs.i.ready):
                    m.next = "run"

        return m
