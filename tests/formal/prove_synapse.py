"""What a weight becomes when it learns, and its vote, against ``docs/learning.md``."""

from amaranth.hdl import Module, Mux, Shape, Signal
from firstspike.firmware.config import LayerConfig
from firstspike.firmware.learning import STEP_RANGE
from firstspike.hdl.synapse import Synapse
from prove import Method, prove
from watch import assume, claim, free, reached


@prove(
    Method.EQUIVALENCE,
    1,
    sizes={
        f"{bits} bits, {where}": {"bits": bits, "last": where == "last"}
        for bits in (2, 3, 4, 8)
        for where in ("hidden", "last")
    },
)
def update(m: Module, bits: int, last: bool) -> None:
    """A concerned weight becomes clip(w + c*e) and no weight leaves -(2^(b-1) - 1) … 2^(b-1) - 1;
    it votes with the sign of w*e if its size is above the dead zone."""
    m.submodules.dut = dut = Synapse(LayerConfig(1, 1, 1, weight_bits=bits), last=last)
    free(m, dut)
    limit = (1 << (bits - 1)) - 1
    assume(m, dut.weight >= -limit)
    step = 1
    if last:
        step = dut.step
        assume(m, (step >= STEP_RANGE[0]) & (step <= STEP_RANGE[-1]))

    error = Signal(Shape(2, signed=True))
    moved = Signal(Shape(12, signed=True))
    m.d.comb += [
        error.eq(Mux(dut.concerned, Mux(dut.negative, -1, 1), 0)),
        moved.eq(dut.weight + step * error),
    ]
    clipped = Mux(moved > limit, limit, Mux(moved < -limit, -limit, moved))
    claim(m, dut.next == clipped, "the weight is moved and clipped")
    claim(m, (dut.next >= -limit) & (dut.next <= limit), "the weight keeps within its limits")

    size = Mux(dut.weight < 0, -dut.weight, dut.weight)
    sign = Mux(dut.weight < 0, -1, 1)
    votes = (dut.weight != 0) & (size > dut.dead_zone)
    claim(m, dut.vote == Mux(votes, sign * error, 0), "the vote is the sign of weight times error")
    reached(m, moved < -limit, "a weight is at its lower limit")
    reached(m, votes & (error != 0) & (dut.dead_zone == limit - 1), "a weight just beyond votes")
