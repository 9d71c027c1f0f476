"""The core as a whole: one result a sample, which stays."""

from amaranth.hdl import Module, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.core import Core
from prove import Method, prove
from watch import any_constant, assume, claim, free, given, past, reached, stays, taken


def _config() -> Config:
    layer = LayerConfig(2, 2, 2, weight_bits=2, k=1, current_bits=4, membrane_bits=8)
    return Config([layer], 2)


@prove(Method.BOUNDED, 17, cover=17)
def results(m: Module) -> None:
    """A sample gets one result, after it has begun and before the next begins, and the result stays
    as it is until it is taken; while a sample is in it the core is not idle."""
    config = _config()
    dut = Core(config)
    m.submodules.dut = dut
    free(m, dut, "thresholds", "steps", "classes", "memory")
    constants = [
        (port, any_constant(m, len(port), "constant"))
        for port in (dut.thresholds[0], dut.steps, dut.classes)
    ]
    for port, constant in constants:
        m.d.comb += port.eq(constant)
    assume(m, (dut.thresholds[0] >= 1) & (dut.thresholds[0] <= 128))
    assume(m, (dut.steps >= 1) & (dut.steps <= 2) & (dut.classes >= 1) & (dut.classes <= 2))
    settled = past(m, past(m, 1))
    assume(m, given(~settled, ~dut.i.valid))
    assume(m, stays(m, dut.i))
    latest = Signal(dut.i.p.step.shape())
    with m.If(taken(dut.i)):
        m.d.sync += latest.eq(dut.i.p.step & ~dut.i.p.end)
    assume(m, given(dut.i.valid, (dut.i.p.step >= latest) & (dut.i.p.step < dut.steps)))
    open_, owed = Signal(), Signal()
    with m.If(taken(dut.o)):
        m.d.sync += owed.eq(0)
    with m.If(taken(dut.i)):
        m.d.sync += open_.eq(~dut.i.p.end)
        with m.If(~open_):
            m.d.sync += owed.eq(1)
    claim(m, given(dut.o.valid, owed), "no result comes without a sample")
    claim(m, given(taken(dut.i) & ~open_, ~owed), "no sample begins before the result is taken")
    claim(m, stays(m, dut.o), "a result stays until it is taken")
    claim(m, dut.idle == ~(open_ | owed), "the core is idle between samples")
    reached(m, dut.o.valid & dut.o.p.fired, "an output fires")
    reached(m, past(m, dut.o.valid & ~dut.o.ready) & taken(dut.o), "a result waits")
