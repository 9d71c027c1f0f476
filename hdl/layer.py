"""One layer of neurons: weight rows in, spikes a group at a time out."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Shape, ShapeLike, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config, Region
from .errors import ErrorKind, ErrorMemory, ErrorSignature
from .memory_window import FETCH_CYCLES, MemoryWindow, WindowSignature, word_layout
from .neuron import NEURONS, weight_shape
from .popcount import Popcount
from .synapse import DEAD_ZONE_SHAPE, STEP_SHAPE, Synapse
from .token import GroupSignature, TokenKind, index_shape, tally_layout, token_layout
from .weight_memory import WeightMemory

__all__ = ["Layer"]

#: Of a layer that learns, where the memory port reads through the adder and a register behind it.
_MOST_FETCH_CYCLES = FETCH_CYCLES - 4


class Layer(wiring.Component):
    """Neurons in groups of ``lanes``; each token takes a cycle for each group.

    Parameters
    ----------
    config : Config
    index : int
        Which of its layers to build.
    memory : callable, optional
        Makes the weight memory of a region: a component with the members of :class:`WeightMemory`
        and the layer's ``fetch_cycles`` as its ``latency``.

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
    crossings : In(WindowSignature)
        Only with sum neurons: the crossing of each step. Used likewise.

    If it learns there are more, stable while a sample is in the core unless they are told apart:

    errors : In(ErrorSignature(config, index))
        Errors of the neurons, as they are found.
    back : Out(ErrorSignature(config, index - 1))
        All but layer 0: errors of the neurons before.
    dead_zone : In(DEAD_ZONE_SHAPE)
        All but layer 0: the largest weight that does not count in them.
    step : In(STEP_SHAPE)
        The last layer: what an update adds to a weight.
    revive : In(1)
        Hidden layers: neurons that have not fired should. Stable while tokens have ``learn`` set.
    mask_group : Out, mask : In(lanes)
        Hidden layers: neurons that may not spike, of the group that was asked for a cycle ago.

    Latency: ``latency`` cycles from a group's issue to ``o``.

    Throughput: a token every ``groups`` cycles.
    """

    def __init__(
        self,
        config: Config,
        index: int,
        *,
        memory: Callable[[Region], WeightMemory] | None = None,
    ) -> None:
        self.config = config
        self.index = index
        self.layer = config.layers[index]
        self.region = config.regions[index]
        if memory is None:
            memory = partial(WeightMemory, latency=self.layer.fetch_cycles)
        part = replace(self.region, words=-(-self.region.words // self.layer.ways))
        self.weights = [memory(part) for _ in range(self.layer.ways)]
        members = {
            "i": In(stream.Signature(token_layout(config, index))),
            "o": Out(GroupSignature(config, index)),
            "room": In(1),
            "threshold": In(unsigned(self.layer.membrane_bits)),
            "memory": In(WindowSignature(self.region)),
        }
        if self.layer.neuron == "sum":
            members["crossings"] = In(WindowSignature(config.region("crossings")))
        self.hidden = index < len(config.layers) - 1
        if config.learning:
            members["errors"] = In(ErrorSignature(config, index))
            if index > 0:
                self.popcount = Popcount(config, index)
                members["dead_zone"] = In(DEAD_ZONE_SHAPE)
                members["back"] = Out(ErrorSignature(config, index - 1))
            if self.hidden:
                members["revive"] = In(1)
                members["mask_group"] = Out(index_shape(self.layer.groups))
                members["mask"] = In(self.layer.lanes)
            else:
                members["step"] = In(STEP_SHAPE)
        super().__init__(members)

    @property
    def latency(self) -> int:
        """Cycles from the issue of a group to ``o``: the weights', ``update`` and ``fire``, and
        with several ways ``gather``."""
        return self.layer.fetch_cycles + self.layer.gather_cycles + 2

    @property
    def learning_latency(self) -> int:
        """Cycles from the issue of a token's last group until its weights are stored and the error
        of its input is told."""
        return self.latency + (self.popcount.latency if self.index > 0 else 1)

    def elaborate(self, platform) -> Module:
        latency = self.weights[0].latency
        if latency != self.layer.fetch_cycles:
            raise ValueError(
                f"the weight memory of layer {self.index} takes {latency} cycles to read, but "
                f"fetch_cycles is {self.layer.fetch_cycles}; make the two equal"
            )
        if self.config.learning and latency > _MOST_FETCH_CYCLES:
            raise ValueError(
                f"the weight memory of layer {self.index} takes {latency} cycles to read, but what "
                f"learns has to read it in {_MOST_FETCH_CYCLES}; choose a faster memory"
            )
        m = Module()
        groups, lanes, ways = self.layer.groups, self.layer.lanes, self.layer.ways
        neuron_type = NEURONS[self.layer.neuron]
        token = self.i.payload
        learning = self.config.learning
        pipe_fields: dict[str, ShapeLike] = {
            "step": 1,
            "first": 1,
            "group": index_shape(groups),
            "closes": 1,
            "last": 1,
            "rows": tally_layout(self.config, self.index + 1),
            "spikes": ways,
        }
        if learning:
            names = ("index", "learn", "arrival", "update")
            pipe_fields |= {name: token[name].shape() for name in names}
        pipe_layout = data.StructLayout(pipe_fields)

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
            issue.spikes.eq(1 if ways == 1 else token.spikes),
            may_issue.eq(~issue.step | self.room),
            issue_valid.eq(self.i.valid & may_issue),
            self.i.ready.eq(issue.closes & may_issue),
        ]
        adds = ~issue.step
        if learning:
            m.d.comb += [issue[name].eq(token[name]) for name in names]
            adds = ~issue.step & ~token.learn
        with m.If(issue_valid):
            m.d.sync += [
                issue_group.eq(issue_group + 1),
                issue_offset.eq(issue_offset + self.layer.rows),
            ]
            with m.If(issue.closes):
                m.d.sync += [issue_group.eq(0), issue_offset.eq(0), issue_first.eq(0)]
                if learning:
                    # What comes to learn from is no part of the next sample.
                    with m.If(token.learn):
                        m.d.sync += issue_first.eq(1)
                with m.If(adds):
                    spikes = sum(bit for bit in issue.spikes)
                    m.d.sync += issue_rows.eq(issue_rows + spikes)

        # fetch
        m.submodules.window = window = MemoryWindow(self.region)
        if not learning:
            wiring.connect(m, wiring.flipped(self.memory), window.port)
        way_bits = (ways - 1).bit_length()
        port_way, port_word = self.memory.word[:way_bits], self.memory.word[way_bits:]
        fetch_store = Signal()
        m.d.sync += fetch_store.eq(self.memory.store)
        for way, weights in enumerate(self.weights):
            m.submodules[f"weights_{way}" if ways > 1 else "weights"] = weights
            index = token.index if ways == 1 else token.index[way]
            address = Signal.like(weights.address, name=f"fetch_address_{way}", reset_less=True)
            with m.If(self.i.valid):
                m.d.sync += address.eq(index + issue_offset)
            with m.Else():
                m.d.sync += address.eq(port_word)
            m.d.comb += [
                weights.address.eq(address),
                # What is learned is stored in the same way.
                *([] if learning else [weights.store.eq(fetch_store & (port_way == way))]),
                weights.word.eq(window.word),
            ]
        if not learning:
            m.d.comb += window.data.eq(Array(weights.data for weights in self.weights)[port_way])
        stages = [(issue_valid, issue)]
        for cycle in range(self.layer.fetch_cycles):
            stages.append(stage(f"fetch_{cycle}", *stages[-1]))
        for cycle in range(self.layer.gather_cycles):
            stages.append(stage(f"gather_{cycle}", *stages[-1]))
        weight = self.weights[0].data
        if ways > 1:
            _, gather = stages[self.layer.fetch_cycles + 1]
            weight = self._gather(m, gather.spikes)
        fetch_valid, fetch = stages[-1]

        # update
        update_valid, update = stage("update", fetch_valid, fetch)
        if learning:
            # While no sample is here, neurons add 0 to what the memory port reads.
            m.d.sync += update.step.eq(fetch_valid & fetch.step)
        state_layout = neuron_type.state_layout(self.layer)
        initial = Signal(state_layout, reset_less=True)
        for field, value in neuron_type.initial(self.threshold).items():
            m.d.sync += initial[field].eq(value)
        neurons = [neuron_type(self.layer) for _ in range(lanes)]
        if groups == 1:
            # Between two samples, registers are cleared for free, by their own reset.
            held = [
                Signal(state_layout, name=f"state_{lane}", reset_less=True) for lane in range(lanes)
            ]
            clear = Signal(init=1)
            m.d.sync += clear.eq(issue_first & ~issue_valid)
            with m.If(clear):
                m.d.sync += [state.eq(initial) for state in held]
            with m.Elif(update_valid):
                m.d.sync += [
                    state.eq(neuron.next) for state, neuron in zip(held, neurons, strict=True)
                ]
            states = held
        else:
            # Its groups return no sooner than the next cycle but one: what is read here was written
            # in the cycle before or earlier.
            # If it learns, there is one more word, which stays 0: read in place of those that the
            # sample before left, it takes no logic in the lanes.
            m.submodules.states = memory = Memory(
                shape=data.ArrayLayout(state_layout, lanes), depth=groups + learning, init=[]
            )
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(Mux(fetch.first, groups, fetch.group) if learning else fetch.group),
                write.addr.eq(update.group),
                write.en.eq(update_valid),
                *(write.data[lane].eq(neuron.next) for lane, neuron in enumerate(neurons)),
            ]
            if learning:
                states = [Signal(state_layout, name=f"state_{lane}") for lane in range(lanes)]
                for state, stored in zip(states, read.data, strict=True):
                    m.d.comb += state.eq(stored)
                    for field, value in neuron_type.initial(self.threshold).items():
                        if not isinstance(value, int):
                            m.d.comb += state[field].eq(
                                Mux(update.first, initial[field], stored[field])
                            )
            else:
                states = [
                    Mux(update.first, initial.as_value(), read.data[lane].as_value())
                    for lane in range(lanes)
                ]
        for lane, (neuron, state) in enumerate(zip(neurons, states, strict=True)):
            m.submodules[f"neuron_{lane}"] = neuron
            m.d.comb += [
                neuron.step.eq(update.step),
                neuron.weight.eq(weight[lane]),
                neuron.state.eq(state),
            ]
        if self.layer.neuron == "sum":
            crossing = self._crossing(m, *stages[-2])
            m.d.comb += [neuron.crossing.eq(crossing) for neuron in neurons]

        # fire
        fire_valid, fire = stage("fire", update_valid & update.step, update)
        fire_spikes = Signal(lanes, reset_less=True)
        spikes = Cat(neuron.spike for neuron in neurons)
        if learning and self.hidden:
            m.d.comb += self.mask_group.eq(fetch.group)
            spikes &= ~self.mask
        m.d.sync += fire_spikes.eq(spikes)
        if self.layer.neuron == "current":
            for lane, neuron in enumerate(neurons):
                fire_membrane = Signal.like(
                    neuron.membrane, name=f"fire_membrane_{lane}", reset_less=True
                )
                m.d.sync += fire_membrane.eq(neuron.membrane)
                m.d.comb += self.o.membranes[lane].eq(fire_membrane)
        m.d.comb += [
            self.o.valid.eq(fire_valid),
            self.o.spikes.eq(fire_spikes),
            self.o.closes.eq(fire.closes),
            self.o.last.eq(fire.last),
            self.o.rows.eq(fire.rows),
        ]
        if learning:
            self._learn(m, window, address, [*stages, (update_valid, update)], neurons)
        return m

    def _learn(
        self,
        m: Module,
        window: MemoryWindow,
        address: Signal,
        stages: list[tuple[Signal, data.View]],
        neurons: list[Any],
    ) -> None:
        """Build what changes the weights.

        A changed row takes the way of the host's words: through the register of the window, a cycle
        behind ``update``.

        Parameters
        ----------
        window
            The memory port's.
        address
            Of the words that are fetched.
        stages
            All up to ``update``.
        neurons
            Those of the lanes. In hidden layers their adders do the sum.
        """
        (weights,) = self.weights
        groups, lanes = self.layer.groups, self.layer.lanes

        # errors: two stages ahead of `update`
        (_, ahead), (_, fetch), (update_valid, update) = stages[-3:]
        m.submodules.errors = errors = ErrorMemory(self.config, self.index)
        m.d.comb += errors.group.eq(ahead.group)
        wiring.connect(m, wiring.flipped(self.errors), errors.i)
        if self.hidden:
            # The first token of a sample finds the errors of another.
            with m.If(update_valid & update.first & ~update.learn):
                m.d.comb += [errors.i.enable.eq(~0), errors.i.group.eq(update.group)]
                m.d.comb += [error.kind.eq(ErrorKind.NONE) for error in errors.i.errors]
                if self.layer.neuron == "current":
                    m.d.comb += [error.when.eq(~0) for error in errors.i.errors]

        # update
        learns = Signal()
        changed = Signal()
        changed_update = Signal(reset_less=True)
        m.d.comb += learns.eq(update_valid & update.learn)
        m.d.sync += [changed.eq(learns), changed_update.eq(update.update)]
        synapses = []
        spare = groups * lanes - self.layer.neurons
        for lane, error in enumerate(errors.o):
            m.submodules[f"synapse_{lane}"] = synapse = Synapse(self.layer, last=not self.hidden)
            synapses.append(synapse)
            kind = error.kind.as_value()
            blamed, later = kind[0], kind.all()
            if self.hidden:
                silent = self.revive & kind[1]
                if lane >= lanes - spare:
                    silent &= ~fetch.closes
                blamed |= silent
            if self.layer.neuron == "current":
                in_time = fetch.arrival <= error.when
                blamed &= in_time
                later &= in_time
            concerned = Signal(name=f"update_concerned_{lane}", reset_less=True)
            negative = Signal(name=f"update_negative_{lane}", reset_less=True)
            m.d.sync += [concerned.eq(blamed), negative.eq(later)]
            m.d.comb += [
                synapse.weight.eq(weights.data[lane]),
                synapse.learn.eq(update.learn),
                synapse.concerned.eq(concerned),
                synapse.negative.eq(negative),
                window.data[lane].eq(synapse.next),
            ]
            if self.hidden:
                neuron = neurons[lane]
                bits = self.layer.weight_bits
                with m.If(update.learn):
                    m.d.comb += neuron.state[neuron.accumulator][:bits].eq(synapse.change)
                m.d.comb += synapse.moved.eq(neuron.next[neuron.accumulator])
            if self.index > 0:
                m.d.comb += synapse.dead_zone.eq(self.dead_zone)
            if not self.hidden:
                m.d.comb += synapse.step.eq(self.step)
        m.d.comb += [
            window.port.capture.eq(self.memory.capture | changed),
            *(
                getattr(window.port, name).eq(getattr(self.memory, name))
                for name in ("word", "shift", "byte", "store")
            ),
            self.memory.byte_out.eq(window.port.byte_out),
        ]
        if self.index > 0:
            m.submodules.popcount = popcount = self.popcount
            m.d.comb += [
                popcount.valid.eq(learns),
                popcount.closes.eq(update.closes),
                popcount.index.eq(update.index),
                popcount.arrival.eq(update.arrival),
                *(
                    vote.eq(synapse.vote)
                    for vote, synapse in zip(popcount.votes, synapses, strict=True)
                ),
            ]
            wiring.connect(m, popcount.o, wiring.flipped(self.back))

        # store
        for cycle in range(self.layer.fetch_cycles + 1):
            previous, address = address, Signal.like(address, name=f"store_address_{cycle}")
            m.d.sync += address.eq(previous)
        store_address = Signal.like(address, reset_less=True)
        store = Signal()
        m.d.sync += [
            store_address.eq(Mux(changed, address, self.memory.word)),
            store.eq(self.memory.store | (changed & changed_update)),
        ]
        m.d.comb += [weights.write_address.eq(store_address), weights.store.eq(store)]

    def _gather(self, m: Module, spikes: Value) -> list[Value]:
        """Add up the weights of the ways that have a spike, four at a time; return the sums.

        Parameters
        ----------
        spikes
            A bit for each way, in the cycle in which the weights come.
        """
        lanes = range(self.layer.lanes)
        terms = [
            [Mux(spike, way.data[lane], 0) for lane in lanes]
            for spike, way in zip(spikes, self.weights, strict=True)
        ]
        for cycle in range(self.layer.gather_cycles):
            sums = []
            for first in range(0, len(terms), 4):
                total = [
                    Signal(
                        weight_shape(self.layer),
                        name=f"gather_{cycle}_{first}_{lane}",
                        reset_less=True,
                    )
                    for lane in lanes
                ]
                m.d.sync += [
                    total[lane].eq(sum(term[lane] for term in terms[first : first + 4]))
                    for lane in lanes
                ]
                sums.append(total)
            terms = sums
        (total,) = terms
        return total

    def _crossing(self, m: Module, valid: Value, ahead: data.View) -> Value:
        """Build the memory of the crossings; return the one of the step in stage ``update``.

        Parameters
        ----------
        valid, ahead
            The stage that is two ahead of ``update``.
        """
        region = self.config.region("crossings")
        m.submodules.crossings = memory = Memory(
            shape=word_layout(region), depth=region.words, init=[]
        )
        m.submodules.crossings_window = window = MemoryWindow(region)
        wiring.connect(m, wiring.flipped(self.crossings), window.port)
        read, write = memory.read_port(), memory.write_port()
        step = Signal(index_shape(region.words))
        with m.If(valid & ahead.step & ahead.closes):
            m.d.sync += step.eq(step + 1)
        address = Mux(valid, step, self.crossings.word)
        crossing = Signal(Shape(self.layer.current_bits, signed=True), reset_less=True)
        m.d.sync += crossing.eq(read.data.as_value())
        m.d.comb += [
            read.addr.eq(address),
            write.addr.eq(address),
            write.data.eq(window.word),
            write.en.eq(self.crossings.store),
            window.data.eq(read.data),
        ]
        return crossing
