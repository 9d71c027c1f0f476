"""The error of a hidden neuron: the sign of the sum of all votes of its row, and where it goes."""

from amaranth.hdl import Module, Mux, Shape, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.errors import ErrorKind, ErrorMemory
from firstspike.hdl.popcount import Popcount
from prove import Method, prove
from watch import Inside, any_constant, assume, claim, free, given, past, reached


def _config(hidden: int, hidden_lanes: int, outputs: int, lanes: int) -> Config:
    layers = [LayerConfig(3, hidden, hidden_lanes), LayerConfig(hidden, outputs, lanes)]
    return Config(layers, 4, learning=True)


SIZES = {
    f"{lanes} lanes, {-(-outputs // lanes)} groups": {
        "config": _config(hidden, hidden_lanes, outputs, lanes)
    }
    for hidden, hidden_lanes, outputs, lanes in [(8, 4, 10, 10), (3, 3, 7, 3), (8, 4, 17, 17)]
}


@prove(Method.INDUCTION, 8, cover=12, sizes=SIZES)
def sign(m: Module, config: Config) -> None:
    """For every row, a fixed time after its last group, the neuron of the row alone gets the error:
    the sign of the sum of all lanes of all groups, with the step in which it fired."""
    dut = Popcount(config, 1)
    inside = Inside(m, dut)
    free(m, dut)
    before, layer = config.layers
    for vote in dut.votes:
        assume(m, vote != -2)
    assume(m, dut.index < layer.rows)

    # The sum of a row and what belongs to it, as many cycles late as the component is.
    width = Shape((layer.lanes * layer.groups).bit_length() + 2, signed=True)
    stages = dut.latency - 2
    valid, closes, index, arrival, votes = (
        _late(m, value, stages)
        for value in (dut.valid, dut.closes, dut.index, dut.arrival, _sum(m, dut.votes, width))
    )
    # Groups come until one closes the row, so many at most.
    group = Signal(range(layer.groups + 1))
    with m.If(dut.valid):
        m.d.sync += group.eq(Mux(dut.closes, 0, group + 1))
    assume(m, given(dut.valid, dut.closes == (group == layer.groups - 1)))
    spare = layer.lanes * layer.groups - layer.neurons
    for vote in list(dut.votes)[layer.lanes - spare :]:
        # Lanes without a neuron do not vote.
        assume(m, given(dut.valid & dut.closes, vote == 0))
    late_group = _late(m, group, stages)

    total = Signal(width)
    so_far = Signal(width)
    m.d.comb += total.eq(so_far + votes)
    with m.If(valid):
        m.d.sync += so_far.eq(Mux(closes, 0, total))
    due = past(m, past(m, valid & closes))
    due_total = past(m, past(m, total))
    due_index = past(m, past(m, index))
    expected = Mux(
        due_total == 0,
        ErrorKind.FIRED,
        Mux(due_total > 0, ErrorKind.EARLIER, ErrorKind.LATER),
    )
    for lane, error in enumerate(dut.o.errors):
        mine = due & (due_index % before.lanes == lane)
        claim(m, dut.o.enable[lane] == mine, "the neuron of the row gets an error, and no other")
        claim(m, given(mine, error.kind.as_value() == expected), "it is the sign of the sum")
        claim(m, given(mine, error.when == past(m, past(m, arrival))), "its spike step is told")
    claim(m, given(due, dut.o.group == due_index // before.lanes), "in its group")
    reached(m, due & (due_total < -1), "a neuron should fire later")

    # The one of its name that is a number.
    (kept,) = (
        register
        for name, register in inside.registers()
        if name == "total" and register.shape().signed
    )
    claim(m, given(~inside["fresh"], kept == so_far), "the sum so far is kept")
    claim(m, inside["fresh"] == (late_group == 0), "a row begins")
    claim(m, given(late_group == 0, so_far == 0), "with nothing")
    most = layer.lanes * late_group
    claim(m, (so_far <= most) & (so_far >= -most), "a sum is no more than its votes")
    claim(m, (group < layer.groups) & (late_group < layer.groups), "a row has its groups")


def _late(m: Module, value, cycles: int):
    for _ in range(cycles):
        value = past(m, value)
    return value


def _sum(m: Module, votes, shape: Shape) -> Signal:
    """The sum, one vote after the other."""
    total = Signal(shape)
    plus, minus = Signal(shape), Signal(shape)
    m.d.comb += [
        plus.eq(sum(vote == 1 for vote in votes)),
        minus.eq(sum(vote == -1 for vote in votes)),
        total.eq(plus - minus),
    ]
    return total


@prove(
    Method.INDUCTION,
    2,
    cover=5,
    sizes={
        "1 group": {"config": _config(3, 3, 2, 2)},
        "2 groups": {"config": _config(8, 4, 2, 2)},
    },
)
def memory(m: Module, config: Config) -> None:
    """The error that a neuron got last is the one that is read, a cycle later, and errors of others
    leave it alone."""
    dut = ErrorMemory(config, 0)
    inside = Inside(m, dut)
    free(m, dut)
    layer = config.layers[0]
    group = any_constant(m, dut.group.shape(), "of_group")
    assume(m, (group < layer.groups) & (dut.group < layer.groups) & (dut.i.group < layer.groups))
    for lane in range(layer.lanes):
        mine = dut.i.enable[lane]
        if layer.groups > 1:
            # With one group, its number means nothing.
            mine &= dut.i.group == group
        written = Signal()
        last = Signal(dut.layout.size)
        with m.If(mine):
            m.d.sync += [written.eq(1), last.eq(dut.i.errors[lane])]
        if layer.groups > 1:
            # A cycle in which both happen reads either.
            read = past(m, written & ~mine & (dut.group == group))
            claim(m, given(read, dut.o[lane].as_value() == past(m, last)), "the last is read")
            word = inside.word("storage", group).word_select(lane, dut.layout.size)
            claim(m, given(written, word == last), "the last is kept")
        else:
            read = written
            claim(m, given(read, dut.o[lane].as_value() == last), "the last is read")
    reached(m, read & past(m, ~mine), "an error is read")
