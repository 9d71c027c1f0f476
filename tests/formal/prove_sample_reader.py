"""What the payload of a sample becomes: events that the core may see, and a verdict."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.protocol import Status
from firstspike.hdl.sample_reader import SampleReader
from prove import Method, prove
from watch import Inside, any_constant, assume, claim, free, given, past, reached, stays, taken

_INPUTS = 11
_CONFIG = Config([LayerConfig(_INPUTS, 2, 2)], max_steps=6)
_BYTES = -(-_INPUTS // 8)


class _Payload:
    """What ``docs/link.md`` makes of the bytes of a sample that have come."""

    def __init__(self, m: Module, dut: SampleReader, steps: Value, bitmap: Value) -> None:
        comes = taken(dut.i) & ~dut.i.p.end
        ends = taken(dut.i) & dut.i.p.end
        # Bytes, up to one too many, and whether their number is odd.
        self.bytes = Signal(range(_BYTES + 2))
        self.odd = Signal()
        # What was found before the last byte, or the last word, and that.
        self.bad_before, self.step_before = Signal(), Signal.like(dut.o.p.step)
        self.spikes_before = Signal(range(_INPUTS + 1))
        self.there = Signal()
        self.word = Signal(16)

        # With it.
        number, opens = self.word[:-1], self.word[-1]
        self.outside = Mux(self.bytes == _BYTES, 0xFF << _INPUTS % 8 & 0xFF, 0)
        self.outside = Mux(self.bytes > _BYTES, 0xFF, self.outside)
        wrong_bits = (self.word[8:] & self.outside).any()
        wrong_step = (number < self.step_before) | (number >= steps)
        wrong_spike = (number >= _INPUTS) | (self.spikes_before == _INPUTS)
        wrong = Mux(bitmap, wrong_bits, Mux(opens, wrong_step, wrong_spike))
        self.bad = Signal()
        self.step = Signal.like(self.step_before)
        self.spikes = Signal.like(self.spikes_before)
        right = self.there & ~self.bad
        m.d.comb += [
            self.bad.eq(self.bad_before | (self.there & wrong)),
            self.step.eq(Mux(right & ~bitmap & opens, number, self.step_before)),
            self.spikes.eq(self.spikes_before + (right & ~bitmap & ~opens)),
        ]
        with m.If(comes):
            m.d.sync += [
                self.bytes.eq(Mux(self.bytes > _BYTES, self.bytes, self.bytes + 1)),
                self.odd.eq(~self.odd),
                self.word.eq(Cat(self.word[8:], dut.i.p.data)),
                self.there.eq(bitmap | self.odd),
                self.bad_before.eq(self.bad),
                self.step_before.eq(self.step),
                self.spikes_before.eq(self.spikes),
            ]
        with m.If(ends):
            state = self.bytes, self.odd, self.there, self.bad_before, self.step_before
            m.d.sync += [register.eq(0) for register in (*state, self.spikes_before)]

        length = Mux(bitmap, self.bytes != _BYTES, self.odd)
        self.status = Mux(
            length,
            Const(Status.BAD_LENGTH, 4),
            Mux(dut.refusal != Status.OK, dut.refusal, Mux(self.bad, Status.BAD_SAMPLE, Status.OK)),
        )


@prove(Method.INDUCTION, 3, cover=12)
def events(m: Module) -> None:
    """Whatever the payload, an event has an input that there is and a step below the register, and
    steps ascend; every sample ends with a commit or a discard, once, and is committed if and only
    if its length is right, it is not refused, and no index, step or number of spikes in it is
    wrong; of several reasons, the first of these is told. Each event stays until it is taken, or
    until the sample is discarded."""
    dut = SampleReader(_CONFIG)
    inside = Inside(m, dut)
    free(m, dut, "steps", "bitmap")
    steps = any_constant(m, len(dut.steps), "number_of_steps")
    bitmap = any_constant(m, 1, "is_bitmap")
    assume(m, (steps >= 1) & (steps <= _CONFIG.max_steps))
    m.d.comb += [dut.steps.eq(steps), dut.bitmap.eq(bitmap)]
    assume(m, stays(m, dut.i))
    payload = _Payload(m, dut, steps, bitmap)

    ends = taken(dut.i) & dut.i.p.end
    latest = Signal(dut.o.p.step.shape())
    spike = dut.o.valid & ~dut.o.p.end
    with m.If(ends):
        m.d.sync += latest.eq(0)
    with m.Elif(spike):
        m.d.sync += latest.eq(dut.o.p.step)
    verdict = dut.commit | dut.discard
    claim(m, given(spike, dut.o.p.index < _INPUTS), "the input is there")
    claim(m, given(spike, dut.o.p.step < steps), "so is the step")
    claim(m, given(spike, dut.o.p.step >= latest), "steps ascend")
    # A refusal may come while the end of a sample waits: it is discarded then.
    claim(m, stays(m, dut.o, dut.commit) | dut.discard, "an event stays until it is taken")
    claim(m, given(dut.commit, dut.o.valid & dut.o.p.end), "a commit ends a sample")
    claim(m, ~(dut.commit & dut.discard), "a sample is right or wrong")
    claim(m, ends == (dut.discard | (dut.commit & dut.o.ready)), "every end is one of the two")
    good = payload.status == Status.OK
    claim(m, given(verdict, dut.commit == good), "it is taken if and only if it is right")
    claim(m, given(dut.discard, dut.status == payload.status), "it is told why it is not")
    reached(m, spike & (dut.o.p.step == 3) & (dut.o.p.index == _INPUTS - 1), "the last input")
    reached(m, dut.commit & past(m, bitmap), "a bitmap is right")
    reached(m, dut.commit & (payload.spikes == 2), "a list is right")
    reached(m, dut.discard & (dut.status == Status.BAD_SAMPLE), "a sample is wrong")
    reached(m, dut.discard & past(m, dut.commit & ~dut.o.ready), "a refusal comes late")

    take = inside.state("state", "take")
    bits, bad, count = inside["word"][8:], inside["bad"], inside["count"]
    claim(m, inside["odd"] == (payload.odd & ~bitmap), "odd bytes are known")
    claim(m, given(take, bad == payload.bad), "what is wrong is known")
    claim(m, given(~take, ~payload.bad_before & ~bad & payload.there), "until then all was right")
    claim(m, given(inside.state("state", "bits"), bitmap), "bits are those of a bitmap")
    claim(m, given(inside.state("state", "word"), ~bitmap), "a word is of a list")
    claim(m, given(~take & ~bitmap, inside["word"] == payload.word), "the word is at hand")
    odd = ~bitmap & payload.odd
    claim(m, given(odd, bits == payload.word[8:]), "or half of it")
    claim(m, given(odd, ~payload.there), "and the other half is to come")
    same = (bits ^ payload.word[8:]) & payload.outside
    claim(m, given(~take & bitmap, (same == 0) & (bits != 0)), "the bits are at hand")
    short = Signal.like(count)
    m.d.comb += short.eq(Mux(payload.bytes > _BYTES, _BYTES, payload.bytes - 1))
    claim(m, given(bitmap, count == short), "bytes are counted")
    step = Mux(take, payload.step, payload.step_before)
    spikes = Mux(take, payload.spikes, payload.spikes_before)
    claim(m, given(~bitmap & ~bad, count == (spikes - 1)[: len(count)]), "spikes are counted")
    claim(m, given(~bad, inside["step"] == step), "the step is known")
    claim(m, payload.spikes_before <= _INPUTS, "there are no more than inputs")
    claim(m, given(~inside["bad"], inside["step"] < steps), "a step that counts is in range")
    claim(m, given(~inside["bad"], latest <= inside["step"]), "the step is not before the latest")
    claim(m, given(bitmap, payload.step_before == 0), "a bitmap has one step")
