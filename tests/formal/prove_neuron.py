"""Neurons: the arithmetic of ``docs/arithmetic.md``, within the sums that the compiler allows."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from firstspike.firmware.config import LayerConfig
from firstspike.hdl.neuron import CurrentNeuron, SumNeuron
from prove import Method, prove
from watch import any_constant, any_value, assume, claim, given, reached

SIZES = {
    f"b={b} i={i} v={v} k={k}": {
        "layer": LayerConfig(1, 1, 1, weight_bits=b, current_bits=i, membrane_bits=v, k=k)
    }
    for b, i, v, k in [(8, 16, 20, 4), (8, 16, 16, 1), (8, 12, 32, 8), (2, 8, 8, 2)]
}
#: Several ways add up their weights before one neuron sees them.
WAYS = {
    "b=3 i=8 v=10 k=2, 4 ways": {
        "layer": LayerConfig(4, 1, 1, weight_bits=3, current_bits=8, membrane_bits=10, k=2, ways=4)
    }
}


class _Column:
    """The weights that arrive at one neuron. The compiler proves for every column that those of
    each sign add up to what the current holds; no input spikes twice, so neither do those that have
    come so far."""

    def __init__(self, m: Module, layer: LayerConfig, *, largest: int) -> None:
        bits = layer.current_bits
        one = Shape(layer.weight_bits, signed=True)
        weights = [any_value(m, one, f"weight_{way}") for way in range(layer.ways)]
        # Wide enough for them all, whatever the component takes.
        self.weight = Signal(Shape(layer.weight_bits + layer.ways, signed=True))
        self.comes = Signal()
        self.low = Signal(Shape(bits + 1, signed=True))
        self.high = Signal(Shape(bits + 1, signed=True))
        low, high = self.low, self.high
        for weight in weights:
            low = Mux(self.comes & (weight < 0), low + weight, low)
            high = Mux(self.comes & (weight > 0), high + weight, high)
        m.d.comb += self.weight.eq(sum(weights))
        m.d.sync += [self.low.eq(low), self.high.eq(high)]
        assume(m, (low >= -(1 << (bits - 1))) & (high <= largest))
        claim(m, (self.low <= 0) & (self.high >= 0), "the bounds lie on both sides of 0")

    def holds(self, value: Value) -> Value:
        return (self.low <= value) & (value <= self.high)


@prove(Method.INDUCTION, 2, cover=6, sizes=SIZES | WAYS)
def arithmetic(m: Module, layer: LayerConfig) -> None:
    """Whatever weights and steps come, a neuron's current and membrane are those of the
    specification in numbers without bound: the current never overflows, the membrane saturates at
    -2^(v-1) exactly and never overflows upwards before the neuron fires; it fires when the
    specification says, and once."""
    i, v = layer.current_bits, layer.membrane_bits
    m.submodules.dut = dut = CurrentNeuron(layer)
    token = any_value(m, 1, "token")
    threshold = any_constant(m, v, "threshold")
    assume(m, (threshold >= 1) & (threshold <= 1 << (v - 1)))
    column = _Column(m, layer, largest=(1 << (i - 1)) - 1)

    # What a lane of the layer does: the state changes with each token.
    begun = Signal()
    state = Signal(dut.state_layout(layer))
    step = any_value(m, 1, "step")
    m.d.comb += [
        dut.step.eq(step),
        dut.weight.eq(column.weight),
        dut.state.eq(state),
        column.comes.eq(begun & token & ~step),
    ]
    m.d.sync += begun.eq(1)
    with m.If(~begun):
        for field, value in dut.initial(threshold).items():
            m.d.sync += state[field].eq(value)
    with m.Elif(token):
        m.d.sync += state.eq(dut.next)

    # The specification: a step opens with the decay, which is due when the step before has ended.
    current = Signal(Shape(i + 4, signed=True))
    decay_due = Signal()
    membrane = Signal(Shape(v + 4, signed=True))
    fired = Signal()
    now = Signal.like(current)
    potential = Signal.like(membrane)
    m.d.comb += [
        now.eq(Mux(decay_due, current - (current >> layer.k), current)),
        potential.eq(membrane + now),
    ]
    with m.If(~begun):
        m.d.sync += membrane.eq(-threshold)
    with m.Elif(token):
        m.d.sync += [
            current.eq(Mux(step, now, now + column.weight)),
            decay_due.eq(step),
        ]
        with m.If(step):
            floor = -(1 << (v - 1))
            m.d.sync += [
                membrane.eq(Mux(potential < floor, floor, potential)),
                fired.eq(fired | (potential >= 0)),
            ]

    steps = begun & token & step
    claim(m, now == state.current, "the current is the specification's")
    claim(m, column.holds(now) & column.holds(current), "the current keeps within its bounds")
    claim(m, given(begun & ~fired, membrane == state.membrane), "so is the membrane")
    claim(m, given(begun, fired == (state.membrane >= 0)), "the sign of the membrane tells it all")
    claim(
        m, given(steps & ~fired, potential < 1 << (v - 1)), "the membrane does not overflow upwards"
    )
    claim(m, given(steps & dut.spike, ~fired), "a neuron fires once")
    claim(
        m,
        given(steps & ~fired, dut.spike == (potential >= 0)),
        "it fires when the membrane has come to the threshold",
    )
    claim(m, given(~step, ~dut.spike), "it fires in steps only")
    reached(m, steps & fired & (now > 0), "a neuron could fire again")
    reached(m, steps & (now < 0) & (potential < membrane), "a membrane falls")
    if v == i:
        reached(m, steps & (potential < -(1 << (v - 1))), "a membrane is at its floor")


@prove(Method.EQUIVALENCE, 1, sizes=SIZES)
def floor(m: Module, layer: LayerConfig) -> None:
    """From any state whatever in which it has not fired, a step leaves max(U + I, -2^(v-1)), and
    the neuron spikes if that is not negative."""
    v = layer.membrane_bits
    m.submodules.dut = dut = CurrentNeuron(layer)
    state = any_value(m, dut.state_layout(layer).size, "state")
    potential = Signal(Shape(v + 2, signed=True))
    m.d.comb += [
        dut.step.eq(1),
        dut.state.eq(state),
        potential.eq(dut.state.membrane + dut.state.current),
    ]
    assume(m, dut.state.membrane < 0)
    lowest = -(1 << (v - 1))
    claim(m, dut.next.membrane == Mux(potential < lowest, lowest, potential), "the floor is exact")
    claim(m, dut.spike == (potential >= 0), "the sign of the sum is the spike")
    reached(m, potential == lowest - 1, "one below the floor")
    reached(m, potential == lowest, "at the floor")


@prove(
    Method.INDUCTION,
    2,
    cover=6,
    sizes={
        f"b={b} i={i}": {"layer": LayerConfig(1, 1, 1, weight_bits=b, current_bits=i, neuron="sum")}
        for b, i in [(8, 16), (4, 9)]
    },
)
def sums(m: Module, layer: LayerConfig) -> None:
    """A neuron that compares its sum keeps the sum without overflow until it fires, fires in the
    first step whose crossing the sum has come to, and fires once."""
    m.submodules.dut = dut = SumNeuron(layer)
    bits = layer.current_bits
    token = any_value(m, 1, "token")
    step = any_value(m, 1, "step")
    crossing = any_value(m, Shape(bits, signed=True), "crossing")
    stepped = Signal()
    # All inputs spike in step 0, and crossings are positive.
    assume(m, given(stepped, step))
    assume(m, crossing > 0)
    # The largest number is the crossing that means never.
    column = _Column(m, layer, largest=(1 << (bits - 1)) - 2)

    state = Signal(dut.state_layout(layer))
    total = Signal(Shape(bits + 2, signed=True))
    fired = Signal()
    m.d.comb += [
        dut.step.eq(step),
        dut.weight.eq(column.weight),
        dut.crossing.eq(crossing),
        dut.state.eq(state),
        column.comes.eq(token & ~step),
    ]
    with m.If(token):
        m.d.sync += [state.eq(dut.next), stepped.eq(stepped | step), fired.eq(fired | dut.spike)]
        with m.If(~step):
            m.d.sync += total.eq(total + column.weight)

    claim(m, column.holds(total), "the sum keeps within its bounds")
    claim(m, given(~fired, state.sum == total), "the sum is that of the weights")
    claim(m, given(fired, stepped & (state.sum < 0)), "a neuron that has fired has a negative sum")
    claim(m, dut.spike == step & ~fired & (total >= crossing), "it fires at its crossing, once")
    reached(m, token & step & fired & (total >= crossing), "a neuron could fire again")
