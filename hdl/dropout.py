"""Which hidden neurons are left out of a sample."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.config import DROPOUT_DRAWS, Config
from .token import index_shape
from .xorshift import DROPOUT_SHIFTS, advance

__all__ = ["Dropout"]

_STATE_BITS = 64
_NUMBER_BITS = _STATE_BITS // DROPOUT_DRAWS

#: Whose masks are better kept in logic than in block RAM.
_FEW_NEURONS = 256


class Dropout(wiring.Component):
    """Draws a mask over the neurons of one layer for each sample to learn.

    Parameters
    ----------
    config : Config
    layer : int

    Members
    -------
    start : In(1)
        Draw another mask.
    probability : In(16)
        Of leaving out a neuron, in units of 2^-16.
    random : In(64)
        State of the generator.
    random_next : Out(64)
        What it becomes with ``random_load``.
    random_load : Out(1)
    busy : Out(1)
        The mask is not complete.
    group : In
        The group to read.
    mask : Out(lanes)
        Its neurons that are left out, a cycle later.

    Throughput: four neurons a cycle.
    """

    def __init__(self, config: Config, layer: int) -> None:
        self.layer = config.layers[layer]
        super().__init__(
            {
                "start": In(1),
                "probability": In(_NUMBER_BITS),
                "random": In(_STATE_BITS),
                "random_next": Out(_STATE_BITS),
                "random_load": Out(1),
                "busy": Out(1),
                "group": In(index_shape(self.layer.groups)),
                "mask": Out(self.layer.lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        groups, lanes = self.layer.groups, self.layer.lanes
        draws = -(-self.layer.neurons // DROPOUT_DRAWS)
        # The last group may have fewer neurons than lanes; what it lacks is not drawn.
        slots = -(-lanes // DROPOUT_DRAWS)

        # draw
        draw_busy = Signal()
        draw_left = Signal(range(draws + 1))
        draw_slot = Signal(range(max(slots, 2)))
        draw_group = Signal(self.group.shape())
        draw_closes = Signal()
        m.d.comb += [
            draw_closes.eq(draw_slot == slots - 1),
            self.random_next.eq(advance(m, self.random, DROPOUT_SHIFTS)),
            self.random_load.eq(draw_busy & (draw_left != 0)),
        ]
        with m.If(self.random_load):
            m.d.sync += draw_left.eq(draw_left - 1)
        with m.If(draw_busy):
            m.d.sync += draw_slot.eq(draw_slot + 1)
            with m.If(draw_closes):
                m.d.sync += [
                    draw_slot.eq(0),
                    draw_group.eq(draw_group + 1),
                    draw_busy.eq(draw_group != groups - 1),
                ]
        with m.If(self.start):
            m.d.sync += [
                draw_busy.eq(1),
                draw_left.eq(draws),
                draw_slot.eq(0),
                draw_group.eq(0),
            ]

        # compare: the state holds what was drawn in the cycle before
        compare_busy = Signal()
        compare_closes = Signal()
        compare_group = Signal(self.group.shape())
        held = Signal(slots * DROPOUT_DRAWS, reset_less=True)
        following = Signal.like(held)
        m.d.sync += [
            compare_busy.eq(draw_busy),
            compare_closes.eq(draw_closes),
            compare_group.eq(draw_group),
        ]
        chosen = [
            self.random.word_select(number, _NUMBER_BITS) < self.probability
            for number in range(DROPOUT_DRAWS)
        ]
        m.d.comb += [
            following.eq(Cat(held[DROPOUT_DRAWS:], chosen)),
            self.busy.eq(draw_busy | compare_busy),
        ]
        with m.If(compare_busy):
            m.d.sync += held.eq(following)

        if groups == 1:
            m.d.comb += self.mask.eq(held)
        else:
            # Of a memory this shallow the tools make logic, however wide it is.
            attrs = {"ram_style": "block"} if self.layer.neurons > _FEW_NEURONS else {}
            m.submodules.masks = masks = Memory(shape=lanes, depth=groups, init=[], attrs=attrs)
            write, read = masks.write_port(), masks.read_port()
            m.d.comb += [
                write.addr.eq(compare_group),
                write.data.eq(following),
                write.en.eq(compare_busy & compare_closes),
                read.addr.eq(self.group),
                self.mask.eq(read.data),
            ]
        return m
