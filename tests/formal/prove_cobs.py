"""COBS decoder and encoder, and the stream rule at both."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import connect
from firstspike.hdl.cobs import CobsDecoder, CobsEncoder
from prove import Method, prove
from watch import Inside, any_constant, assume, claim, free, given, past, reached, stays, taken


@prove(Method.INDUCTION, 1, cover=5)
def idle(m: Module) -> None:
    """After a zero the decoder is as after its reset, whatever came before."""
    dut = CobsDecoder()
    inside = Inside(m, dut)
    free(m, dut)
    zero = past(m, taken(dut.i) & (dut.i.payload == 0))
    for name, register in inside.registers():
        claim(m, given(zero, register == register.init), f"{name} is as after a reset")
    reached(m, zero & past(m, ~dut.o.p.good & dut.o.valid), "a zero comes in the middle of a run")


@prove(Method.INDUCTION, 1, cover=4)
def stable(m: Module) -> None:
    """What the decoder offers stays until it is taken, if what it is offered does."""
    m.submodules.dut = dut = CobsDecoder()
    free(m, dut)
    assume(m, stays(m, dut.i))
    claim(m, stays(m, dut.o), "valid and payload stay")
    reached(m, past(m, dut.o.valid & ~dut.o.ready) & taken(dut.o), "a byte waits")


@prove(Method.BOUNDED, 11, long_depth=13, cover=11)
def round_trip(m: Module) -> None:
    """What the encoder makes of packets has no zero but at the end of each, and the decoder makes
    the packets of it again, with full runs and without."""
    m.submodules.encoder = encoder = CobsEncoder(full_run=2)
    m.submodules.decoder = decoder = CobsDecoder(full_run=2)
    free(m, encoder)
    free(m, decoder, "i")
    connect(m, encoder.o, decoder.i)
    # Both know a byte from a zero, and otherwise only hand it on.
    assume(m, encoder.i.p.data < 3)
    number = any_constant(m, 3, "number")
    sent, received = Signal(4), Signal(4)
    item = Signal(encoder.i.p.shape())
    with m.If(taken(encoder.i)):
        m.d.sync += sent.eq(sent + 1)
        with m.If(sent == number):
            m.d.sync += item.eq(encoder.i.payload)
    byte = decoder.o.valid & ~decoder.o.p.end
    m.d.sync += received.eq(received + (taken(decoder.o) & ~decoder.o.p.end))
    ended = Signal(init=1)
    with m.If(taken(decoder.o)):
        m.d.sync += ended.eq(decoder.o.p.end)
    mine = byte & (received == number)
    claim(m, given(decoder.o.valid & decoder.o.p.end, decoder.o.p.good), "codes add up")
    claim(m, given(byte, received < sent), "no byte is made up")
    claim(m, given(mine, decoder.o.p.data == item.data), "every byte comes back")
    after = received == number + 1
    claim(
        m,
        given(after & decoder.o.valid, decoder.o.p.end == (item.last & ~ended)),
        "a packet ends where it ended",
    )
    reached(m, taken(decoder.o) & decoder.o.p.end & (received == 5), "a packet of full runs ends")


@prove(Method.INDUCTION, 2, cover=6)
def encoder_stable(m: Module) -> None:
    """A coded byte that is offered stays until it is taken."""
    m.submodules.dut = dut = CobsEncoder()
    free(m, dut)
    claim(m, stays(m, dut.o), "valid and payload stay")
    reached(m, past(m, dut.o.valid & ~dut.o.ready) & taken(dut.o), "a byte waits")
