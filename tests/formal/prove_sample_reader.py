"""What the payload of a sample becomes: events that the core may see, and a verdict."""

from amaranth.hdl import Module, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.protocol import Status
from firstspike.hdl.sample_reader import SampleReader
from prove import Method, prove
from watch import Inside, any_constant, assume, claim, free, given, past, reached, stays, taken

_INPUTS = 11
_CONFIG = Config([LayerConfig(_INPUTS, 2, 2)], max_steps=6)


@prove(Method.INDUCTION, 3, cover=12)
def events(m: Module) -> None:
    """Whatever the payload, an event has an input that there is and a step below the register, and
    steps ascend; every sample ends with a commit or a discard, once, and is discarded if anything
    speaks against it; and each event stays until it is taken."""
    dut = SampleReader(_CONFIG)
    inside = Inside(m, dut)
    free(m, dut, "steps", "bitmap")
    steps = any_constant(m, len(dut.steps), "number_of_steps")
    bitmap = any_constant(m, 1, "is_bitmap")
    assume(m, (steps >= 1) & (steps <= _CONFIG.max_steps))
    m.d.comb += [dut.steps.eq(steps), dut.bitmap.eq(bitmap)]
    # While an end waits, what the sample is judged by does not change.
    assume(m, stays(m, dut.i, dut.refusal))

    ends = taken(dut.i) & dut.i.p.end
    latest = Signal(dut.o.p.step.shape())
    spike = dut.o.valid & ~dut.o.p.end
    with m.If(ends):
        m.d.sync += latest.eq(0)
    with m.Elif(spike):
        m.d.sync += latest.eq(dut.o.p.step)
    claim(m, given(spike, dut.o.p.index < _INPUTS), "the input is there")
    claim(m, given(spike, dut.o.p.step < steps), "so is the step")
    claim(m, given(spike, dut.o.p.step >= latest), "steps ascend")
    claim(m, stays(m, dut.o, dut.commit), "an event stays until it is taken")
    claim(m, given(dut.commit, dut.o.valid & dut.o.p.end), "a commit ends a sample")
    claim(m, ~(dut.commit & dut.discard), "a sample is right or wrong")
    claim(m, ends == (dut.discard | (dut.commit & dut.o.ready)), "every end is one of the two")
    claim(m, given(dut.discard, dut.status != Status.OK), "it is told why")
    claim(m, given(dut.commit, dut.refusal == Status.OK), "what is refused is not committed")
    reached(m, spike & (dut.o.p.step == 3) & (dut.o.p.index == _INPUTS - 1), "the last input")
    reached(m, dut.commit & past(m, bitmap), "a bitmap is right")

    claim(m, given(~inside["bad"], inside["step"] < steps), "a step that counts is in range")
    claim(m, given(~inside["bad"], latest <= inside["step"]), "the step is not before the latest")
