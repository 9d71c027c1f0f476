"""A whole layer, pipelined and in groups, against the neurons of the specification."""

from types import SimpleNamespace

from amaranth.hdl import Array, Cat, Module, Mux, Shape, Signal
from amaranth.lib import wiring
from firstspike.firmware.config import Config, LayerConfig, Region
from firstspike.hdl.layer import Layer
from firstspike.hdl.token import TokenKind
from firstspike.hdl.weight_memory import weight_memory_members
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

_LATENCY = 2


class _Weights(wiring.Component):
    """Weights of any value, that never change."""

    latency = _LATENCY

    def __init__(self, region: Region) -> None:
        super().__init__(weight_memory_members(region))
        self.words = [Signal(region.bits * region.lanes) for _ in range(region.words)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for number, word in enumerate(self.words):
            m.d.comb += word.eq(any_constant(m, len(word), f"word_{number}"))
        data = Array(self.words)[self.address]
        for _ in range(_LATENCY):
            data = past(m, data)
        m.d.comb += self.data.eq(data)
        return m


class _Neuron:
    """A neuron as it is specified, with a token at a time; see :mod:`prove_neuron`."""

    def __init__(self, m: Module, layer: LayerConfig, threshold: Signal) -> None:
        self.threshold = threshold
        self.begun = Signal()
        self.current = Signal(Shape(layer.current_bits, signed=True))
        self.charge = Signal(Shape(layer.membrane_bits + 2, signed=True))
        self.fired = Signal()
        self.membrane = Signal(Shape(layer.membrane_bits, signed=True))
        self.spike = Signal()
        self.token = Signal()
        self.step = Signal()
        self.weight = Signal(Shape(layer.weight_bits, signed=True))
        lowest = -(1 << (layer.membrane_bits - 1))
        before = Signal.like(self.charge)
        total = Signal.like(self.charge)
        m.d.comb += [
            before.eq(Mux(self.begun, self.charge, -threshold)),
            total.eq(before + self.current),
            self.spike.eq(self.token & self.step & ~self.fired & (total >= 0)),
            self.membrane.eq(Mux(self.fired, self.charge, Mux(total < lowest, lowest, total))),
        ]
        highest = (1 << (layer.membrane_bits - 1)) - 1
        claim(m, (self.charge >= lowest) & (self.charge <= highest), "U keeps within its bounds")
        claim(m, given(self.begun, self.fired == (self.charge >= 0)), "U tells who has fired")
        claim(m, given(~self.begun, (self.current == 0) & ~self.fired), "I begins at 0")
        with m.If(self.token):
            m.d.sync += self.begun.eq(1)
            with m.If(self.step):
                m.d.sync += [
                    self.charge.eq(self.membrane),
                    self.fired.eq(self.fired | self.spike),
                    # Of the next step, which only its own tokens can see.
                    self.current.eq(self.current - (self.current >> layer.k)),
                ]
            with m.Else():
                m.d.sync += [
                    self.charge.eq(before),
                    self.current.eq(self.current + self.weight),
                ]


def _config(neurons: int, lanes: int) -> Config:
    layer = LayerConfig(2, neurons, lanes, weight_bits=2, k=1, current_bits=4, membrane_bits=8)
    return Config([layer], max_steps=8)


def _sizes(*shapes: tuple[int, int]) -> dict[str, dict[str, Config]]:
    return {
        f"{neurons} neurons, {lanes} lanes": {"config": _config(neurons, lanes)}
        for neurons, lanes in shapes
    }


@prove(Method.BOUNDED, 12, long_depth=15, cover=12, sizes=_sizes((3, 2), (3, 1)))
def groups(m: Module, config: Config) -> None:
    """A layer in several groups does what one in a single group is proved to do: in the first
    cycles of its first sample, in which two tokens go through all its groups."""
    _arithmetic(m, config)


@prove(Method.INDUCTION, 7, cover=12, sizes=_sizes((2, 2)))
def arithmetic(m: Module, config: Config) -> None:
    """Whatever weights, threshold, tokens and pauses there are, every group comes out a fixed time
    after it was issued, with the spikes and membranes of the specification; and no neuron spikes
    twice in a sample."""
    layer = config.layers[0]
    inside, neurons = _arithmetic(m, config)
    bits = layer.current_bits
    for lane, neuron in enumerate(neurons):
        state = inside[f"state_{lane}"]
        current, membrane = state[:bits].as_signed(), state[bits:].as_signed()
        # What was issued so long ago has come to the state.
        begun, expected, expected_membrane = neuron.begun, neuron.current, neuron.charge
        for _ in range(layer.fetch_cycles + 1):
            begun = past(m, begun)
            expected, expected_membrane = past(m, expected), past(m, expected_membrane)
        fresh = neuron.begun & ~begun
        at_rest = (current == 0) & (membrane == -neuron.threshold)
        claim(m, given(begun, current == expected), "I is the specification's")
        claim(m, given(begun, membrane == expected_membrane), "so is U")
        claim(m, given(fresh, at_rest), "both are as at the beginning until then")
        claim(m, inside["issue_first"] == ~neuron.begun, "the first token is known")
        claim(m, given(~neuron.begun, inside["clear"]), "before it nothing is kept")
    initial = inside["initial"][bits:].as_signed()
    claim(m, given(past(m, 1), initial == -neuron.threshold), "the beginning is the threshold's")


def _arithmetic(m: Module, config: Config) -> tuple[Inside, list[_Neuron]]:
    layer = config.layers[0]
    dut = Layer(config, 0, memory=_Weights)
    inside = Inside(m, dut)
    free(m, dut, "threshold", "memory")
    threshold = any_constant(m, len(dut.threshold), "threshold")
    assume(m, (threshold >= 1) & (threshold <= 1 << (layer.membrane_bits - 1)))
    m.d.comb += dut.threshold.eq(threshold)
    settled = past(m, past(m, 1))
    assume(m, given(~settled, ~dut.i.valid))
    assume(m, stays(m, dut.i))

    step = dut.i.p.kind == TokenKind.STEP
    used = Signal(layer.rows)
    for row in range(layer.rows):
        with m.If(taken(dut.i) & ~step & (dut.i.p.index == row)):
            m.d.sync += used[row].eq(1)
    again = used.bit_select(dut.i.p.index, 1)
    assume(m, given(dut.i.valid & ~step, (dut.i.p.index < layer.rows) & ~again))

    most = sum(used[row] for row in range(layer.rows))
    group = Signal(range(layer.groups + 1))
    issued = Signal()
    closes = group == layer.groups - 1
    m.d.comb += issued.eq(dut.i.valid & (~step | dut.room))
    with m.If(issued):
        m.d.sync += group.eq(Mux(closes, 0, group + 1))
    claim(m, (group < layer.groups) & (inside["issue_group"] == group), "a token has so many")
    claim(m, inside["issue_offset"] == group * layer.rows, "each has its words")
    claim(m, taken(dut.i) == (issued & closes), "a token takes a cycle for each group")

    spikes, membranes = Signal(layer.lanes), Signal(layer.lanes * layer.membrane_bits)
    seen_group = Signal.like(group)
    claim(m, seen_group < layer.groups, "a step has so many")
    with m.If(dut.o.valid):
        m.d.sync += seen_group.eq(Mux(dut.o.closes, 0, seen_group + 1))
    neurons = []
    words = Array(dut.weights[0].words)
    for number in range(layer.groups):
        word = words[number * layer.rows + dut.i.p.index]
        found = []
        for lane in range(layer.lanes):
            neuron = _Neuron(m, layer, threshold)
            found.append(neuron)
            bounded = (neuron.current <= most) & (neuron.current >= -most)
            claim(m, given(group == 0, bounded), "I keeps within the sums of the weights")
            assume(m, word.word_select(lane, layer.weight_bits).as_signed() != -2)
            m.d.comb += [
                neuron.token.eq(issued & (group == number)),
                neuron.step.eq(step),
                neuron.weight.eq(word.word_select(lane, layer.weight_bits)),
            ]
            spiked = Signal(name="spiked")
            now = dut.o.valid & (seen_group == number) & dut.o.spikes[lane]
            with m.If(now):
                m.d.sync += spiked.eq(1)
            fired = neuron.fired
            for _ in range(dut.latency):
                fired = past(m, fired)
            claim(m, spiked == fired, "what has spiked has fired")
            claim(m, given(now, ~spiked), "a neuron spikes once")
        neurons += found
        with m.If(group == number):
            m.d.comb += [
                spikes.eq(Cat(neuron.spike for neuron in found)),
                membranes.eq(Cat(neuron.membrane for neuron in found)),
            ]

    # In step with the pipeline.
    late = {
        "valid": issued & step,
        "closes": closes,
        "last": dut.i.p.last,
        "spikes": spikes,
        "membranes": membranes,
    }
    for _ in range(dut.latency):
        late = {name: past(m, value) for name, value in late.items()}
    claim(m, dut.o.valid == late["valid"], "a group comes out for each that a step has issued")
    for name in ("closes", "last", "spikes"):
        claim(m, given(dut.o.valid, getattr(dut.o, name) == late[name]), f"its {name} are right")
    found = Cat(dut.o.membranes[lane] for lane in range(layer.lanes))
    claim(m, given(dut.o.valid, found == late["membranes"]), "its membranes are right")
    reached(m, dut.o.valid & dut.o.spikes[0] & (used != 0), "a neuron spikes")
    return inside, neurons


@prove(
    Method.INDUCTION,
    3,
    cover=5,
    sizes={f"{ways} ways": {"ways": ways} for ways in (2, 4, 8)},
)
def gather(m: Module, ways: int) -> None:
    """A layer with several ways adds up the weights of those that have a spike, without overflow
    and after a fixed time."""
    layer = LayerConfig(8, 2, 2, weight_bits=3, ways=ways)
    spikes = any_value(m, ways, "spikes")
    words = [[any_value(m, Shape(3, signed=True), "weight") for _ in range(2)] for _ in range(ways)]
    # Of the layer it needs no more than this.
    part = SimpleNamespace(layer=layer, weights=[SimpleNamespace(data=word) for word in words])
    totals = Layer._gather(part, m, spikes)
    for lane, total in enumerate(totals):
        expected = Signal(Shape(8, signed=True))
        m.d.comb += expected.eq(
            sum(Mux(spike, word[lane], 0) for spike, word in zip(spikes, words, strict=True))
        )
        for _ in range(layer.gather_cycles):
            expected = past(m, expected)
        age = Signal(range(4))
        with m.If(age < layer.gather_cycles):
            m.d.sync += age.eq(age + 1)
        known = age == layer.gather_cycles
        claim(m, given(known, total == expected), "it is the sum of the weights")
    reached(m, known & (total == -4 * ways), "all are at their least")
