"""Remembers which weight rows a layer has fetched, to learn from them."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .token import TokenKind, index_shape, token_layout

__all__ = ["Recorder"]


class Recorder(wiring.Component):
    """Passes the tokens of a layer on, and replays its ``SPIKE`` tokens when learning.

    There is room for each row once. A sample in which an input spikes more than once, which it must
    not, may find no room; such spikes are not replayed.

    Parameters
    ----------
    config : Config
    layer : int

    Members
    -------
    i : In(stream.Signature(token_layout(config, layer)))
    o : Out(stream.Signature(token_layout(config, layer)))
    start : In(1)
        A sample begins: forget the one before. No token comes in this cycle.
    count : Out
        Spikes recorded.
    stop : In(range(max_steps))
        The last step to replay.
    replay : In(1)
        High until ``done``: send the recorded spikes, in order, with ``learn`` set. No token comes
        in this time.
    update : In(1)
        What is drawn for the row at hand: whether its weights change. In layer 0, where no errors
        are passed on, a row that is not drawn is left out.
    draw : Out(1)
        ``update`` is used; the next one has to be there a cycle later.
    done : Out(1)
        All have been accepted.

    Latency: none; 3 cycles from ``replay`` to the first token. Throughput: a row a cycle.
    """

    def __init__(self, config: Config, layer: int) -> None:
        self.config = config
        self.index = layer
        self.layer = config.layers[layer]
        token = token_layout(config, layer)
        super().__init__(
            {
                "i": In(stream.Signature(token)),
                "o": Out(stream.Signature(token)),
                "start": In(1),
                "count": Out(index_shape(self.layer.rows + 1)),
                "stop": In(index_shape(config.max_steps)),
                "replay": In(1),
                "update": In(1),
                "draw": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        timed = self.layer.neuron == "current"
        entry_fields: dict[str, ShapeLike] = {"index": self.i.p.index.shape()}
        if timed:
            entry_fields["step"] = self.stop.shape()
        layout = data.StructLayout(entry_fields)
        m.submodules.rows = rows = Memory(shape=layout, depth=self.layer.rows, init=[])
        write, read = rows.write_port(), rows.read_port()

        # record
        step = Signal(self.stop.shape())
        accepted = Signal()
        m.d.comb += [
            accepted.eq(self.i.valid & self.i.ready),
            write.addr.eq(self.count),
            write.data.index.eq(self.i.p.index),
            write.en.eq(
                accepted & (self.i.p.kind == TokenKind.SPIKE) & (self.count != self.layer.rows)
            ),
        ]
        if timed:
            m.d.comb += write.data.step.eq(step)
            with m.If(accepted & (self.i.p.kind == TokenKind.STEP)):
                m.d.sync += step.eq(step + 1)
        with m.If(write.en):
            m.d.sync += self.count.eq(self.count + 1)
        with m.If(self.start):
            m.d.sync += [self.count.eq(0), step.eq(0)]

        # read
        position = Signal.like(self.count)
        read_take = Signal()
        read_valid = Signal()
        read_more = Signal()
        look_take = Signal()
        m.d.comb += [
            read_more.eq(position != self.count),
            read_take.eq(~read_valid | look_take),
            read.addr.eq(position),
            read.en.eq(read_take),
        ]
        with m.If(~self.replay):
            m.d.sync += [position.eq(0), read_valid.eq(0)]
        with m.Elif(read_take):
            m.d.sync += read_valid.eq(read_more)
            with m.If(read_more):
                m.d.sync += position.eq(position + 1)

        # look
        look_valid = Signal()
        look_late = Signal()
        look_entry = Signal(layout, reset_less=True)
        send_take = Signal()
        m.d.comb += look_take.eq(~look_valid | send_take)
        with m.If(~self.replay):
            m.d.sync += [look_valid.eq(0), look_late.eq(0)]
        with m.Elif(look_take):
            m.d.sync += [look_valid.eq(read_valid), look_entry.eq(read.data)]
            if timed:
                m.d.sync += look_late.eq(read_valid & (read.data.step > self.stop))

        # send
        send_valid = Signal()
        send_index = Signal(self.i.p.index.shape(), reset_less=True)
        send_arrival = Signal(self.stop.shape(), reset_less=True)
        send_update = Signal(reset_less=True)
        wanted = Signal()
        m.d.comb += [
            # Steps ascend: what comes after the first that is late is late as well.
            send_take.eq((~send_valid | self.o.ready) & ~look_late),
            self.draw.eq(look_valid & send_take),
            wanted.eq(self.update if self.index == 0 else 1),
            self.done.eq(
                self.replay & ~send_valid & Mux(look_valid, look_late, ~read_valid & ~read_more)
            ),
        ]
        with m.If(~send_valid | self.o.ready):
            m.d.sync += [
                send_valid.eq(self.draw & wanted),
                send_index.eq(look_entry.index),
                send_update.eq(self.update),
            ]
            if timed:
                m.d.sync += send_arrival.eq(look_entry.step)

        m.d.comb += [
            self.o.payload.eq(self.i.payload),
            self.o.valid.eq(self.i.valid | send_valid),
            self.i.ready.eq(self.o.ready & ~send_valid),
        ]
        with m.If(self.replay):
            m.d.comb += [
                self.o.p.kind.eq(TokenKind.SPIKE),
                self.o.p.index.eq(send_index),
            ]
        m.d.comb += [
            self.o.p.learn.eq(self.replay),
            self.o.p.arrival.eq(send_arrival),
            self.o.p.update.eq(send_update),
        ]
        return m
