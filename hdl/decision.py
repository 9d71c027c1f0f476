"""Which output spikes first."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .token import GroupSignature, index_shape, result_layout, tally_layout

__all__ = ["Decision"]


class Decision(wiring.Component):
    """Compares the outputs as their groups come, and decides at the end of a step.

    The first step in which an output has fired decides, or else step T−1: for the highest U, and
    among equals for the lowest index. Since U ≥ 0 means that an output has fired, the comparison
    needs no more than U.

    Parameters
    ----------
    config : Config

    Members
    -------
    i : In(GroupSignature(config, layers - 1))
    classes : In(range(outputs + 1))
        Outputs that take part, from index 0; stable from two cycles before the first group on.
    o : Out(stream.Signature(result_layout(config)))
        The result; ``cycles`` is left to whoever counts them.
    flush : Out(1)
        High in the first cycle of ``o.valid``: whatever is in the core belongs to later steps. It
        forgets such groups itself.
    learn, clear : In(1)
        Only if the build learns. With ``learn`` the run goes on after the decision, and so does the
        tally in the result, until ``clear`` ends it in place of ``flush``. Without, the two come
        together.

    Latency: :attr:`latency` cycles from the last group of the deciding step to ``o.valid``.

    Throughput: a group a cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.layer = config.layers[-1]
        members = {
            "i": In(GroupSignature(config, len(config.layers) - 1)),
            "classes": In(index_shape(config.outputs + 1)),
            "o": Out(stream.Signature(result_layout(config))),
            "flush": Out(1),
        }
        if config.learning:
            members |= {"learn": In(1), "clear": In(1)}
        super().__init__(members)

    @property
    def latency(self) -> int:
        """Cycles from the last group of a step to ``o.valid``: the rounds, ``best``, the result."""
        return self._rounds + 2

    @property
    def _rounds(self) -> int:
        return (self.layer.lanes - 1).bit_length()

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = self.layer.lanes
        neuron = index_shape(self.layer.groups * lanes)
        group_layout = data.StructLayout(
            {
                "base": neuron,
                "closes": 1,
                "last": 1,
                "rows": tally_layout(self.config, len(self.config.layers)),
            }
        )
        valids = []

        def stage(name: str, valid: Signal, group: data.View) -> tuple[Signal, data.View]:
            """Registers behind a pipeline stage."""
            next_valid = Signal(name=f"{name}_valid")
            next_group = Signal(group_layout, name=name, reset_less=True)
            m.d.sync += [next_valid.eq(valid), next_group.eq(group)]
            valids.append(next_valid)
            return next_valid, next_group

        # enter
        enter = Signal(group_layout)
        enter_base = Signal(neuron)
        enter_next_base = Signal(neuron)
        enter_left = Signal((self.classes - enter_base).shape(), reset_less=True)
        m.d.comb += [
            enter_next_base.eq(enter_base),
            enter.base.eq(enter_base),
            enter.closes.eq(self.i.closes),
            enter.last.eq(self.i.last),
            enter.rows.eq(self.i.rows),
        ]
        with m.If(self.i.valid):
            m.d.comb += enter_next_base.eq(Mux(self.i.closes, 0, enter_base + lanes))
        m.d.sync += [
            enter_base.eq(enter_next_base),
            enter_left.eq(self.classes - enter_next_base),
        ]

        # The rounds of a tournament: whoever takes part beats whoever does not, then the higher U
        # wins. Flipping the sign of U makes it an unsigned number.
        contenders = []
        for lane, membrane in enumerate(self.i.membranes):
            key = Cat(membrane[:-1], ~membrane[-1], lane < enter_left)
            contenders.append((key, Const(lane, neuron)))
        valid, group = self.i.valid, enter
        for level in range(self._rounds):
            valid, group = stage(f"round_{level}", valid, group)
            winners = []
            for first in range(0, len(contenders), 2):
                key = Signal(
                    len(contenders[0][0]), name=f"round_{level}_key_{first}", reset_less=True
                )
                lane = Signal(neuron, name=f"round_{level}_lane_{first}", reset_less=True)
                pair = contenders[first : first + 2]
                m.d.sync += Cat(key, lane).eq(Cat(pair[0]))
                if len(pair) == 2:
                    with m.If(pair[1][0] > pair[0][0]):
                        m.d.sync += Cat(key, lane).eq(Cat(pair[1]))
                winners.append((key, lane))
            contenders = winners
        ((root_key, root_lane),) = contenders

        # best
        best_valid, best = stage("best", valid, group)
        best_fresh = Signal(init=1)
        best_key = Signal(len(root_key), reset_less=True)
        best_label = Signal(neuron, reset_less=True)
        with m.If(valid):
            m.d.sync += best_fresh.eq(group.closes)
            with m.If(best_fresh | (root_key > best_key)):
                m.d.sync += [best_key.eq(root_key), best_label.eq(group.base + root_lane)]

        # result
        best_step = Signal(index_shape(self.config.max_steps))
        best_fired = Signal()
        valid = Signal()
        flush = Signal()
        result = Signal(self.o.payload.shape(), reset_less=True)
        m.d.comb += [
            best_fired.eq(best_key[-2:].all()),
            self.o.valid.eq(valid),
            self.o.payload.eq(result),
            self.flush.eq(flush),
        ]
        m.d.sync += flush.eq(0)
        with m.If(self.o.ready):
            m.d.sync += valid.eq(0)
        with m.If(best_valid & best.closes & ~valid):
            m.d.sync += best_step.eq(best_step + 1)
            with m.If(best_fired | best.last):
                m.d.sync += [
                    valid.eq(1),
                    flush.eq(1),
                    result.label.eq(best_label),
                    result.step.eq(best_step),
                    result.fired.eq(best_fired),
                    result.rows.eq(best.rows),
                ]
        clear = flush
        if self.config.learning:
            clear = self.clear
            with m.If(best_valid & best.closes & self.learn & ~self.clear):
                m.d.sync += result.rows.eq(best.rows)
        with m.If(clear):
            m.d.sync += [
                *(stage_valid.eq(0) for stage_valid in valids),
                enter_base.eq(0),
                enter_left.eq(self.classes),
                best_fresh.eq(1),
                best_step.eq(0),
            ]
        return m
