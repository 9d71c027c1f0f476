"""What a weight becomes when it learns, and its vote, against ``docs/learning.md``."""

from amaranth.hdl import Module, Mux, Shape, Signal
from firstspike.firmware.config import LayerConfig
from firstspike.firmware.learning import STEP_RANGE
from firstspike.hdl.synapse import Synapse
from prove import Method, prove
from watch import assume, claim, free, given, past, reached


@prove(
    Method.INDUCTION,
    2,
    sizes={
        f"{bits} bits, {where}": {"bits": bits, "last": where == "last"}
        for bits in (2, 3, 4, 8)
        for where in ("hidden", "last")
    },
)
def update(m: Module, bits: int, last: bool) -> None:
    """A concerned weight becomes clip(w + c*e), any other stays as it is, and none leaves -(2^(b-1)
    - 1) … 2^(b-1) - 1; it votes with the sign of w*e if its size is above the dead zone."""
    m.submodules.dut = dut = Synapse(LayerConfig(1, 1, 1, weight_bits=bits), last=last)
    free(m, dut)
    limit = (1 << (bits - 1)) - 1
    assume(m, dut.weight >= -limit)
    assume(m, given(dut.negative, dut.concerned))
    step = 1
    if last:
        step = dut.step
        assume(m, (step >= STEP_RANGE[0]) & (step <= STEP_RANGE[-1]))
    else:
        # The adder of the neuron adds what it is told, or else 0.
        total = dut.weight + Mux(dut.learn, dut.change, 0)
        assume(m, dut.moved == total[:bits].as_signed())

    error = Signal(Shape(2, signed=True))
    moved = Signal(Shape(12, signed=True))
    m.d.comb += [
        error.eq(Mux(dut.concerned, Mux(dut.negative, -1, 1), 0)),
        moved.eq(dut.weight + Mux(dut.learn, step * error, 0)),
    ]
    clipped = Mux(moved > limit, limit, Mux(moved < -limit, -limit, moved))
    begun = past(m, 1)
    claim(m, given(begun, dut.next == past(m, clipped)), "the weight is moved and clipped")
    kept = (dut.next >= -limit) & (dut.next <= limit)
    claim(m, given(begun, kept), "the weight keeps within its limits")

    size = Mux(dut.weight < 0, -dut.weight, dut.weight)
    sign = Mux(dut.weight < 0, -1, 1)
    votes = (dut.weight != 0) & (size > dut.dead_zone)
    claim(m, dut.vote == Mux(votes, sign * error, 0), "the vote is the sign of weight times error")
    reached(m, begun & past(m, moved < -limit), "a weight is at its lower limit")
    reached(m, votes & (error != 0) & (dut.dead_zone == limit - 1), "a weight just beyond votes")
