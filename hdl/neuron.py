"""Neurons: what one lane does to a neuron's state, with nothing that feeds it or reads it.

Another neuron model is another component with these members, ``accumulator``, ``state_layout`` and
``initial``, and an entry in :data:`NEURONS`.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import LayerConfig
from ..firmware.formats import membrane_floor

__all__ = ["NEURONS", "CurrentNeuron", "SumNeuron", "weight_shape"]


def weight_shape(layer: LayerConfig) -> Shape:
    """What arrives at a neuron in one cycle: the weights of all ways."""
    return Shape(layer.weight_bits + (layer.ways - 1).bit_length(), signed=True)


class CurrentNeuron(wiring.Component):
    """A neuron without leak, with a decaying synaptic current and at most one spike.

    Its membrane is kept relative to the threshold, so a neuron that has yet to fire has ``U < 0``,
    and one that has fired keeps the ``U ≥ 0`` it fired with: the sign of U is all there is to know.

    Parameters
    ----------
    layer : LayerConfig

    Members
    -------
    step : In(1)
        Integrate, fire and decay; otherwise add ``weight`` to the current.
    weight : In(weight_shape(layer))
    state : In(state_layout(layer))
    next : Out(state_layout(layer))
        The state that follows.
    spike : Out(1)
        The neuron fires now.
    membrane : Out(signed(membrane_bits))
        U, after this.

    Latency: none, the component is combinational.
    """

    #: The field of the state that weights are added to.
    accumulator = "current"

    def __init__(self, layer: LayerConfig) -> None:
        self.layer = layer
        layout = self.state_layout(layer)
        super().__init__(
            {
                "step": In(1),
                "weight": In(weight_shape(layer)),
                "state": In(layout),
                "next": Out(layout),
                "spike": Out(1),
                "membrane": Out(Shape(layer.membrane_bits, signed=True)),
            }
        )

    @staticmethod
    def state_layout(layer: LayerConfig) -> data.StructLayout:
        """What is remembered of a neuron from token to token."""
        return data.StructLayout(
            {
                "current": Shape(layer.current_bits, signed=True),
                "membrane": Shape(layer.membrane_bits, signed=True),
            }
        )

    @staticmethod
    def initial(threshold: Value) -> dict[str, Value | int]:
        """Fields of the state before the first token of a sample."""
        return {"current": 0, "membrane": -threshold}

    def elaborate(self, platform) -> Module:
        m = Module()
        current, membrane = self.state.current, self.state.membrane
        bits = self.layer.membrane_bits

        # One adder for both, since I − (I >> k) = I + ~(I >> k) + 1. The ones place that is added
        # below makes the carry.
        addend = Signal(current.shape())
        total = Signal(self.layer.current_bits + 1)
        m.d.comb += [
            addend.eq(Mux(self.step, ~current.shift_right(self.layer.k), self.weight)),
            total.eq(Cat(1, current) + Cat(self.step, addend)),
            self.next.current.eq(total[1:]),
        ]

        potential = Signal(Shape(bits + 1, signed=True))
        m.d.comb += [
            potential.eq(membrane + current),
            self.next.membrane.eq(membrane),
            self.membrane.eq(self.next.membrane),
        ]
        with m.If(self.step & (membrane < 0)):
            m.d.comb += self.spike.eq(potential >= 0)
            with m.If(potential[-2:] == 0b10):  # below the floor: the upper two bits differ
                m.d.comb += self.next.membrane.eq(membrane_floor(bits))
            with m.Else():
                m.d.comb += self.next.membrane.eq(potential)
        return m


class SumNeuron(wiring.Component):
    """A :class:`CurrentNeuron` whose inputs have all spiked by the first ``step``.

    When it fires is known from the sum of their weights; see
    :mod:`firstspike.firmware.crossings`. It has no membrane and nothing decays, so it takes about a
    third of the logic.

    Parameters
    ----------
    layer : LayerConfig

    Members
    -------
    step : In(1)
        Compare the sum with ``crossing``; otherwise add ``weight`` to it.
    weight : In(weight_shape(layer))
    crossing : In(signed(current_bits))
        The least sum with which a neuron has fired by this step; positive.
    state : In(state_layout(layer))
    next : Out(state_layout(layer))
        The state that follows.
    spike : Out(1)
        The neuron fires now.

    Latency: none, the component is combinational.
    """

    accumulator = "sum"

    def __init__(self, layer: LayerConfig) -> None:
        layout = self.state_layout(layer)
        super().__init__(
            {
                "step": In(1),
                "weight": In(weight_shape(layer)),
                "crossing": In(Shape(layer.current_bits, signed=True)),
                "state": In(layout),
                "next": Out(layout),
                "spike": Out(1),
            }
        )

    @staticmethod
    def state_layout(layer: LayerConfig) -> data.StructLayout:
        """What is remembered of a neuron from token to token."""
        return data.StructLayout({"sum": Shape(layer.current_bits, signed=True)})

    @staticmethod
    def initial(threshold: Value) -> dict[str, Value | int]:
        """Fields of the state before the first token of a sample."""
        return {"sum": 0}

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += [
            self.spike.eq(self.step & (self.state.sum >= self.crossing)),
            self.next.eq(self.state),
        ]
        with m.If(~self.step):
            m.d.comb += self.next.sum.eq(self.state.sum + self.weight)
        with m.Elif(self.spike):
            # Crossings are positive: a neuron whose sum is negative never fires again.
            m.d.comb += self.next.sum[-1].eq(1)
        return m


#: The neuron models by their names in the configuration.
NEURONS: dict[str, Any] = {"current": CurrentNeuron, "sum": SumNeuron}
