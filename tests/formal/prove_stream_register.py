"""The register between two streams."""

from amaranth.hdl import Module, Signal
from firstspike.hdl.stream_register import StreamRegister
from prove import Method, prove
from watch import Inside, any_value, claim, free, given, past, reached, stays, taken


@prove(Method.INDUCTION, 1, cover=5)
def order(m: Module) -> None:
    """Every item comes out once, as it went in and in its turn, and stays until it is taken."""
    dut = StreamRegister(2)
    inside = Inside(m, dut)
    free(m, dut)
    held = Signal(2)
    m.d.sync += held.eq(held + taken(dut.i) - taken(dut.o))

    # One item, any of them, is followed on its way.
    chosen = any_value(m, 1, "chosen")
    followed = Signal()
    item = Signal(2)
    ahead = Signal(2)
    with m.If(followed):
        m.d.sync += ahead.eq(ahead - taken(dut.o))
        with m.If(taken(dut.o) & (ahead == 0)):
            m.d.sync += followed.eq(0)
    with m.Elif(taken(dut.i) & chosen):
        m.d.sync += [followed.eq(1), item.eq(dut.i.payload), ahead.eq(held - taken(dut.o))]

    claim(m, dut.o.valid == (held != 0), "what is held is offered")
    claim(m, held == dut.o.valid + inside["spare_valid"], "two items are held at most")
    claim(m, given(followed, ahead < held), "the item has its place")
    claim(m, given(followed & (ahead == 0), dut.o.payload == item), "it comes out as it went in")
    claim(m, given(followed & (ahead == 1), inside["spare"] == item), "it waits as it went in")
    claim(m, stays(m, dut.o), "valid and payload stay")
    claim(m, given(held == 0, dut.i.ready), "an empty register takes an item")
    reached(m, past(m, followed & (ahead == 1)) & (ahead == 0), "an item waits for another")
