"""What the device says about itself."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

from ..firmware.protocol import Hello
from .cobs import packet_byte

__all__ = ["HelloRom"]


class HelloRom(wiring.Component):
    """Gives the payload of the answer to ``HELLO``, over and over.

    Parameters
    ----------
    hello : Hello

    Members
    -------
    o : Out(stream)
        :data:`~firstspike.hdl.cobs.packet_byte`.

    Throughput: a byte a cycle.
    """

    def __init__(self, hello: Hello) -> None:
        self._payload = hello.encode()
        super().__init__({"o": Out(stream.Signature(packet_byte))})

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.memory = memory = Memory(shape=8, depth=len(self._payload), init=self._payload)
        read = memory.read_port()

        position = Signal(range(len(self._payload)))
        following = Signal.like(position)
        m.d.comb += [
            following.eq(position),
            read.addr.eq(following),
            self.o.p.data.eq(read.data),
            self.o.p.last.eq(position == len(self._payload) - 1),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.comb += following.eq(position + 1)
            with m.If(self.o.p.last):
                m.d.comb += following.eq(0)
        m.d.sync += [position.eq(following), self.o.valid.eq(1)]

        return m
