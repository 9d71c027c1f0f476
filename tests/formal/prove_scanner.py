"""The scanner: every spike becomes one token, in order, and the queue never overflows."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.fifo import SyncFIFOBuffered
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.scanner import Scanner
from firstspike.hdl.token import TokenKind
from prove import Method, prove
from watch import (
    Inside,
    any_constant,
    any_value,
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


@prove(
    Method.INDUCTION,
    2,
    cover=16,
    sizes={f"{depth} places": {"depth": depth} for depth in (4, 16)},
)
def queue(m: Module, depth: int) -> None:
    """What goes into the queue comes out, each group once and in its order: none is lost, made up
    or out of turn, however often the queue was full."""
    dut = SyncFIFOBuffered(width=2, depth=depth)
    inside = Inside(m, dut)
    m.d.comb += [
        dut.w_data.eq(any_value(m, 2, "w_data")),
        dut.w_en.eq(any_value(m, 1, "w_en")),
        dut.r_en.eq(any_value(m, 1, "r_en")),
    ]
    push, pop = Signal(), Signal()
    m.d.comb += [push.eq(dut.w_en & dut.w_rdy), pop.eq(dut.r_en & dut.r_rdy)]
    held = Signal(range(depth + 2))
    m.d.sync += held.eq(held + push - pop)

    # One group, any of them, is followed on its way.
    chosen = any_value(m, 1, "chosen")
    followed = Signal()
    item = Signal(2)
    ahead = Signal(range(depth + 2))
    with m.If(followed):
        m.d.sync += ahead.eq(ahead - pop)
        with m.If(pop & (ahead == 0)):
            m.d.sync += followed.eq(0)
    with m.Elif(push & chosen):
        m.d.sync += [followed.eq(1), item.eq(dut.w_data), ahead.eq(held - pop)]
    out = dut.r_rdy & followed & (ahead == 0)
    claim(m, dut.level == held, "its level is how many it holds")
    claim(m, held <= depth, "it holds no more than it has places")
    claim(m, given(dut.r_rdy, held != 0), "nothing is made up")
    claim(m, given(out, dut.r_data == item), "a group comes out in its turn, as it went in")
    claim(m, given(past(m, (held != 0) & ~dut.r_rdy), dut.r_rdy), "it comes out in time")
    claim(m, given(held < depth - 1, dut.w_rdy), "it takes groups while it has places")
    was_full = Signal()
    with m.If(held == depth):
        m.d.sync += was_full.eq(1)
    if depth == 4:
        reached(m, was_full & out & past(m, held == 3), "it was full, and goes on")
    else:
        reached(m, out & past(m, ahead == 1), "a group comes out behind another")

    inner = depth - 1
    produce, consume, level = (inside[name] for name in ("produce", "consume", "inner_level"))
    stored = Signal(range(2 * depth))
    m.d.comb += stored.eq(Mux(produce >= consume, produce - consume, produce + inner - consume))
    claim(m, (produce < inner) & (consume < inner) & (level <= inner), "places are those it has")
    claim(m, stored == Mux(level == inner, 0, level), "as many as there are between the two")
    claim(m, given(followed, ahead < held), "the group has its turn")
    slot = Signal(range(2 * depth))
    behind = consume + ahead - dut.r_rdy
    m.d.comb += slot.eq(Mux(behind >= inner, behind - inner, behind))
    place = inside.word("storage", slot)
    claim(m, given(followed & ~out, place == item), "the group is in its place")


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
