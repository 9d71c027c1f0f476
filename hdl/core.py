"""The core: spikes in, decisions out, and weights that learn from them."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config, Region
from .decision import Decision
from .dropout import Dropout
from .layer import Layer
from .learner import RATE_SHAPE, Learner
from .memory_window import FETCH_CYCLES, MemoryPort
from .recorder import Recorder
from .scanner import Scanner
from .sequencer import Sequencer
from .synapse import DEAD_ZONE_SHAPE, STEP_SHAPE
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

    If it learns, the registers of the same names, stable from two cycles before a sample on:

    margin, dropout, activity, step, input_dropout, dead_zone : In
    rates : In(RATE_SHAPE).array(layers)
    random_update : In(32), random_update_next : Out(32), random_update_load : Out(1)
        State of the generator that chooses rows, and what it becomes in this cycle.
    random_dropout : In(64).array(layers - 1), random_dropout_next, random_dropout_load : Out
        Likewise, of the generators that leave out neurons.
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
        learning: dict[str, Any] = {}
        if config.learning:
            learning = {
                "margin": In(index_shape(config.max_steps)),
                "dropout": In(16),
                "activity": In(16),
                "step": In(STEP_SHAPE),
                "input_dropout": In(16),
                "dead_zone": In(DEAD_ZONE_SHAPE),
                "rates": In(RATE_SHAPE).array(len(config.layers)),
                "random_update": In(32),
                "random_update_next": Out(32),
                "random_update_load": Out(1),
            }
            if hidden := len(config.layers) - 1:
                learning |= {
                    "random_dropout": In(64).array(hidden),
                    "random_dropout_next": Out(64).array(hidden),
                    "random_dropout_load": Out(1).array(hidden),
                }
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
            | learning
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer(self.config)
        m.submodules.decision = decision = Decision(self.config)
        flush = decision.flush
        offered = decision.o.valid
        if self.config.learning:
            flush, offered = Signal(name="flush"), Signal(name="offered")
        flushed = ResetInserter(flush)

        wiring.connect(m, wiring.flipped(self.i), sequencer.i)
        layers = [
            Layer(self.config, index, memory=self.memories)
            for index in range(len(self.config.layers))
        ]
        tokens = sequencer.o
        recorders = []
        for index, layer in enumerate(layers):
            m.submodules[f"layer_{index}"] = flushed(layer)
            if self.config.learning:
                m.submodules[f"recorder_{index}"] = recorder = Recorder(self.config, index)
                recorders.append(recorder)
                wiring.connect(m, tokens, recorder.i)
                tokens = recorder.o
            wiring.connect(m, tokens, layer.i)
            m.d.comb += layer.threshold.eq(self.thresholds[index])
            if layer is not layers[-1]:
                scanner = Scanner(self.config, index, in_flight=layer.latency)
                m.submodules[f"scanner_{index}"] = flushed(scanner)
                wiring.connect(m, layer.o, scanner.i)
                room: Value = scanner.room
                if self.config.learning:
                    room &= ~self._leave_out(m, index, layer, sequencer)
                m.d.comb += layer.room.eq(room)
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
        with m.Elif(~offered):
            m.d.sync += cycles.eq(cycles + 1)
        m.d.comb += [
            sequencer.steps.eq(self.steps),
            sequencer.flush.eq(flush),
            sequencer.taken.eq(self.o.valid & self.o.ready),
            decision.classes.eq(self.classes),
            self.idle.eq(sequencer.idle),
            self.o.valid.eq(offered),
            self.o.payload.eq(decision.o.payload),
            self.o.payload.cycles.eq(cycles),
            *([] if self.config.learning else [decision.o.ready.eq(self.o.ready)]),
        ]
        if self.config.learning:
            ends = self._learn(m, sequencer, layers, recorders, decision)
            m.d.comb += [flush.eq(ends[0]), offered.eq(ends[1])]

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

    def _learn(
        self,
        m: Module,
        sequencer: Sequencer,
        layers: list[Layer],
        recorders: list[Recorder],
        decision: Decision,
    ) -> tuple[Value, Value]:
        """Build what ends a sample to learn from and has the layers updated.

        Returns
        -------
        flush, offered : Value
            Whatever is in the core belongs to later steps; the result is there.
        """
        m.submodules.learner = learner = Learner(
            self.config,
            settle=decision.latency,
            drain=max(layer.learning_latency for layer in layers) + 1,
        )
        learn = sequencer.learn
        flush = Mux(learn, learner.flush, decision.flush)
        offered = decision.o.valid & (~learn | learner.done)
        m.d.comb += [
            learner.start.eq(sequencer.start),
            learner.learn.eq(learn),
            learner.label.eq(sequencer.label),
            learner.classes.eq(self.classes),
            learner.margin.eq(self.margin),
            learner.replayed.eq(Cat(recorder.done for recorder in recorders)),
            learner.draw.eq(sequencer.draw | Cat(recorder.draw for recorder in recorders).any()),
            learner.input_dropout.eq(self.input_dropout),
            learner.ended.eq(sequencer.ended),
            sequencer.left_out.eq(learner.update),
            learner.idle.eq(sequencer.idle & ~sequencer.start),
            learner.random.eq(self.random_update),
            self.random_update_next.eq(learner.random_next),
            self.random_update_load.eq(learner.random_load),
            *(port.eq(rate) for port, rate in zip(learner.rates, self.rates, strict=True)),
            decision.learn.eq(learn),
            decision.clear.eq(flush),
            decision.o.ready.eq(self.o.ready & offered),
            layers[-1].step.eq(self.step),
        ]
        m.d.sync += sequencer.leaves_out.eq(self.input_dropout != 0)
        wiring.connect(m, learner.errors, layers[-1].errors)
        wiring.connect(m, layers[-1].o, learner.i)
        for number, recorder in enumerate(recorders):
            m.d.comb += [
                recorder.start.eq(sequencer.start),
                recorder.stop.eq(learner.stop),
                recorder.replay.eq(learner.replay[number]),
                recorder.update.eq(learner.update),
            ]

        for layer, after, recorder in zip(layers, layers[1:], recorders[1:], strict=False):
            wiring.connect(m, after.back, layer.errors)
            m.d.comb += after.dead_zone.eq(self.dead_zone)
            m.d.sync += layer.revive.eq(learner.missed & (recorder.count < self.activity))
        return flush, offered

    def _leave_out(self, m: Module, index: int, layer: Layer, sequencer: Sequencer) -> Value:
        """Build what leaves out neurons of a hidden layer; return whether it is busy with that."""
        m.submodules[f"dropout_{index}"] = dropout = Dropout(self.config, index)
        start = Signal(name=f"start_{index}")
        m.d.sync += start.eq(sequencer.start & self.i.p.learn)
        m.d.comb += [
            dropout.start.eq(start),
            dropout.probability.eq(self.dropout),
            dropout.random.eq(self.random_dropout[index]),
            self.random_dropout_next[index].eq(dropout.random_next),
            self.random_dropout_load[index].eq(dropout.random_load),
            dropout.group.eq(layer.mask_group),
            layer.mask.eq(Mux(sequencer.learn, dropout.mask, 0)),
        ]
        return dropout.busy
