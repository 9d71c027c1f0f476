"""The command processor: one answer for each request, in their order."""

from amaranth.hdl import Module, Mux, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.protocol import ANSWER, Hello
from firstspike.hdl.commands import CommandProcessor
from prove import Method, prove
from watch import any_constant, assume, claim, free, given, reached, stays, taken

_CONFIG = Config([LayerConfig(3, 2, 2, current_bits=10, membrane_bits=10)], max_steps=4)


@prove(Method.BOUNDED, 16, long_depth=20, cover=18)
def answers(m: Module) -> None:
    """Every request gets one answer, which names its operation and sequence number, after the
    answers to all requests before it; and what is offered stays until it is taken."""
    dut = CommandProcessor(_CONFIG, Hello(_CONFIG, 1_000_000))
    m.submodules.dut = dut
    free(m, dut)
    assume(m, stays(m, dut.i))

    # The deframer lets no request through that is shorter than its head.
    place = Signal(range(8))
    request = Signal(range(4))
    with m.If(taken(dut.i)):
        m.d.sync += place.eq(Mux(dut.i.p.end, 0, Mux(place == 7, 7, place + 1)))
        m.d.sync += request.eq(request + dut.i.p.end)
    assume(m, given(dut.i.valid & dut.i.p.end, place >= 6))

    # The core has a result for each sample, and keeps it until it is taken.
    assume(m, stays(m, dut.results, dut.stalled))
    samples, results = Signal(range(8)), Signal(range(8))
    m.d.sync += [
        samples.eq(samples + (taken(dut.events) & dut.events.p.end)),
        results.eq(results + taken(dut.results)),
    ]
    assume(m, given(dut.results.valid, results < samples))

    # One request, any of them, and its answer.
    number = any_constant(m, 2, "number")
    op, seq = Signal(8), Signal(8)
    with m.If(taken(dut.i) & (request == number)):
        with m.If(place == 0):
            m.d.sync += op.eq(dut.i.p.data)
        with m.If(place == 1):
            m.d.sync += seq.eq(dut.i.p.data)
    answer, byte = Signal(range(4)), Signal(range(4))
    with m.If(taken(dut.o)):
        m.d.sync += byte.eq(Mux(dut.o.p.last, 0, Mux(byte == 3, 3, byte + 1)))
        m.d.sync += answer.eq(answer + dut.o.p.last)
    mine = dut.o.valid & (answer == number)
    claim(m, given(dut.o.valid, answer < request), "no answer comes without a request")
    claim(m, given(mine & (byte == 0), dut.o.p.data == (op | ANSWER)), "it names the operation")
    claim(m, given(mine & (byte == 1), dut.o.p.data == seq), "it names the sequence number")
    claim(m, stays(m, dut.o), "an answer stays until it is taken")
    claim(m, stays(m, dut.events), "an event stays until it is taken")
    reached(m, (answer == 1) & (request == 1), "a request is answered")
    reached(m, taken(dut.results), "an inference is answered")
