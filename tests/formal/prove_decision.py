"""The decision against the rule of ``docs/arithmetic.md``, as it is written there."""

from amaranth.hdl import Module, Mux, Shape, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.decision import Decision
from prove import Method, prove
from watch import any_constant, assume, claim, free, given, reached, stays, taken


def _config(outputs: int, lanes: int) -> Config:
    layer = LayerConfig(2, outputs, lanes, weight_bits=2, current_bits=4, membrane_bits=8)
    return Config([layer], max_steps=8)


@prove(
    Method.BOUNDED,
    14,
    cover=14,
    sizes={
        f"{outputs} outputs, {lanes} lanes": {"config": _config(outputs, lanes)}
        for outputs, lanes in [(3, 3), (3, 2), (2, 1)]
    },
)
def rule(m: Module, config: Config) -> None:
    """The first step in which an output that takes part has fired decides, or else the last step:
    for the highest U, among equals for the lowest index; after a fixed time, once a sample."""
    layer = config.layers[0]
    membrane = Shape(layer.membrane_bits, signed=True)
    m.submodules.dut = dut = Decision(config)
    free(m, dut, "classes")
    classes = any_constant(m, dut.classes.shape(), "classes")
    m.d.comb += dut.classes.eq(classes)
    assume(m, (classes >= 1) & (classes <= layer.neurons))
    label = dut.o.p.label.shape()
    begun = Signal(2)
    with m.If(begun != 3):
        m.d.sync += begun.eq(begun + 1)
    assume(m, given(begun < 2, ~dut.i.valid))

    # A sample has no more steps than the build.
    group, step = Signal(4), Signal(8)
    closes = dut.i.valid & dut.i.closes
    with m.If(dut.i.valid):
        m.d.sync += group.eq(Mux(dut.i.closes, 0, group + 1))
    assume(m, given(dut.i.valid, dut.i.closes == (group == layer.groups - 1)))
    assume(m, given(closes & (step == config.max_steps - 1), dut.i.last))

    # The outputs of the step, one after the other; a later one has to be better.
    held = (Signal(), Signal(membrane), Signal(label))
    best = held
    for lane, value in enumerate(dut.i.membranes):
        number = group * layer.lanes + lane
        found, highest, where = best
        better = (number < classes) & (~found | (value > highest))
        best = (Signal(), Signal(membrane), Signal(label))
        m.d.comb += [
            best[0].eq(found | better),
            best[1].eq(Mux(better, value, highest)),
            best[2].eq(Mux(better, number, where)),
        ]
    with m.If(dut.i.valid):
        m.d.sync += [
            held[0].eq(best[0] & ~dut.i.closes),
            *(before.eq(after) for before, after in zip(held[1:], best[1:], strict=True)),
        ]

    # The first step with a spike, or the last, is the sample's; the next sample begins when the
    # result was taken, and after a flush no group of this one comes.
    decided = Signal()
    decision = Signal(dut.o.payload.shape())
    age = Signal(range(dut.latency + 2))
    decides = Signal()
    m.d.comb += decides.eq(closes & ~decided & ((best[1] >= 0) | dut.i.last))
    with m.If(closes):
        m.d.sync += step.eq(step + 1)
    with m.If(decides):
        m.d.sync += [
            decided.eq(1),
            decision.label.eq(best[2]),
            decision.step.eq(step),
            decision.fired.eq(best[1] >= 0),
            decision.rows.eq(dut.i.rows),
            age.eq(1),
        ]
    with m.Elif((age != 0) & (age <= dut.latency)):
        m.d.sync += age.eq(age + 1)
    offers = Signal()
    m.d.comb += offers.eq(age >= dut.latency)
    assume(m, given(offers & ~dut.flush, ~dut.i.valid))
    with m.If(taken(dut.o)):
        m.d.sync += [decided.eq(0), age.eq(0)]
    with m.If(dut.flush | taken(dut.o)):
        m.d.sync += [group.eq(0), step.eq(0), held[0].eq(0)]

    claim(m, dut.o.valid == offers, "a decision comes after a fixed time, and nothing else does")
    claim(m, dut.flush == (age == dut.latency), "the core is flushed once, as it comes")
    for field in ("label", "step", "fired", "rows"):
        same = dut.o.p[field] == decision[field]
        claim(m, given(dut.o.valid, same), f"{field} is the rule's")
    claim(m, stays(m, dut.o), "the decision stays until it is taken")
    second = Signal()
    with m.If(taken(dut.o)):
        m.d.sync += second.eq(1)
    reached(m, second & dut.o.valid & dut.o.p.fired, "a second sample is decided")
    reached(m, dut.o.valid & (dut.o.p.step == 2) & dut.o.p.fired, "the third step decides")
