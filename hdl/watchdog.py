"""Watches over the core, so that every sample gets an answer."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..firmware.config import DROPOUT_DRAWS, Config
from .token import event_layout, result_layout

__all__ = ["Watchdog", "longest_sample", "stall_limit"]

#: More than a spike takes between two layers, besides its row.
_SPIKE_CYCLES = 2
#: More than a step takes from a layer to the next, besides its groups and their latency.
_STEP_CYCLES = 16
#: More than a layer takes to learn, besides its rows; and to begin with.
_LAYER_CYCLES = 64


def longest_sample(config: Config) -> int:
    """Cycles that no sample takes, whatever the weights, from its first event to its result.

    As if nothing overlapped: all inputs spike, every neuron does, no output does before the last
    step, and each token and each step goes through all layers before the next begins. A sample to
    learn from also draws for each hidden neuron, group by group, and fetches all those rows a
    second time.
    """
    layers = config.layers
    arriving = [config.inputs, *(layer.neurons for layer in layers[:-1])]
    spikes = sum(
        count * (layer.groups + _SPIKE_CYCLES)
        for count, layer in zip(arriving, layers, strict=True)
    )
    step = sum(
        layer.groups + layer.fetch_cycles + layer.gather_cycles + _STEP_CYCLES for layer in layers
    )
    learning = 0
    if config.learning:
        draws = sum(layer.groups * -(-layer.lanes // DROPOUT_DRAWS) for layer in layers[:-1])
        learning = spikes + draws + sum(layer.groups + _LAYER_CYCLES for layer in layers)
    return spikes + config.max_steps * step + _LAYER_CYCLES + learning


def stall_limit(config: Config) -> int:
    """Cycles after which the core counts as stalled: at least twice :func:`longest_sample`."""
    return 1 << ceil_log2(2 * longest_sample(config))


class Watchdog(wiring.Component):
    """Lets samples into the core and results out of it, and resets a core that gives none.

    A sample's result goes out once all its events have come in. If it does not come within
    :func:`stall_limit` cycles, the core is held in reset, the rest of the sample's events are
    dropped, and in place of a result ``stalled`` is told. A core that is not ``idle`` for so long
    without owing a result is reset as well.

    Parameters
    ----------
    config : Config
    limit : int, optional
        In place of :func:`stall_limit`; a power of two.

    Members
    -------
    i_events : In(stream), o_events : Out(stream)
        Samples, on their way to the core. One at a time: the next is offered only after the result
        of the one before was taken.
    i_results : In(stream), o_results : Out(stream)
        Results, on their way from the core.
    idle : In(1)
        The core is idle.
    stalled : Out(1)
        With a result that is offered: there is none, its payload means nothing.
    restart : Out(1)
        Reset the core.
    barked : Out(1)
        For a cycle, each time.

    Latency: none.
    """

    def __init__(self, config: Config, limit: int | None = None) -> None:
        self._limit = stall_limit(config) if limit is None else limit
        events = stream.Signature(event_layout(config))
        results = stream.Signature(result_layout(config))
        super().__init__(
            {
                "i_events": In(events),
                "o_events": Out(events),
                "i_results": In(results),
                "o_results": Out(results),
                "idle": In(1),
                "stalled": Out(1),
                "restart": Out(1),
                "barked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        count = Signal(range(self._limit + 1))
        late = count[-1]
        # Some of a sample's events have come in; all of them, and its result has not gone out.
        begun = Signal()
        owed = Signal()
        taken = Signal()
        m.d.comb += [
            self.o_events.payload.eq(self.i_events.payload),
            self.o_events.valid.eq(self.i_events.valid & ~late),
            self.i_events.ready.eq(self.o_events.ready | late),
            self.o_results.payload.eq(self.i_results.payload),
            self.o_results.valid.eq(owed & (self.i_results.valid | late)),
            self.i_results.ready.eq(self.o_results.ready & owed),
            self.stalled.eq(late),
            self.restart.eq(late),
            taken.eq(self.o_results.valid & self.o_results.ready),
        ]
        with m.If(self.i_events.valid & self.i_events.ready):
            m.d.sync += [begun.eq(~self.i_events.p.end), owed.eq(self.i_events.p.end)]
        with m.If(taken):
            m.d.sync += owed.eq(0)

        over = Signal()
        m.d.comb += [
            over.eq(taken | (~self.i_events.valid & ~begun & ~owed & (self.idle | late))),
            self.barked.eq(late & over),
        ]
        with m.If(over):
            m.d.sync += count.eq(0)
        with m.Elif(~late & ~self.o_results.valid):
            m.d.sync += count.eq(count + 1)

        return m
