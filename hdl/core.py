"""The inference core: spikes in, decisions out."""

from collections.abc import Callable

from amaranth.hdl import Module, ResetInserter, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config, Region
from .decision import Decision
from .layer import Layer
from .memory_window import FETCH_CYCLES, MemoryPort
from .scanner import Scanner
from .sequencer import Sequencer
from .token import CYCLE_BITS, event_layout, index_shape, result_layout
from .trace import Trace, TraceSignature
from .weight_memory import WeightMemory

__all__ = ["Core"]


class Core(wiring.Component):
    """Classifies samples of input spikes, one after the other.

    Parameters
    ----------
    config : Config
    memories : callable, optional
        Makes the weight memory of a region, in place of :class:`WeightMemory`.
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
    trace_0, trace_1, … : Out(TraceSignature(config, layer))
        Only with ``trace``.
    """

    def __init__(
        self,
        config: Config,
        *,
        memories: Callable[[Region], WeightMemory] | None = None,
        trace: bool = False,
    ) -> None:
        self.config = config
        self.memories = memories
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
            | {
                f"trace_{layer}": Out(TraceSignature(config, layer))
                for layer in range(len(config.layers) if trace else 0)
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer(self.config)
        m.submodules.decision = decision = Decision(self.config)
        flushed = ResetInserter(decision.flush)

        wiring.connect(m, wiring.flipped(self.i), sequencer.i)
        layers = [
            Layer(self.config, index, memory=self.memories)
            for index in range(len(self.config.layers))
        ]
        tokens = sequencer.o
        for index, layer in enumerate(layers):
            m.submodules[f"layer_{index}"] = flushed(layer)
            wiring.connect(m, tokens, layer.i)
            m.d.comb += layer.threshold.eq(self.thresholds[index])
            if layer is not layers[-1]:
                scanner = Scanner(self.config, index, in_flight=layer.latency)
                m.submodules[f"scanner_{index}"] = flushed(scanner)
                wiring.connect(m, layer.o, scanner.i)
                m.d.comb += layer.room.eq(scanner.room)
                tokens = scanner.o
            else:
                wiring.connect(m, layer.o, decision.i)
                m.d.comb += layer.room.eq(1)
            if self.trace:
                trace = Trace(self.config, index)
                m.submodules[f"trace_{index}"] = flushed(trace)
                wiring.connect(m, layer.o, trace.i)
                wiring.connect(m, trace.o, wiring.flipped(getattr(self, f"trace_{index}")))
        windows = [*(layer.memory for layer in layers), sequencer.memory]
        if self.config.layers[0].neuron == "sum":
            windows.append(layers[0].crossings)

        cycles = Signal(CYCLE_BITS)
        with m.If(sequencer.start):
            m.d.sync += cycles.eq(1)
        with m.Elif(~decision.o.valid):
            m.d.sync += cycles.eq(cycles + 1)
        m.d.comb += [
            sequencer.steps.eq(self.steps),
            sequencer.flush.eq(decision.flush),
            sequencer.taken.eq(self.o.valid & self.o.ready),
            decision.classes.eq(self.classes),
            self.idle.eq(sequencer.idle),
            self.o.valid.eq(decision.o.valid),
            self.o.payload.eq(decision.o.payload),
            self.o.payload.cycles.eq(cycles),
            decision.o.ready.eq(self.o.ready),
        ]

        # From here it may be far to the memories. What is fetched has settled after all but the
        # last of the cycles it may take.
        port = {
            name: Signal.like(getattr(self.memory, name), name=f"port_{name}")
            for name in ("region", "word", "byte", "shift", "store", "fetch")
        }
        m.d.sync += [register.eq(getattr(self.memory, name)) for name, register in port.items()]
        capture = port["fetch"]
        for cycle in range(FETCH_CYCLES - 2):
            previous, capture = capture, Signal(name=f"capture_{cycle}")
            m.d.sync += capture.eq(previous)
        with m.Switch(port["region"]):
            for number, window in enumerate(windows):
                with m.Case(number):
                    m.d.comb += [
                        window.shift.eq(port["shift"]),
                        window.store.eq(port["store"]),
                        window.capture.eq(capture),
                        self.memory.byte_out.eq(window.byte_out),
                    ]
        m.d.comb += [
            connection
            for window in windows
            for connection in (window.word.eq(port["word"]), window.byte.eq(port["byte"]))
        ]
        return m
