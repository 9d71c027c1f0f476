"""What one lane does to a weight when it learns."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, signed
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
    concerned : In(1)
        The neuron has an error that the input may be to blame for.
    negative : In(1)
        Sign of the error.
    step : In(STEP_SHAPE)
        Only if ``last``.
    dead_zone : In(DEAD_ZONE_SHAPE)
        The largest weight, of either sign, without a vote.
    next : Out(signed(weight_bits))
        The weight after the update.
    vote : Out(signed(2))
        Sign of weight times error, or 0 if not ``concerned`` or without a vote.

    Latency: none, the component is combinational.
    """

    def __init__(self, layer: LayerConfig, *, last: bool) -> None:
        self.layer = layer
        self.last = last
        weight = Shape(layer.weight_bits, signed=True)
        members = {
            "weight": In(weight),
            "concerned": In(1),
            "negative": In(1),
            "dead_zone": In(DEAD_ZONE_SHAPE),
            "next": Out(weight),
            "vote": Out(signed(2)),
        }
        if last:
            members["step"] = In(STEP_SHAPE)
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = self.layer.weight_bits
        limit = (1 << (bits - 1)) - 1
        weight, negative = self.weight, self.negative

        # With its sign flipped away, a negative weight is one less than its size.
        votes = Signal()
        size = Cat(weight[-1], weight[:-1] ^ weight[-1].replicate(bits - 1))
        m.d.comb += [
            votes.eq(self.concerned & (size > Cat(Const(0, 1), self.dead_zone))),
            self.vote.eq(Cat(votes, votes & (weight[-1] ^ negative))),
        ]

        if self.last:
            # Two more bits than the wider of the two, so nothing overflows. The ones place that is
            # added below makes the carry of a subtraction.
            width = max(bits - 1, STEP_SHAPE.width) + 2
            change = Signal(width)
            total = Signal(width + 1)
            moved = Signal(Shape(width, signed=True))
            extended = Signal(Shape(width, signed=True))
            above, below = Signal(), Signal()
            m.d.comb += [
                change.eq(self.step ^ negative.replicate(width)),
                extended.eq(weight),
                total.eq(Cat(1, extended) + Cat(negative, change)),
                moved.eq(total[1:]),
                above.eq(~moved[-1] & moved[bits - 1 :].any()),
                below.eq(moved[-1] & ~(moved[bits - 1 :].all() & moved[: bits - 1].any())),
                self.next.eq(weight),
            ]
            with m.If(self.concerned):
                m.d.comb += self.next.eq(Mux(above, limit, Mux(below, -limit, moved[:bits])))
        else:
            # At the limit, in its own direction, a weight stays where it is.
            stuck = Signal()
            moves = Signal()
            m.d.comb += [
                stuck.eq(
                    (weight[-1] == negative)
                    & ((weight[1:-1] ^ negative.replicate(bits - 2)).all())
                    & weight[0]
                ),
                moves.eq(self.concerned & ~stuck),
                self.next.eq(weight + Cat(moves, (moves & negative).replicate(bits - 1))),
            ]
        return m
