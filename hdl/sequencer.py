"""Turns a sample's events into the tokens of the first layer."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .memory_window import MemoryWindow, WindowSignature, word_layout
from .token import TokenKind, event_layout, index_shape, token_layout

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Looks up the weight row of each input spike and closes the time steps.

    Spikes of inputs without a row are dropped. A sample occupies the core until its ``end`` was
    accepted and its result taken; what comes between the decision and ``end`` is discarded.

    Parameters
    ----------
    config : Config

    Members
    -------
    i : In(stream.Signature(event_layout(config)))
    o : Out(stream.Signature(token_layout(config, 0)))
        For each step its ``SPIKE`` tokens and a ``STEP`` token.
    steps : In(range(max_steps + 1))
    flush : In(1)
        The decision was taken.
    taken : In(1)
        The result was taken.
    start : Out(1)
        The first event of a sample is being accepted.
    idle : Out(1)
        No sample is in the core.
    memory : In(WindowSignature)
        The row map; used while ``idle``.
    learn : Out(1), label : Out
        Only if the build learns: what the sample's first event said, from the cycle after ``start``
        until the next.
    leaves_out : In(1)
        Only if the build learns: draw for each input spike of a sample to learn from whether it is
        left out.
    draw : Out(1), left_out : In(1)
        Only if the build learns: the spike that is being accepted is drawn for, and left out.
    ended : Out(1)
        Only if the build learns: the sample's ``end`` was accepted.

    Latency: :attr:`latency` cycles from an event to its first token.

    Throughput: an event a cycle, if it comes in the step of the one before.
    """

    #: ``lookup``, ``map`` and ``send``.
    latency = 3

    def __init__(self, config: Config) -> None:
        self.config = config
        self.region = config.region("row_map")
        members = {
            "i": In(stream.Signature(event_layout(config))),
            "o": Out(stream.Signature(token_layout(config, 0))),
            "steps": In(index_shape(config.max_steps + 1)),
            "flush": In(1),
            "taken": In(1),
            "start": Out(1),
            "idle": Out(1),
            "memory": In(WindowSignature(self.region)),
        }
        if config.learning:
            members |= {
                "learn": Out(1),
                "label": Out(index_shape(config.outputs)),
                "leaves_out": In(1),
                "draw": Out(1),
                "left_out": In(1),
                "ended": Out(1),
            }
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        event = self.i.payload

        # The end of a sample may come before or after its decision, and its result may be taken
        # before or after its end; the sample is over when all three have happened.
        open_ = Signal()
        pending = Signal()
        decided = Signal()
        discard = Signal()
        accept = Signal()
        lookup_take = Signal()
        m.d.comb += [
            self.idle.eq(~open_ & ~pending),
            self.start.eq(self.idle & self.i.valid),
            discard.eq(open_ & decided),
            self.i.ready.eq(discard | (lookup_take & (open_ | ~pending))),
            accept.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.flush):
            m.d.sync += decided.eq(1)
        with m.If(self.taken):
            m.d.sync += pending.eq(0)
        with m.If(self.start):
            m.d.sync += [pending.eq(1), decided.eq(0)]
            if self.config.learning:
                m.d.sync += [self.learn.eq(event.learn), self.label.eq(event.label)]
        with m.If(accept):
            m.d.sync += open_.eq(~event.end)

        enters = accept & ~discard
        if self.config.learning:
            m.d.comb += [
                self.ended.eq(~open_),
                # Even for what comes too late to matter, so that all draws have their place.
                self.draw.eq(
                    accept & ~event.end & self.leaves_out & Mux(self.start, event.learn, self.learn)
                ),
            ]
            enters &= ~(self.draw & self.left_out)

        # lookup
        m.submodules.row_map = row_map = Memory(
            shape=word_layout(self.region), depth=self.region.words, init=[]
        )
        m.submodules.window = window = MemoryWindow(self.region)
        wiring.connect(m, wiring.flipped(self.memory), window.port)
        read, write = row_map.read_port(), row_map.write_port()
        address = Mux(self.i.valid, event.index, self.memory.word)
        m.d.comb += [
            read.addr.eq(address),
            read.en.eq(lookup_take),
            write.addr.eq(address),
            write.data.eq(window.word),
            write.en.eq(self.memory.store),
            window.data.eq(read.data),
        ]
        map_take = Signal()
        lookup_valid = Signal()
        lookup_end = Signal(reset_less=True)
        lookup_step = Signal(event.step.shape(), reset_less=True)
        m.d.comb += lookup_take.eq(~lookup_valid | map_take)
        with m.If(lookup_take):
            m.d.sync += [
                lookup_valid.eq(enters),
                lookup_end.eq(event.end),
                lookup_step.eq(event.step),
            ]

        # map
        map_done = Signal()
        map_valid = Signal()
        map_end = Signal(reset_less=True)
        map_step = Signal(event.step.shape(), reset_less=True)
        map_word = Signal(word_layout(self.region), reset_less=True)
        m.d.comb += map_take.eq(~map_valid | map_done)
        with m.If(map_take):
            m.d.sync += [
                map_valid.eq(lookup_valid),
                map_end.eq(lookup_end),
                map_step.eq(lookup_step),
                map_word.eq(read.data),
            ]

        # send
        row, has_row = map_word.as_value()[:-1], map_word.as_value()[-1]
        send_take = Signal()
        send_valid = Signal()
        send_token = Signal(self.o.payload.shape(), reset_less=True)
        step = Signal(event.step.shape())
        sending = Signal()
        spike = Signal()
        last = Signal()
        finished = Signal()
        m.d.comb += [
            send_take.eq(~send_valid | self.o.ready),
            sending.eq(map_valid & (map_end | has_row) & ~finished),
            spike.eq(~map_end & (map_step == step)),
            last.eq(step + 1 == self.steps),
            map_done.eq(~map_end & (~has_row | (spike & send_take))),
            self.o.valid.eq(send_valid),
            self.o.payload.eq(send_token),
        ]
        with m.If(send_take):
            m.d.sync += [
                send_valid.eq(sending),
                send_token.kind.eq(Mux(spike, TokenKind.SPIKE, TokenKind.STEP)),
                send_token.index.eq(row),
                send_token.last.eq(last),
            ]
            with m.If(sending & ~spike):
                m.d.sync += [step.eq(step + 1), finished.eq(last)]
        with m.If(self.flush):
            m.d.sync += [
                lookup_valid.eq(0),
                map_valid.eq(0),
                send_valid.eq(0),
                step.eq(0),
                finished.eq(0),
            ]
        return m
