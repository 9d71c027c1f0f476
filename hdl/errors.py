"""Which neurons should have fired earlier, and which later or not at all."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .token import index_shape

__all__ = ["ErrorKind", "ErrorMemory", "ErrorSignature", "error_layout"]


class ErrorKind(enum.Enum, shape=2):  # type: ignore[call-arg]
    """Error of a neuron: the low bit tells whether there is one, and the high bit its sign, or of a
    neuron without an error that it is not known to have fired."""

    FIRED = 0b00  #: none, of a neuron that is known to have fired
    EARLIER = 0b01  #: it should fire earlier, or at all
    NONE = 0b10
    LATER = 0b11


def error_layout(config: Config, layer: int) -> data.StructLayout:
    """What learning has to know of a neuron.

    ``kind``
        :class:`ErrorKind`.
    ``when``
        The step in which it fired, or all ones; no input comes later than that. Sum neurons need
        none, since all their inputs come in step 0.
    """
    fields: dict[str, ShapeLike] = {"kind": ErrorKind}
    if config.layers[layer].neuron == "current":
        fields["when"] = index_shape(config.max_steps)
    return data.StructLayout(fields)


class ErrorSignature(wiring.Signature):
    """Errors of some lanes of one group, as the side that finds them sees it.

    Parameters
    ----------
    config : Config
    layer : int
        Whose neurons they are.

    Members
    -------
    enable : Out(lanes)
        Lanes that get an error in this cycle.
    group : Out
    errors : Out(error_layout(config, layer)).array(lanes)
    """

    def __init__(self, config: Config, layer: int) -> None:
        built = config.layers[layer]
        super().__init__(
            {
                "enable": Out(built.lanes),
                "group": Out(index_shape(built.groups)),
                "errors": Out(error_layout(config, layer)).array(built.lanes),
            }
        )


class ErrorMemory(wiring.Component):
    """Holds the errors of one layer.

    Parameters
    ----------
    config : Config
    layer : int

    Members
    -------
    i : In(ErrorSignature(config, layer))
    group : In
        The group to read.
    o : Out(error_layout(config, layer)).array(lanes)
        Its errors, a cycle later.
    """

    def __init__(self, config: Config, layer: int) -> None:
        self.layout = error_layout(config, layer)
        self.layer = config.layers[layer]
        super().__init__(
            {
                "i": In(ErrorSignature(config, layer)),
                "group": In(index_shape(self.layer.groups)),
                "o": Out(self.layout).array(self.layer.lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes, groups = self.layer.lanes, self.layer.groups
        if groups == 1:
            for lane in range(lanes):
                error = Signal(self.layout, name=f"error_{lane}", reset_less=True)
                with m.If(self.i.enable[lane]):
                    m.d.sync += error.eq(self.i.errors[lane])
                m.d.comb += self.o[lane].eq(error)
            return m
        m.submodules.storage = storage = Memory(
            shape=data.ArrayLayout(self.layout, lanes), depth=groups, init=[]
        )
        write, read = storage.write_port(granularity=1), storage.read_port()
        m.d.comb += [
            write.en.eq(self.i.enable),
            write.addr.eq(self.i.group),
            read.addr.eq(self.group),
            *(write.data[lane].eq(self.i.errors[lane]) for lane in range(lanes)),
            *(self.o[lane].eq(read.data[lane]) for lane in range(lanes)),
        ]
        return m
