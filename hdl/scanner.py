"""Turns the spikes of a layer into the tokens of the next."""

from math import isqrt

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .token import GroupSignature, TokenKind, tally_layout, token_layout

__all__ = ["Scanner"]


def _lowest(flags: Value) -> Value:
    """The lowest set bit alone."""
    return (flags & -flags)[: len(flags)]


def _others(flags: Value) -> Value:
    """All set bits but the lowest."""
    return (flags & (flags - 1))[: len(flags)]


def _position(one: Value) -> Value:
    """Number of the only bit that is set; 0 if none is."""
    width = (len(one) - 1).bit_length()
    return Cat(Cat(one[n] for n in range(len(one)) if n >> bit & 1).any() for bit in range(width))


class Scanner(wiring.Component):
    """Queues groups of spikes and sends a ``SPIKE`` token for each, lowest neuron first, and the
    ``STEP`` token that closes their step.

    If the next layer has several ways, each has its own queue with every so many lanes, and a token
    takes the next spike of all of them.

    Parameters
    ----------
    config : Config
    layer : int
        The layer whose spikes these are.
    in_flight : int
        Groups that may still come after ``room`` was taken away.
    depth : int
        Groups that a queue holds.

    Members
    -------
    i : In(GroupSignature(config, layer))
    room : Out(1)
        The queues can take ``in_flight + 1`` groups; a register.
    o : Out(stream.Signature(token_layout(config, layer + 1)))

    Latency: :attr:`latency` cycles from a group to its first token.

    Throughput: a token a cycle. A group without spikes that closes no step costs nothing.
    """

    #: ``enter``, queue (2), ``pick`` and ``chunk``.
    latency = 5

    def __init__(self, config: Config, layer: int, *, in_flight: int, depth: int = 16) -> None:
        self.config = config
        self.layer = layer
        self.ways = config.layers[layer + 1].ways
        self.in_flight = in_flight
        self.depth = depth
        super().__init__(
            {
                "i": In(GroupSignature(config, layer)),
                "room": Out(1, init=1),
                "o": Out(stream.Signature(token_layout(config, layer + 1))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = -(-self.config.layers[self.layer].lanes // self.ways)
        tally = tally_layout(self.config, self.layer + 1)
        token = self.o.payload
        indices = [token.index] if self.ways == 1 else list(token.index)
        ways = []
        for number, index in enumerate(indices):
            way = _Way(lanes, index.shape(), tally, in_flight=self.in_flight, depth=self.depth)
            m.submodules[f"way_{number}"] = way
            m.d.comb += [
                way.valid.eq(self.i.valid),
                way.spikes.eq(self.i.spikes[number :: self.ways]),
                way.closes.eq(self.i.closes),
                way.last.eq(self.i.last),
                way.rows.eq(self.i.rows),
                index.eq(way.o.p.index),
            ]
            ways.append(way)
        spikes = Signal(self.ways)
        closes = Signal()
        m.d.sync += self.room.eq(Cat(way.room for way in ways).all())
        m.d.comb += [
            spikes.eq(Cat(way.o.valid & (way.o.p.kind == TokenKind.SPIKE) for way in ways)),
            # The step is closed when all of them have come to its end.
            token.kind.eq(Mux(spikes.any(), TokenKind.SPIKE, TokenKind.STEP)),
            token.last.eq(ways[0].o.p.last),
            token.rows.eq(ways[0].o.p.rows),
            closes.eq(Cat(way.o.valid for way in ways).all() & ~spikes.any()),
            self.o.valid.eq(spikes.any() | closes),
            *(
                way.o.ready.eq(self.o.ready & (spike | closes))
                for way, spike in zip(ways, spikes, strict=True)
            ),
        ]
        if self.ways > 1:
            m.d.comb += token.spikes.eq(spikes)
        return m


class _Way(wiring.Component):
    """The queue and the search of one way; members as of :class:`Scanner`.

    Parameters
    ----------
    lanes : int
    index : ShapeLike
        Shape of the numbers of its neurons, which are counted through.
    tally : ShapeLike
        Shape of ``rows``.
    in_flight, depth : int
    """

    def __init__(
        self, lanes: int, index: ShapeLike, tally: ShapeLike, *, in_flight: int, depth: int
    ) -> None:
        self.lanes = lanes
        self.index = index
        self.tally = tally
        self.in_flight = in_flight
        self.depth = depth
        token = {"kind": TokenKind, "index": index, "last": 1, "rows": tally}
        super().__init__(
            {
                "valid": In(1),
                "spikes": In(lanes),
                "closes": In(1),
                "last": In(1),
                "rows": In(tally),
                "room": Out(1),
                "o": Out(stream.Signature(data.StructLayout(token))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        index, tally = self.index, self.tally

        # Finding the lowest of many spikes in one cycle would take deep logic. So a first stage
        # picks the lowest chunk of lanes that has any, and a second the lane: each looks at about
        # as many bits as the other. The first is ahead by one chunk, so that the second always has
        # something to do.
        width = 1 << isqrt(self.lanes - 1).bit_length()
        chunks = -(-self.lanes // width)

        # enter
        enter_base = Signal(index)
        with m.If(self.valid):
            m.d.sync += enter_base.eq(Mux(self.closes, 0, enter_base + self.lanes))
        enter_valid = Signal()
        enter = Signal(
            data.StructLayout(
                {
                    "spikes": self.lanes,
                    "chunks": chunks,
                    "base": index,
                    "closes": 1,
                    "last": 1,
                    "rows": tally,
                }
            ),
            reset_less=True,
        )
        m.submodules.queue = queue = SyncFIFOBuffered(width=len(enter.as_value()), depth=self.depth)
        m.d.sync += [
            enter_valid.eq(self.valid),
            enter.spikes.eq(self.spikes),
            enter.chunks.eq(Cat(self.spikes[n * width :][:width].any() for n in range(chunks))),
            enter.base.eq(enter_base),
            enter.closes.eq(self.closes),
            enter.last.eq(self.last),
            enter.rows.eq(self.rows),
        ]
        m.d.comb += [
            queue.w_data.eq(enter),
            queue.w_en.eq(enter_valid & (enter.closes | enter.chunks.any())),
            # One more may be in `enter`, and one comes before `room` is known.
            self.room.eq(queue.level < self.depth - self.in_flight - 2),
        ]

        # pick
        chunk_take = Signal()
        pick = data.View(enter.shape(), queue.r_data)
        pick_fresh = Signal(init=1)
        pick_left = Signal(chunks, reset_less=True)
        pick_chunks = Signal(chunks)
        pick_one = Signal(chunks)
        pick_others = Signal(chunks)
        pick_done = Signal()
        m.d.comb += [
            pick_chunks.eq(Mux(pick_fresh, pick.chunks, pick_left)),
            pick_one.eq(_lowest(pick_chunks)),
            pick_others.eq(_others(pick_chunks)),
            # Once its spikes are through, a group that closes its step stays for the STEP token.
            pick_done.eq(Mux(pick.closes, ~pick_chunks.any(), ~pick_others.any())),
            queue.r_en.eq(chunk_take & pick_done),
        ]
        with m.If(chunk_take & queue.r_rdy):
            m.d.sync += [pick_fresh.eq(pick_done), pick_left.eq(pick_others)]

        # chunk
        send = Signal()
        chunk_valid = Signal()
        chunk_closes = Signal(reset_less=True)
        chunk_spikes = Signal(width, reset_less=True)
        chunk_base = Signal(index, reset_less=True)
        chunk_last = Signal(reset_less=True)
        chunk_rows = Signal(tally, reset_less=True)
        chunk_others = Signal(width)
        m.d.comb += [
            chunk_others.eq(_others(chunk_spikes)),
            chunk_take.eq(~chunk_valid | (send & (chunk_closes | ~chunk_others.any()))),
        ]
        with m.If(chunk_take):
            picked = 0
            for n in range(chunks):
                picked |= Mux(pick_one[n], pick.spikes[n * width :][:width], 0)
            m.d.sync += [
                chunk_valid.eq(queue.r_rdy),
                chunk_closes.eq(~pick_chunks.any()),
                chunk_spikes.eq(picked),
                chunk_base.eq(
                    pick.base + Cat(Const(0, width.bit_length() - 1), _position(pick_one))
                ),
                chunk_last.eq(pick.last),
                chunk_rows.eq(pick.rows),
            ]
        with m.Elif(send):
            m.d.sync += chunk_spikes.eq(chunk_others)

        # send
        send_valid = Signal()
        send_token = Signal(self.o.payload.shape(), reset_less=True)
        m.d.comb += [
            send.eq(~send_valid | self.o.ready),
            self.o.valid.eq(send_valid),
            self.o.payload.eq(send_token),
        ]
        with m.If(send):
            m.d.sync += [
                send_valid.eq(chunk_valid),
                send_token.kind.eq(Mux(chunk_closes, TokenKind.STEP, TokenKind.SPIKE)),
                send_token.index.eq(chunk_base + _position(_lowest(chunk_spikes))),
                send_token.last.eq(chunk_last),
                send_token.rows.eq(chunk_rows),
            ]
        return m
