"""The sequencer: a sample's events become the rows and steps of the first layer."""

from amaranth.hdl import Module, Mux, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.sequencer import Sequencer
from firstspike.hdl.token import TokenKind
from prove import Method, prove
from watch import Inside, any_constant, assume, claim, free, given, past, reached, stays, taken

_STEPS = 3
_CONFIG = Config([LayerConfig(3, 2, 2)], max_steps=4)


@prove(Method.BOUNDED, 10, long_depth=13, cover=10)
def order(m: Module) -> None:
    """Whatever is in the row map, every spike of an input with a row becomes one token with that
    row, after as many step tokens as its step and in its turn; after the sample's end come those of
    all steps, the last one marked; and each token stays until it is taken."""
    dut = Sequencer(_CONFIG)
    inside = Inside(m, dut)
    free(m, dut, "memory", "flush", "taken")
    steps = any_constant(m, len(dut.steps), "number_of_steps")
    assume(m, (steps >= 1) & (steps <= _STEPS) & (dut.steps == steps))

    # One sample, whose steps ascend.
    event = dut.i.p
    latest = Signal(event.step.shape())
    over = Signal()
    assume(m, stays(m, dut.i))
    assume(m, given(dut.i.valid, ~over & (event.index < 3)))
    assume(m, given(dut.i.valid & ~event.end, (event.step >= latest) & (event.step < steps)))
    word = inside.word("row_map", event.index)
    row, has_row = word[:-1], word[-1]

    # One event, any of them, is followed to its place among all tokens.
    number = any_constant(m, 3, "number")
    came, spikes, sent, sent_steps = Signal(4), Signal(4), Signal(5), Signal(4)
    followed = Signal()
    place, index = Signal(5), Signal(16)
    with m.If(taken(dut.i)):
        m.d.sync += came.eq(came + 1)
        with m.If(event.end):
            m.d.sync += over.eq(1)
        with m.Else():
            m.d.sync += [latest.eq(event.step), spikes.eq(spikes + has_row)]
            with m.If((came == number) & has_row):
                m.d.sync += [followed.eq(1), place.eq(spikes + event.step), index.eq(row)]
    token = dut.o.p
    is_step = token.kind == TokenKind.STEP
    m.d.sync += [
        sent.eq(sent + taken(dut.o)),
        sent_steps.eq(sent_steps + (taken(dut.o) & is_step)),
    ]
    mine = dut.o.valid & followed & (sent == place)
    claim(m, given(mine, ~is_step), "the token of a spike comes in its turn")
    claim(m, given(mine, token.index == index[: len(token.index)]), "it has the row of its input")
    sent_spikes = sent - sent_steps
    claim(m, given(dut.o.valid & ~is_step, sent_spikes < spikes), "no spike is made up")
    ahead = Mux(over, steps, latest)
    claim(m, given(dut.o.valid & is_step, sent_steps < ahead), "no step ends too soon")
    last = sent_steps + 1 == steps
    claim(m, given(dut.o.valid & is_step, token.last == last), "the last step is marked")
    claim(m, stays(m, dut.o), "a token stays until it is taken")
    waits = Signal(4)
    owes = over & (sent != spikes + steps)
    m.d.sync += waits.eq(Mux(owes & ~dut.o.valid, waits + 1, 0))
    claim(m, waits <= 4, "tokens come in time")
    reached(m, mine & (sent_steps == 2) & (sent_spikes == 1), "the second spike is in step 2")
    reached(m, over & ~owes & (spikes == 2) & past(m, owes), "a sample is over")
