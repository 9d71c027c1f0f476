"""The payload of an inference becomes the events of a sample."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..firmware.config import Config
from ..firmware.protocol import Status
from .framing import frame_item
from .token import index_shape, spike_layout

__all__ = ["SampleReader"]

_BYTE_BITS = 8


class SampleReader(wiring.Component):
    """Reads samples in either of the formats of the link, and checks them.

    Meant to feed a :class:`~firstspike.hdl.packet_buffer.PacketBuffer`.

    Parameters
    ----------
    config : Config

    Members
    -------
    bitmap : In(1)
        The sample is a bitmap, otherwise a list of spikes. Held while a sample is read.
    steps : In
        Number of time steps.
    refusal : In(Status)
        Why the sample is not to be taken, whatever it is, or ``OK``.
    i : In(stream)
        :data:`~firstspike.hdl.framing.frame_item`; the payload and its end.
    o : Out(stream)
        Events.
    commit : Out(1)
        The event that is offered ends the sample, and the sample is right.
    discard : Out(1)
        The sample has ended and is not taken; its events are void.
    status : Out(Status)
        Why it is not: a wrong length, ``refusal``, or else what is wrong with it.

    Throughput: a byte a cycle; a bitmap takes one more for each spike, a list one for each word.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                "bitmap": In(1),
                "steps": In(index_shape(config.max_steps + 1)),
                "refusal": In(Status),
                "i": In(stream.Signature(frame_item)),
                "o": Out(stream.Signature(spike_layout(config))),
                "commit": Out(1),
                "discard": Out(1),
                "status": Out(Status),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inputs = self._config.inputs
        steps = self.steps if self._config.layers[0].neuron == "current" else 1
        bitmap_bytes = -(-inputs // _BYTE_BITS)

        # Bytes of a bitmap or spikes of a list that have come, less one: so it is the number of the
        # byte at hand. It stops where there are too many.
        count = Signal(bits_for(inputs + 1), init=-1)
        # The word at hand, or in its upper half what is left of the byte at hand.
        word = Signal(2 * _BYTE_BITS)
        odd = Signal()
        step = Signal.like(self.o.p.step)
        bad = Signal()

        bits = word[_BYTE_BITS:]
        fewer_bits = Signal(_BYTE_BITS)
        lowest = Signal(range(_BYTE_BITS))
        m.d.comb += fewer_bits.eq(bits & (bits - 1))
        for position in reversed(range(_BYTE_BITS)):
            with m.If(bits[position]):
                m.d.comb += lowest.eq(position)

        number, opens_step = word[:-1], word[-1]
        index = Signal.like(word)
        outside = Signal()
        m.d.comb += [
            outside.eq(index >= inputs),
            index.eq(Mux(self.bitmap, Cat(lowest, count), number)),
            self.o.p.index.eq(index),
            self.o.p.step.eq(step),
        ]

        def refuse() -> None:
            """Note that the sample is wrong, and leave out the rest of it."""
            m.d.sync += bad.eq(1)
            m.next = "take"

        with m.FSM(name="state"):
            with m.State("take"):
                with m.If(~self.i.p.end):
                    m.d.comb += self.i.ready.eq(1)
                    with m.If(self.i.valid):
                        m.d.sync += word.eq(Cat(bits, self.i.p.data))
                        with m.If(self.bitmap):
                            with m.If(count != bitmap_bytes):
                                m.d.sync += count.eq(count + 1)
                            with m.If((self.i.p.data != 0) & ~bad):
                                m.next = "bits"
                        with m.Else():
                            m.d.sync += odd.eq(~odd)
                            with m.If(odd & ~bad):
                                m.next = "word"
                with m.Else():
                    with m.If(Mux(self.bitmap, count != bitmap_bytes - 1, odd)):
                        m.d.comb += self.status.eq(Status.BAD_LENGTH)
                    with m.Elif(self.refusal != Status.OK):
                        m.d.comb += self.status.eq(self.refusal)
                    with m.Elif(bad):
                        m.d.comb += self.status.eq(Status.BAD_SAMPLE)
                    with m.If(self.status == Status.OK):
                        m.d.comb += [
                            self.o.p.end.eq(1),
                            self.o.valid.eq(self.i.valid),
                            self.i.ready.eq(self.o.ready),
                            self.commit.eq(self.i.valid),
                        ]
                    with m.Else():
                        m.d.comb += [self.i.ready.eq(1), self.discard.eq(self.i.valid)]
                    with m.If(self.i.valid & self.i.ready):
                        m.d.sync += [count.eq(-1), odd.eq(0), step.eq(0), bad.eq(0)]
            with m.State("bits"):
                with m.If(outside):
                    refuse()
                with m.Else():
                    m.d.comb += self.o.valid.eq(1)
                    with m.If(self.o.ready):
                        m.d.sync += bits.eq(fewer_bits)
                        with m.If(fewer_bits == 0):
                            m.next = "take"
            with m.State("word"):
                with m.If(opens_step):
                    m.d.sync += step.eq(number)
                    m.next = "take"
                    with m.If((number < step) | (number >= steps)):
                        refuse()
                with m.Elif(outside | (count == inputs - 1)):
                    refuse()
                with m.Else():
                    m.d.comb += self.o.valid.eq(1)
                    with m.If(self.o.ready):
                        m.d.sync += count.eq(count + 1)
                        m.next = "take"

        return m
