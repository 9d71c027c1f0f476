"""The scanner: every spike becomes one token, in order, and the queue never overflows."""

from amaranth.hdl import Module, Mux, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.scanner import Scanner
from firstspike.hdl.token import TokenKind
from prove import Method, prove
from watch import (
    Inside,
    any_constant,
    assume,
    claim,
    free,
    given,
    past,
    reached,
    stays,
    taken,
)

_IN_FLIGHT = 4


def _config(neurons: int, lanes: int) -> Config:
    return Config([LayerConfig(2, neurons, lanes), LayerConfig(neurons, 2, 1)], max_steps=4)


def _layer_before(m: Module, dut: Scanner, groups: int) -> Signal:
    """Groups come as from a layer: those that were issued while there was room, and as many as a
    step has. Return the number of the group."""
    room = dut.room
    for _ in range(_IN_FLIGHT):
        room = past(m, room, init=1)
    assume(m, given(dut.i.valid, room))
    group = Signal(range(groups + 1))
    with m.If(dut.i.valid):
        m.d.sync += group.eq(Mux(dut.i.closes, 0, group + 1))
    assume(m, given(dut.i.valid, dut.i.closes == (group == groups - 1)))
    return group


@prove(
    Method.BOUNDED,
    12,
    cover=12,
    sizes={
        "3 lanes, 2 groups": {"config": _config(6, 3)},
        "5 lanes, 1 group": {"config": _config(5, 5)},
    },
)
def order(m: Module, config: Config) -> None:
    """Every spike becomes a token with the number of its neuron, lowest first, and every step ends
    with its own token; none is lost, made up or out of turn, and none waits without need."""
    layer = config.layers[0]
    dut = Scanner(config, 0, in_flight=_IN_FLIGHT)
    m.submodules.dut = dut
    free(m, dut)
    group = _layer_before(m, dut, layer.groups)

    # One spike, or the end of one step, is followed to its place among all tokens.
    lane = any_constant(m, 3, "lane")
    arrival = any_constant(m, 3, "arrival")
    assume(m, lane <= layer.lanes)
    arrived, due, sent = Signal(3), Signal(8), Signal(8)
    followed, ends = Signal(), Signal()
    place = Signal(8)
    index = Signal(8)
    last, rows = Signal(), Signal.like(dut.i.rows)
    spikes = dut.i.spikes
    count = sum(spikes[number] for number in range(layer.lanes))
    before = sum(spikes[number] & (lane > number) for number in range(layer.lanes))
    is_end = lane == layer.lanes
    m.d.sync += sent.eq(sent + taken(dut.o))
    with m.If(dut.i.valid):
        m.d.sync += [arrived.eq(arrived + 1), due.eq(due + count + dut.i.closes)]
        with m.If((arrived == arrival) & Mux(is_end, dut.i.closes, spikes.bit_select(lane, 1))):
            m.d.sync += [
                followed.eq(1),
                ends.eq(is_end),
                place.eq(due + before),
                index.eq(group * layer.lanes + lane),
                last.eq(dut.i.last),
                rows.eq(dut.i.rows),
            ]
    mine = followed & (sent == place)
    token = dut.o.p
    claim(m, given(dut.o.valid, sent < due), "no token is made up")
    claim(
        m,
        given(mine & dut.o.valid, (token.kind == TokenKind.STEP) == ends),
        "a spike is a spike, and the end of a step is its end",
    )
    claim(m, given(mine & dut.o.valid & ~ends, token.index == index), "it is the neuron's")
    claim(
        m,
        given(mine & dut.o.valid & ends, (token.last == last) & (token.rows == rows)),
        "a step tells its tally and whether it is the last",
    )
    claim(m, stays(m, dut.o), "a token stays until it is taken")
    waits = Signal(range(dut.latency + 1))
    m.d.sync += waits.eq(Mux((sent != due) & ~dut.o.valid, waits + 1, 0))
    claim(m, waits < dut.latency, "tokens come in time")
    reached(m, mine & dut.o.valid & ~ends & (place == 4), "the fifth token is a spike")
    reached(m, mine & dut.o.valid & ends & (place == 4), "the fifth token ends a step")


@prove(Method.INDUCTION, 10, cover=30, sizes={"16 places": {"config": _config(2, 2)}})
def room(m: Module, config: Config) -> None:
    """A layer that issues groups only while there is room never finds the queue full."""
    dut = Scanner(config, 0, in_flight=_IN_FLIGHT)
    inside = Inside(m, dut)
    free(m, dut)
    _layer_before(m, dut, config.layers[0].groups)
    writes = inside["way_0.w_en"]
    claim(m, given(writes, inside["way_0.queue.w_rdy"]), "a group finds a place")
    claim(m, stays(m, dut.o), "a token stays until it is taken")
    reached(m, ~dut.room & writes, "groups come although there is no more room")
