"""The sequencer: a sample's events become the rows and steps of the first layer."""

from amaranth.hdl import Module, Mux, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.sequencer import Sequencer
from firstspike.hdl.token import TokenKind
from prove import Method, prove
from watch import Inside, any_constant, assume, claim, free, given, past, reached, stays, taken

_STEPS = 3
_CONFIG = Config([LayerConfig(3, 2, 2)], max_steps=4)


@prove(Method.BOUNDED, 11, long_depth=12, cover=11)
def order(m: Module) -> None:
    """Whatever is in the row map, every spike of an input with a row becomes one token with that
    row, after as many step tokens as its step and in its turn; after the sample's end come those of
    all steps, the last one marked; a decision ends them; and each token stays until it is taken or
    ended. So do those of the next sample, which begins when the end and the result were taken."""
    dut = Sequencer(_CONFIG)
    inside = Inside(m, dut)
    free(m, dut, "memory")
    steps = any_constant(m, len(dut.steps), "number_of_steps")
    assume(m, (steps >= 1) & (steps <= _STEPS) & (dut.steps == steps))

    # Samples, whose steps ascend.
    event = dut.i.p
    latest = Signal(event.step.shape())
    assume(m, stays(m, dut.i))
    assume(m, given(dut.i.valid, event.index < 3))
    assume(m, given(dut.i.valid & ~event.end, (event.step >= latest) & (event.step < steps)))
    with m.If(taken(dut.i)):
        m.d.sync += latest.eq(Mux(event.end, 0, event.step))
    word = inside.word("row_map", event.index)
    row, has_row = word[:-1], word[-1]

    # One event, any of them, of either of two samples, is followed to its place among all tokens.
    number = any_constant(m, 3, "number")
    of_second = any_constant(m, 1, "of_second")
    second = Signal()
    open_, over, decided = Signal(), Signal(), Signal()
    got = Signal(init=1)
    came, spikes, sent, sent_steps = Signal(4), Signal(4), Signal(5), Signal(4)
    followed = Signal()
    place, index = Signal(5), Signal(16)
    token = dut.o.p
    is_step = token.kind == TokenKind.STEP
    begins = taken(dut.i) & ~open_
    claim(m, given(begins, got), "a sample begins when the result of the last was taken")
    m.d.sync += [
        sent.eq(sent + taken(dut.o)),
        sent_steps.eq(sent_steps + (taken(dut.o) & is_step)),
    ]
    with m.If(taken(dut.i)):
        m.d.sync += [open_.eq(~event.end), over.eq(event.end)]
        with m.If(~open_):
            m.d.sync += [got.eq(0), decided.eq(0), sent.eq(0), sent_steps.eq(0)]
            m.d.sync += [came.eq(1), spikes.eq(~event.end & has_row)]
        with m.Else():
            m.d.sync += [came.eq(came + 1), spikes.eq(spikes + (~event.end & has_row))]
        is_it = (Mux(open_, came, 0) == number) & (second == of_second)
        with m.If(is_it & ~event.end & has_row & ~decided):
            m.d.sync += [
                followed.eq(1),
                place.eq(Mux(open_, spikes, 0) + event.step),
                index.eq(row),
            ]
    # A step of the sample was sent before it is decided, and its result is taken then or later.
    assume(m, given(dut.flush, ~got & ~decided & (sent_steps != 0)))
    assume(m, given(dut.taken, ~got & (dut.flush | decided)))
    with m.If(dut.flush):
        m.d.sync += [decided.eq(1), followed.eq(0)]
    with m.If(dut.taken):
        m.d.sync += [got.eq(1), second.eq(1)]

    mine = dut.o.valid & followed & (sent == place)
    claim(m, given(mine, ~is_step), "the token of a spike comes in its turn")
    claim(m, given(mine, token.index == index[: len(token.index)]), "it has the row of its input")
    sent_spikes = sent - sent_steps
    claim(m, given(dut.o.valid & ~is_step, sent_spikes < spikes), "no spike is made up")
    ahead = Mux(over, steps, latest)
    claim(m, given(dut.o.valid & is_step, sent_steps < ahead), "no step ends too soon")
    last = sent_steps + 1 == steps
    claim(m, given(dut.o.valid & is_step, token.last == last), "the last step is marked")
    claim(m, given(decided | got, ~dut.o.valid), "no token comes after the decision")
    claim(m, stays(m, dut.o) | past(m, dut.flush), "a token stays until it is taken or ended")
    waits = Signal(4)
    owes = over & ~decided & ~got & (sent != spikes + steps)
    m.d.sync += waits.eq(Mux(owes & ~dut.o.valid & ~dut.flush, waits + 1, 0))
    claim(m, waits <= 4, "tokens come in time")
    reached(m, mine & (sent_steps == 2) & (sent_spikes == 1), "the second spike is in step 2")
    reached(m, over & ~owes & (spikes == 2) & past(m, owes), "a sample is over")
    reached(m, mine & second & (sent_steps == 1), "a spike of the second sample is in step 1")
