"""What one lane does to a weight when it learns."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..firmware.config import LayerConfig
from ..firmware.learning import DEAD_ZONE_RANGE, STEP_RANGE

__all__ = ["DEAD_ZONE_SHAPE", "STEP_SHAPE", "Synapse"]

#: Of what an update may add to a weight of the last layer.
STEP_SHAPE = Shape(bits_for(STEP_RANGE[-1]))

#: Of the largest weight without a vote.
DEAD_ZONE_SHAPE = Shape(bits_for(DEAD_ZONE_RANGE[-1]))


class Synapse(wiring.Component):
    """Moves a weight in the direction of its neuron's error, and tells the error of its input.

    Parameters
    ----------
    layer : LayerConfig
    last : bool
        A weight of the last layer moves by ``step``, others by 1.

    Members
    -------
    weight : In(signed(weight_bits))
    learn : In(1)
        Otherwise the weight stays as it is.
    concerned : In(1)
        The neuron has an error that the input may be to blame for.
    negative : In(1)
        Sign of the error; low unless ``concerned``.
    step : In(STEP_SHAPE)
        Only if ``last``.
    dead_zone : In(DEAD_ZONE_SHAPE)
        The largest weight, of either sign, without a vote.
    change : Out(signed(weight_bits))
        Unless ``last``: what to add to the weight.
    moved : In(signed(weight_bits))
        Unless ``last``: the lower bits of the sum. An adder of the neuron's is free to make it.
    next : Out(signed(weight_bits))
        The weight after the update, a cycle later.
    vote : Out(signed(2))
        Sign of weight times error, or 0 if not ``concerned`` or without a vote.

    Throughput: a weight a cycle.
    """

    def __init__(self, layer: LayerConfig, *, last: bool) -> None:
        self.layer = layer
        self.last = last
        weight = Shape(layer.weight_bits, signed=True)
        members = {
            "weight": In(weight),
            "learn": In(1),
            "concerned": In(1),
            "negative": In(1),
            "dead_zone": In(DEAD_ZONE_SHAPE),
            "next": Out(weight),
            "vote": Out(signed(2)),
        }
        if last:
            members["step"] = In(STEP_SHAPE)
        else:
            members |= {"change": Out(weight), "moved": In(weight)}
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = self.layer.weight_bits
        limit = (1 << (bits - 1)) - 1
        weight, negative = self.weight, self.negative

        # With its sign flipped away, a negative weight is one less than its size. Done bit by bit,
        # the comparison takes a look-up table for each.
        votes = Signal()
        larger: Value = weight[-1]
        for bit, limit_bit in enumerate(self.dead_zone):
            size_bit = weight[bit] ^ weight[-1] if bit < bits - 1 else Const(0, 1)
            larger = Mux(size_bit ^ limit_bit, size_bit, larger)
        m.d.comb += [
            votes.eq(self.concerned & larger),
            self.vote.eq(Cat(votes, votes & (weight[-1] ^ negative))),
        ]

        learned = Signal()
        m.d.sync += learned.eq(self.learn)
        if self.last:
            # Two more bits than the wider of the two, so nothing overflows. The ones place that is
            # added below makes the carry of a subtraction.
            width = max(bits - 1, STEP_SHAPE.width) + 2
            moves, falls = Signal(), Signal()
            change = Signal(width)
            total = Signal(width + 1)
            extended = Signal(Shape(width, signed=True))
            moved = Signal(Shape(width, signed=True), reset_less=True)
            above, below = Signal(), Signal()
            m.d.comb += [
                moves.eq(self.learn & self.concerned),
                falls.eq(moves & negative),
                change.eq((self.step & moves.replicate(width)) ^ falls.replicate(width)),
                extended.eq(weight),
                total.eq(Cat(1, extended) + Cat(falls, change)),
                above.eq(learned & ~moved[-1] & moved[bits - 1 :].any()),
                below.eq(
                    learned & moved[-1] & ~(moved[bits - 1 :].all() & moved[: bits - 1].any())
                ),
                self.next.eq(Mux(above, limit, Mux(below, -limit, moved[:bits]))),
            ]
            m.d.sync += moved.eq(total[1:])
        else:
            # One step beyond either limit has the same pattern.
            moved = Signal(weight.shape(), reset_less=True)
            falls = Signal(reset_less=True)
            beyond = Signal()
            above = beyond & ~falls
            m.d.sync += [moved.eq(self.moved), falls.eq(negative)]
            m.d.comb += [
                self.change.eq(Cat(self.concerned, negative.replicate(bits - 1))),
                beyond.eq(learned & (moved == -limit - 1)),
                self.next.eq(Cat(moved[0] | beyond, moved[1:] ^ above.replicate(bits - 1))),
            ]
        return m
