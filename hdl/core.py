"""The inference core: spikes in, decisions out."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .memory_window import MemoryPort
from .token import event_layout, index_shape, result_layout

__all__ = ["Core"]


class Core(wiring.Component):
    """Classifies samples of input spikes, one after the other.

    Parameters
    ----------
    config : Config
    trace : bool
        Whether to build the trace ports.

    Members
    -------
    i : In(stream.Signature(event_layout(config)))
        Samples: spikes with ascending steps, closed by an event with ``end`` set.
    o : Out(stream.Signature(result_layout(config)))
        One result a sample. The next sample starts after the result was taken.
    idle : Out(1)
        No sample is in the core: ``memory``, ``thresholds``, ``steps`` and ``classes`` may be used.
    thresholds : In(unsigned(v)).array(layers)
        θ of each layer, ``v`` the widest membrane.
    steps : In(range(max_steps + 1))
        T, at least 1.
    classes : In(range(outputs + 1))
        Outputs that take part in the decision, from index 0; at least 1.
    memory : In(MemoryPort(config))
        Loads memories and reads them back while ``idle``.
    """

    def __init__(self, config: Config, *, trace: bool = False) -> None:
        self.config = config
        self.trace = trace
        widest = max(layer.membrane_bits for layer in config.layers)
        super().__init__(
            {
                "i": In(stream.Signature(event_layout(config))),
                "o": Out(stream.Signature(result_layout(config))),
                "idle": Out(1),
                "thresholds": In(unsigned(widest)).array(len(config.layers)),
                "steps": In(index_shape(config.max_steps + 1)),
                "classes": In(index_shape(config.outputs + 1)),
                "memory": In(MemoryPort(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        return Module()
