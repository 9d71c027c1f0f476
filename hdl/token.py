"""What travels between the parts of the core: events, tokens, groups, results."""

from amaranth.hdl import Shape, ShapeLike, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import Out

from ..firmware.config import Config

__all__ = [
    "CYCLE_BITS",
    "GroupSignature",
    "TokenKind",
    "event_layout",
    "index_shape",
    "result_layout",
    "spike_layout",
    "tally_layout",
    "token_layout",
]

#: Width of the cycle count in a result, as on the link.
CYCLE_BITS = 32


class TokenKind(enum.Enum, shape=1):  # type: ignore[call-arg]
    """What a token asks of a layer."""

    SPIKE = 0  #: add a weight row
    STEP = 1  #: all spikes of the time step have come: integrate, fire, decay


def index_shape(count: int) -> Shape:
    """Shape of a number ``0 … count − 1``; at least one bit, since some tools dislike none."""
    return Shape.cast(range(max(count, 2)))


def tally_layout(config: Config, layers: int) -> data.ArrayLayout:
    """Weight rows fetched by each of the first ``layers`` layers."""
    most = max(layer.rows for layer in config.layers)
    return data.ArrayLayout(index_shape(most + 1), layers)


def spike_layout(config: Config) -> data.StructLayout:
    """One input spike, or the end of a sample.

    ``end``
        The sample is complete; the other fields mean nothing.
    ``step``, ``index``
        When and which input spikes. Steps of a sample ascend, indices come in any order.
    """
    return data.StructLayout(
        {"end": 1, "step": index_shape(config.max_steps), "index": index_shape(config.inputs)}
    )


def event_layout(config: Config) -> data.StructLayout:
    """A :func:`spike_layout` on its way into the core; in a build that learns with two more fields,
    which count in a sample's first event.

    ``learn``
        Learn from the sample.
    ``label``
        The output that should fire first.
    """
    if not config.learning:
        return spike_layout(config)
    return data.StructLayout(
        {**spike_layout(config).members, "learn": 1, "label": index_shape(config.outputs)}
    )


def token_layout(config: Config, layer: int) -> data.StructLayout:
    """A token on its way into layer ``layer``.

    ``kind``
        :class:`TokenKind`.
    ``index``
        Weight row of a ``SPIKE``. If the layer has several ways: in each of them, an array.
    ``spikes``
        Only if it has several: the ways in which there is a spike.
    ``last``
        A ``STEP`` closes step T−1.
    ``rows``
        With a ``STEP``: rows that each layer before has fetched up to and including the step.

    In a build that learns there are three more fields.

    ``learn``
        With a ``SPIKE``: the row was fetched before; learn instead of adding it.
    ``arrival``
        With ``learn``: the step in which the input spiked.
    ``update``
        With ``learn``: change the weights.
    """
    built = config.layers[layer]
    index: ShapeLike = index_shape(-(-built.rows // built.ways))
    spikes: dict[str, ShapeLike] = {}
    if built.ways > 1:
        index = data.ArrayLayout(index, built.ways)
        spikes = {"spikes": built.ways}
    learning: dict[str, ShapeLike] = {}
    if config.learning:
        learning = {"learn": 1, "arrival": index_shape(config.max_steps), "update": 1}
    return data.StructLayout(
        {
            "kind": TokenKind,
            "index": index,
            **spikes,
            "last": 1,
            "rows": tally_layout(config, layer),
            **learning,
        }
    )


def result_layout(config: Config) -> data.StructLayout:
    """The decision on one sample, with the fields of
    :class:`~firstspike.firmware.protocol.Outcome`."""
    return data.StructLayout(
        {
            "label": index_shape(config.outputs),
            "step": index_shape(config.max_steps),
            "fired": 1,
            "cycles": CYCLE_BITS,
            "rows": tally_layout(config, len(config.layers)),
        }
    )


class GroupSignature(wiring.Signature):
    """One group of a layer's neurons after it has integrated a step; it comes when it comes.

    Parameters
    ----------
    config : Config
    layer : int

    Members
    -------
    valid : Out(1)
    spikes : Out(lanes)
        The neurons that spike in this step.
    membranes : Out(signed(membrane_bits)).array(lanes)
        U of each lane; a neuron that has fired keeps what it fired with.
    closes : Out(1)
        The last group of the step.
    last : Out(1)
        The step is T−1.
    rows : Out(tally_layout)
        Rows fetched by each layer up to and including this one, up to and including this step.
    """

    def __init__(self, config: Config, layer: int) -> None:
        built = config.layers[layer]
        super().__init__(
            {
                "valid": Out(1),
                "spikes": Out(unsigned(built.lanes)),
                "membranes": Out(Shape(built.membrane_bits, signed=True)).array(built.lanes),
                "closes": Out(1),
                "last": Out(1),
                "rows": Out(tally_layout(config, layer + 1)),
            }
        )
