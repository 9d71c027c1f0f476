"""One layer of neurons: weight rows in, spikes a group at a time out."""

from collections.abc import Callable

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config, Region
from .memory_window import FETCH_CYCLES, MemoryWindow, WindowSignature
from .neuron import CurrentNeuron
from .token import GroupSignature, TokenKind, index_shape, tally_layout, token_layout
from .weight_memory import WeightMemory

__all__ = ["Layer"]


class Layer(wiring.Component):
    """Neurons in groups of ``lanes``; each token takes a cycle for each group.

    Parameters
    ----------
    config : Config
    index : int
        Which of its layers to build.
    memory : callable
        Makes the weight memory of a region, as :class:`WeightMemory` does.

    Members
    -------
    i : In(stream.Signature(token_layout(config, index)))
    o : Out(GroupSignature(config, index))
        The groups of each ``STEP``, ``latency`` cycles after they were issued.
    room : In(1)
        Whoever receives ``o`` can take ``latency + 1`` groups; without it only ``SPIKE`` tokens
        proceed.
    threshold : In(unsigned(membrane_bits))
        Stable from the cycle before the first token on.
    memory : In(WindowSignature)
        The weights; used while no token comes.

    Latency: ``latency`` cycles from a group's issue to ``o``.

    Throughput: a token every ``groups`` cycles.
    """

    def __init__(
        self, config: Config, index: int, *, memory: Callable[[Region], WeightMemory] = WeightMemory
    ) -> None:
        self.config = config
        self.index = index
        self.layer = config.layers[index]
        self.region = config.regions[index]
        self.weights = memory(self.region)
        if self.weights.latency > FETCH_CYCLES - 2:
            raise ValueError(
                f"a weight memory takes {self.weights.latency} cycles to read, but the memory port "
                f"waits for at most {FETCH_CYCLES - 2}; raise FETCH_CYCLES"
            )
        super().__init__(
            {
                "i": In(stream.Signature(token_layout(config, index))),
                "o": Out(GroupSignature(config, index)),
                "room": In(1),
                "threshold": In(unsigned(self.layer.membrane_bits)),
                "memory": In(WindowSignature(self.region)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the issue of a group to ``o``: the weights', ``update`` and ``fire``."""
        return self.weights.latency + 2

    def elaborate(self, platform) -> Module:
        m = Module()
        groups, lanes = self.layer.groups, self.layer.lanes
        token = self.i.payload
        pipe_layout = data.StructLayout(
            {
                "step": 1,
                "first": 1,
                "group": index_shape(groups),
                "closes": 1,
                "last": 1,
                "rows": tally_layout(self.config, self.index + 1),
            }
        )

        def stage(name: str, valid: Signal, pipe: data.View) -> tuple[Signal, data.View]:
            """Registers behind a pipeline stage."""
            next_valid = Signal(name=f"{name}_valid")
            next_pipe = Signal(pipe_layout, name=name, reset_less=True)
            m.d.sync += [next_valid.eq(valid), next_pipe.eq(pipe)]
            return next_valid, next_pipe

        # issue
        issue = Signal(pipe_layout)
        issue_valid = Signal()
        issue_first = Signal(init=1)
        issue_group = Signal(issue.group.shape())
        issue_offset = Signal(index_shape(self.region.words))
        issue_rows = Signal(tally_layout(self.config, 1).elem_shape)
        may_issue = Signal()
        m.d.comb += [
            issue.step.eq(token.kind == TokenKind.STEP),
            issue.first.eq(issue_first),
            issue.group.eq(issue_group),
            issue.closes.eq(issue_group == groups - 1),
            issue.last.eq(token.last),
            issue.rows.eq(Cat(token.rows, issue_rows)),
            may_issue.eq(~issue.step | self.room),
            issue_valid.eq(self.i.valid & may_issue),
            self.i.ready.eq(issue.closes & may_issue),
        ]
        with m.If(issue_valid):
            m.d.sync += [
                issue_group.eq(issue_group + 1),
                issue_offset.eq(issue_offset + self.layer.rows),
            ]
            with m.If(issue.closes):
                m.d.sync += [issue_group.eq(0), issue_offset.eq(0), issue_first.eq(0)]
                with m.If(~issue.step):
                    m.d.sync += issue_rows.eq(issue_rows + 1)

        # fetch
        m.submodules.weights = weights = self.weights
        m.submodules.window = window = MemoryWindow(self.region)
        wiring.connect(m, wiring.flipped(self.memory), window.port)
        fetch_address = Signal(index_shape(self.region.words), reset_less=True)
        fetch_store = Signal()
        m.d.sync += fetch_store.eq(self.memory.store)
        with m.If(self.i.valid):
            m.d.sync += fetch_address.eq(token.index + issue_offset)
        with m.Else():
            m.d.sync += fetch_address.eq(self.memory.word)
        m.d.comb += [
            weights.address.eq(fetch_address),
            weights.store.eq(fetch_store),
            weights.word.eq(window.word),
            window.data.eq(weights.data),
        ]
        fetch_valid, fetch = issue_valid, issue
        for cycle in range(weights.latency):
            fetch_valid, fetch = stage(f"fetch_{cycle}", fetch_valid, fetch)

        # update
        update_valid, update = stage("update", fetch_valid, fetch)
        state_layout = CurrentNeuron.state_layout(self.layer)
        initial = Signal(state_layout, reset_less=True)
        for field, value in CurrentNeuron.initial(self.threshold).items():
            m.d.sync += initial[field].eq(value)
        neurons = [CurrentNeuron(self.layer) for _ in range(lanes)]
        if groups == 1:
            held = [
                Signal(state_layout, name=f"state_{lane}", reset_less=True) for lane in range(lanes)
            ]
            with m.If(update_valid):
                m.d.sync += [held[lane].eq(neuron.next) for lane, neuron in enumerate(neurons)]
        else:
            # Its groups return no sooner than the next cycle but one: what is read here was written
            # in the cycle before or earlier.
            m.submodules.states = states = Memory(
                shape=data.ArrayLayout(state_layout, lanes), depth=groups, init=[]
            )
            read, write = states.read_port(), states.write_port()
            held = read.data
            m.d.comb += [
                read.addr.eq(fetch.group),
                write.addr.eq(update.group),
                write.en.eq(update_valid),
                *(write.data[lane].eq(neuron.next) for lane, neuron in enumerate(neurons)),
            ]
        for lane, neuron in enumerate(neurons):
            m.submodules[f"neuron_{lane}"] = neuron
            m.d.comb += [
                neuron.step.eq(update.step),
                neuron.weight.eq(weights.data[lane]),
                neuron.state.eq(Mux(update.first, initial.as_value(), held[lane].as_value())),
            ]

        # fire
        fire_valid, fire = stage("fire", update_valid & update.step, update)
        fire_spikes = Signal(lanes, reset_less=True)
        m.d.sync += fire_spikes.eq(Cat(neuron.spike for neuron in neurons))
        for lane, neuron in enumerate(neurons):
            fire_membrane = Signal.like(
                self.o.membranes[lane], name=f"fire_membrane_{lane}", reset_less=True
            )
            m.d.sync += fire_membrane.eq(neuron.next.membrane)
            m.d.comb += self.o.membranes[lane].eq(fire_membrane)
        m.d.comb += [
            self.o.valid.eq(fire_valid),
            self.o.spikes.eq(fire_spikes),
            self.o.closes.eq(fire.closes),
            self.o.last.eq(fire.last),
            self.o.rows.eq(fire.rows),
        ]
        return m
