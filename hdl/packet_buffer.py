"""A ring memory whose packets become readable whole or not at all."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["PacketBuffer"]


class PacketBuffer(wiring.Component):
    """Holds packets of any items back until they are complete, and forgets them on request.

    An item offered in the cycle of ``commit`` belongs to the packet: as its last item or, with
    ``headed``, as its first. A packet longer than the memory can never be committed; its writer
    finds ``i.ready`` low for good and has to discard it.

    Parameters
    ----------
    shape : ShapeLike
        Of an item.
    depth : int
        Items that the memory holds at least; rounded up to a power of two.
    headed : bool
        Each packet begins with an item that is known only at its end: the one offered with
        ``commit``. Its slot is kept free.

    Members
    -------
    i : In(stream)
        Items of the packet that is being written. Ready while there is room.
    commit : In(1)
        The packet is complete. If an item is offered too, this takes effect with its transfer.
    discard : In(1)
        What was written since the last commit is forgotten, the item of this cycle included.
    o : Out(stream)
        Items of committed packets, in order.

    Latency: 2 cycles from commit to the first item. Throughput: an item a cycle on both sides.
    """

    def __init__(self, shape: ShapeLike, depth: int, *, headed: bool = False) -> None:
        self._shape = shape
        self._depth = 1 << ceil_log2(max(depth, 2))
        self._headed = headed
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "commit": In(1),
                "discard": In(1),
                "o": Out(stream.Signature(shape)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # No slot is read in the cycle in which it is written, so no tool has to take care of that.
        m.submodules.memory = memory = Memory(
            shape=self._shape, depth=self._depth, init=[], attrs={"no_rw_check": 1}
        )
        write, read = memory.write_port(), memory.read_port()

        # Positions have one bit more than addresses, so that full differs from empty.
        reserved = int(self._headed)
        head = Signal(range(2 * self._depth), init=reserved)
        base = Signal.like(head, init=0)
        tail = Signal.like(base)

        push = Signal()
        pushed = Signal.like(head)
        # A register, so that a writer need not wait for the comparison. Whether there is a push is
        # known last. It may stay set for a cycle longer than need be, after a read or a discard.
        full = Signal()
        limit = tail ^ self._depth
        m.d.sync += full.eq(Mux(push, (head + 1)[: len(head)] == limit, head == limit))
        m.d.comb += [
            self.i.ready.eq(~full),
            push.eq(self.i.valid & self.i.ready),
            pushed.eq(head + push),
            write.addr.eq(Mux(self.commit, base, head) if self._headed else head),
            write.data.eq(self.i.payload),
            write.en.eq(push),
        ]
        m.d.sync += head.eq(pushed)
        with m.If(self.discard):
            m.d.sync += head.eq(base + reserved)
        with m.Elif(self.commit & (push | ~self.i.valid)):
            m.d.sync += base.eq(head if self._headed else pushed)

        # The read port's own register is the output; a slot is free once it has been read.
        m.d.comb += [
            read.addr.eq(tail),
            read.en.eq((tail != base) & (self.o.ready | ~self.o.valid)),
            self.o.payload.eq(read.data),
        ]
        with m.If(read.en):
            m.d.sync += [tail.eq(tail + 1), self.o.valid.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        return m
