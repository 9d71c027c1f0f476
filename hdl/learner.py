"""When a sample to learn from ends, what the outputs did wrong, and the order of the updates."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .errors import ErrorKind, ErrorSignature
from .token import GroupSignature, index_shape
from .xorshift import UPDATE_SHIFTS, advance

__all__ = ["RATE_SHAPE", "Learner"]

_STATE_BITS = 32
_NUMBER_BITS = 16

#: Of a probability in units of 2^-16, one included.
RATE_SHAPE = unsigned(_NUMBER_BITS + 1)


class Learner(wiring.Component):
    """Ends the run of a sample to learn from, and has the layers updated, the last one first.

    Parameters
    ----------
    config : Config
    settle : int
        Cycles from the last group of the stop step to ``flush``.
    drain : int
        Cycles from a layer's last token until all it does has been done.

    Members
    -------
    i : In(GroupSignature(config, layers - 1))
    start : In(1)
        A sample begins; no group comes in this cycle.
    learn : In(1)
        It is to be learned from. This and the following three are stable from the cycle after
        ``start`` on.
    label : In(range(outputs))
    classes : In(range(outputs + 1))
    margin : In(range(max_steps))
    rates : In(RATE_SHAPE).array(layers)
    input_dropout : In(16)
    ended : In(1)
        The sample's events have all come.
    errors : Out(ErrorSignature(config, layers - 1))
        What the outputs did wrong.
    missed : Out(1)
        The labelled output has not fired.
    stop : Out(range(max_steps))
        The stop step.
    flush : Out(1)
        High for a cycle: whatever is in the core belongs to later steps.
    replay : Out(layers)
        Which layer replays its rows.
    replayed : In(layers)
        Which layer has done so.
    draw : In(1)
        ``update`` is used.
    update : Out(1)
        Whether the next row is to be updated; before any layer replays its rows, whether the next
        input spike is to be left out.
    idle : In(1)
        No sample is in the core and none begins.
    random : In(32)
        State of the generator that chooses rows; changed elsewhere only between two samples, and
        then followed by an ``idle`` cycle.
    random_next : Out(32)
        What it becomes with ``random_load``.
    random_load : Out(1)
    done : Out(1)
        Everything is learned, until ``start``.
    """

    def __init__(self, config: Config, *, settle: int, drain: int) -> None:
        self.config = config
        self.layer = config.layers[-1]
        self.settle = settle
        self.drain = drain
        layers = len(config.layers)
        super().__init__(
            {
                "i": In(GroupSignature(config, layers - 1)),
                "start": In(1),
                "learn": In(1),
                "label": In(index_shape(config.outputs)),
                "classes": In(index_shape(config.outputs + 1)),
                "margin": In(index_shape(config.max_steps)),
                "rates": In(RATE_SHAPE).array(layers),
                "input_dropout": In(_NUMBER_BITS),
                "ended": In(1),
                "errors": Out(ErrorSignature(config, layers - 1)),
                "missed": Out(1),
                "stop": Out(index_shape(config.max_steps)),
                "flush": Out(1),
                "replay": Out(layers),
                "replayed": In(layers),
                "draw": In(1),
                "update": Out(1),
                "idle": In(1),
                "random": In(_STATE_BITS),
                "random_next": Out(_STATE_BITS),
                "random_load": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes, groups = self.layer.lanes, self.layer.groups

        # The outputs, a group at a time: what is left of label and classes from its first lane on.
        group = Signal(index_shape(groups))
        base = Signal(index_shape(groups * lanes))
        next_base = Signal.like(base)
        label_left = Signal((self.label - base).shape(), reset_less=True)
        classes_left = Signal((self.classes - base).shape(), reset_less=True)
        m.d.comb += next_base.eq(base)
        with m.If(self.i.valid):
            m.d.comb += next_base.eq(Mux(self.i.closes, 0, base + lanes))
            m.d.sync += group.eq(Mux(self.i.closes, 0, group + 1))
        m.d.sync += [
            base.eq(next_base),
            label_left.eq(self.label - next_base),
            classes_left.eq(self.classes - next_base),
        ]
        labelled = Signal(lanes)
        others = Signal(lanes)
        m.d.comb += [
            labelled.eq(Cat(label_left == lane for lane in range(lanes))),
            others.eq(Cat(lane < classes_left for lane in range(lanes)) & ~labelled),
        ]

        # The steps, up to and including the stop step.
        running = Signal()
        step = Signal(self.stop.shape())
        first = Signal()
        fired = Signal()
        erred = Signal()
        passed = Signal(self.margin.shape())
        valid = Signal()
        fires = Signal()
        stops = Signal()
        m.d.comb += [
            valid.eq(self.i.valid & running),
            fires.eq(fired | (self.i.spikes & labelled).any()),
            stops.eq(valid & self.i.closes & (self.i.last | (fires & (passed == self.margin)))),
            self.missed.eq(~fired),
            self.stop.eq(step),
        ]
        with m.If(valid):
            m.d.sync += [
                fired.eq(fires),
                erred.eq(erred | (self.i.spikes & others).any()),
            ]
            with m.If(stops):
                m.d.sync += running.eq(0)
            with m.Elif(self.i.closes):
                m.d.sync += [step.eq(step + 1), first.eq(0)]
                with m.If(fires):
                    m.d.sync += passed.eq(passed + 1)

        # In step 0 all errors are written, in others those of the outputs that fire.
        m.d.comb += [
            self.errors.enable.eq(
                Mux(valid, Mux(first, ~0, self.i.spikes & (labelled | others)), 0)
            ),
            self.errors.group.eq(group),
        ]
        for lane, error in enumerate(self.errors.errors):
            m.d.comb += [
                error.kind.eq(
                    Mux(
                        labelled[lane],
                        ErrorKind.EARLIER,
                        Mux(self.i.spikes[lane] & others[lane], ErrorKind.LATER, ErrorKind.NONE),
                    )
                ),
                error.when.eq(Mux(self.i.spikes[lane], step, ~0)),
            ]

        # By then the decision is there as well.
        settled = stops & self.learn
        for cycle in range(self.settle):
            previous, settled = settled, Signal(name=f"settled_{cycle}")
            m.d.sync += settled.eq(previous)
        m.d.comb += self.flush.eq(settled)

        # A layer is done when its last row has come through: then all errors before it are known.
        left = Signal(range(self.drain + 1))
        m.d.sync += left.eq(self.drain)
        due = Signal()
        with m.If(self.flush):
            m.d.sync += due.eq(1)
        with m.If(due & self.ended):
            m.d.sync += [
                due.eq(0),
                self.replay[-1].eq(~fired | erred),
                self.done.eq(fired & ~erred),
            ]
        with m.If((self.replay & self.replayed).any()):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 0):
                m.d.sync += [
                    left.eq(self.drain),
                    self.replay.eq(self.replay >> 1),
                    self.done.eq(self.replay[0]),
                ]

        # The next state is there before it is drawn, so the comparison has a cycle of its own.
        upcoming = Signal(_STATE_BITS)
        drawn = Signal(_STATE_BITS, reset_less=True)
        loads = Signal()
        rate = Signal(RATE_SHAPE)
        m.d.comb += [
            self.update.eq(upcoming[-_NUMBER_BITS:] < rate),
            self.random_next.eq(drawn),
            self.random_load.eq(loads),
        ]
        # What is drawn for comes late in a cycle, so the state is handed on in the next.
        m.d.sync += [drawn.eq(upcoming), loads.eq(self.draw)]
        with m.If(self.draw | self.idle):
            state = Mux(self.idle, self.random, upcoming)
            m.d.sync += upcoming.eq(advance(m, state, UPDATE_SHIFTS))
        m.d.sync += rate.eq(self.input_dropout)
        for layer, choice in enumerate(self.rates):
            with m.If(self.replay[layer]):
                m.d.sync += rate.eq(choice)

        with m.If(self.start):
            m.d.sync += [
                running.eq(1),
                first.eq(1),
                group.eq(0),
                base.eq(0),
                step.eq(0),
                passed.eq(0),
                fired.eq(0),
                erred.eq(0),
                self.done.eq(0),
            ]
        return m
