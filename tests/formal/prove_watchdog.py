"""The watchdog: every sample is answered in time, whatever the core does."""

from amaranth.hdl import Module, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.watchdog import Watchdog
from prove import Method, prove
from watch import Inside, assume, claim, free, given, past, reached, stays, taken

_CONFIG = Config([LayerConfig(2, 1, 1, current_bits=8, membrane_bits=8)], max_steps=1)
#: As small as it can be, so that what comes after it is seen.
SIZES = {f"limit {limit}": {"limit": limit} for limit in (4, 8)}


@prove(Method.INDUCTION, 3, cover=12, sizes=SIZES)
def answers(m: Module, limit: int) -> None:
    """Whatever the core does, an event that is offered waits for no more cycles than the limit, and
    a sample that has come in whole gets one result, after fewer cycles than the limit. The result
    stays until it is taken, and none comes without a sample; an event on its way to the core stays
    until it is taken or the core is reset."""
    dut = Watchdog(_CONFIG, limit)
    inside = Inside(m, dut)
    free(m, dut)
    assume(m, stays(m, dut.i_events))
    # A core that is not held in reset keeps what it offers.
    assume(m, stays(m, dut.i_results) | past(m, dut.restart))
    owed = Signal()
    waits = Signal(range(limit + 3))
    with m.If(taken(dut.o_results)):
        m.d.sync += [owed.eq(0), waits.eq(0)]
    with m.Elif(owed & ~dut.o_results.valid):
        m.d.sync += waits.eq(waits + 1)
    event_waits = Signal(range(limit + 3))
    with m.If(dut.i_events.ready | ~dut.i_events.valid):
        m.d.sync += event_waits.eq(0)
    with m.Else():
        m.d.sync += event_waits.eq(event_waits + 1)
    # The next sample comes after the result of the one before.
    assume(m, given(owed, ~dut.i_events.valid))
    with m.If(taken(dut.i_events) & dut.i_events.p.end):
        m.d.sync += owed.eq(1)

    claim(m, given(dut.o_results.valid, owed), "no result comes without a sample")
    claim(m, waits < limit, "a result comes in time")
    claim(m, event_waits <= limit, "an event comes in in time")
    kept = past(m, dut.o_results.valid & ~dut.o_results.ready)
    claim(m, given(kept, dut.o_results.valid), "a result stays until it is taken")
    claim(m, given(kept, dut.stalled == past(m, dut.stalled)), "and so does what it says")
    claim(m, stays(m, dut.o_events) | dut.restart, "an event stays until it is taken, or a reset")
    claim(m, given(dut.restart, ~dut.o_events.valid), "a core in reset gets no events")
    claim(m, given(dut.restart, dut.i_events.ready), "those of its sample are dropped")
    claim(m, given(taken(dut.i_results), taken(dut.o_results)), "the core's results go out")
    reached(m, taken(dut.o_results) & (waits != 0) & ~dut.stalled, "a result comes")
    reached(m, taken(dut.o_results) & dut.stalled & (waits == limit - 1), "there is none in time")
    reached(m, taken(dut.i_events) & (event_waits == limit), "an event cannot come in")

    claim(m, inside["owed"] == owed, "what is owed is known")
    claim(m, given(~owed, waits == 0), "nothing waits without need")
    claim(m, given(owed, waits < inside["count"]), "the time is kept")
    claim(m, event_waits <= inside["count"], "so is that of an event")
    claim(m, inside["count"] <= limit, "the limit is the end")


@prove(Method.INDUCTION, 3, cover=16, sizes=SIZES)
def patience(m: Module, limit: int) -> None:
    """A core that gives its result, or is idle, before the limit is never reset, however long the
    result then waits."""
    dut = Watchdog(_CONFIG, limit)
    inside = Inside(m, dut)
    free(m, dut)
    assume(m, stays(m, dut.i_results))
    busy = Signal(range(limit + 2))
    sample = Signal()
    with m.If(taken(dut.i_events)):
        m.d.sync += sample.eq(1)
    with m.Elif(taken(dut.o_results)):
        m.d.sync += sample.eq(0)
    assume(m, given(inside["owed"], ~dut.i_events.valid))
    quiet = dut.idle & ~dut.i_events.valid & ~sample
    with m.If(quiet | taken(dut.o_results)):
        m.d.sync += busy.eq(0)
    with m.Elif((busy <= limit) & ~dut.o_results.valid):
        m.d.sync += busy.eq(busy + 1)
    assume(m, busy < limit)
    waits = Signal(range(limit + 2))
    with m.If(~dut.o_results.valid | dut.o_results.ready):
        m.d.sync += waits.eq(0)
    with m.Elif(waits <= limit):
        m.d.sync += waits.eq(waits + 1)
    claim(m, ~dut.restart, "it is not reset")
    claim(m, inside["count"] <= busy, "it has its time")
    claim(m, ~(inside["begun"] & inside["owed"]), "one sample at a time")
    claim(m, sample == (inside["begun"] | inside["owed"]), "a sample is in it")
    reached(m, busy == limit - 1, "it is busy")
    reached(m, waits > limit, "a result waits for longer than the limit")
