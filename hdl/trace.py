"""What a layer does, group by group, for simulators that look inside."""

from amaranth.hdl import Cat, Module, Shape, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .token import GroupSignature, index_shape

__all__ = ["Trace", "TraceSignature"]


class TraceSignature(wiring.Signature):
    """A group of a layer in the cycle in which it fires.

    Layers run ahead of the decision: groups of steps after it are to be ignored.

    Parameters
    ----------
    config : Config
    layer : int

    Members
    -------
    valid : Out(1)
    step : Out(range(max_steps))
    group : Out(range(groups))
    spikes : Out(lanes)
        Lane ``i`` is neuron ``group * lanes + i``.
    membranes : Out(ArrayLayout(signed(membrane_bits), lanes))
        U of each lane; a neuron that has fired keeps what it fired with.
    """

    def __init__(self, config: Config, layer: int) -> None:
        built = config.layers[layer]
        membrane = Shape(built.membrane_bits, signed=True)
        super().__init__(
            {
                "valid": Out(1),
                "step": Out(index_shape(config.max_steps)),
                "group": Out(index_shape(built.groups)),
                "spikes": Out(unsigned(built.lanes)),
                "membranes": Out(data.ArrayLayout(membrane, built.lanes)),
            }
        )


class Trace(wiring.Component):
    """Counts the steps and groups of one layer.

    Parameters
    ----------
    config : Config
    layer : int

    Members
    -------
    i : In(GroupSignature(config, layer))
    o : Out(TraceSignature(config, layer))

    Latency: none.
    """

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__(
            {"i": In(GroupSignature(config, layer)), "o": Out(TraceSignature(config, layer))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        step = Signal.like(self.o.step)
        group = Signal.like(self.o.group)
        with m.If(self.i.valid):
            m.d.sync += group.eq(group + 1)
            with m.If(self.i.closes):
                m.d.sync += [step.eq(step + 1), group.eq(0)]
        m.d.comb += [
            self.o.valid.eq(self.i.valid),
            self.o.step.eq(step),
            self.o.group.eq(group),
            self.o.spikes.eq(self.i.spikes),
            self.o.membranes.eq(Cat(self.i.membranes)),
        ]
        return m
