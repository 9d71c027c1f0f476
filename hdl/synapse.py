"""What one lane does to a weight when it learns."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
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
        votes = Signal()
        m.d.comb += [
            votes.eq(
                self.concerned & ((self.weight > self.dead_zone) | (self.weight < -self.dead_zone))
            ),
            self.vote.eq(Cat(votes, votes & (self.weight[-1] ^ self.negative))),
        ]
        if self.last:
            width = max(bits, STEP_SHAPE.width + 1) + 1
            moved = Signal(Shape(width, signed=True))
            m.d.comb += [
                moved.eq(self.weight + Mux(self.negative, -self.step, self.step)),
                self.next.eq(self.weight),
            ]
            with m.If(self.concerned):
                m.d.comb += self.next.eq(moved)
                with m.If(moved > limit):
                    m.d.comb += self.next.eq(limit)
                with m.Elif(moved < -limit):
                    m.d.comb += self.next.eq(-limit)
        else:
            # One step from the limit only the way back is open.
            moves = Signal()
            m.d.comb += [
                moves.eq(
                    self.concerned & Mux(self.negative, self.weight > -limit, self.weight != limit)
                ),
                self.next.eq(
                    self.weight
                    + Cat(moves, (moves & self.negative).replicate(bits - 1)).as_signed()
                ),
            ]
        return m
