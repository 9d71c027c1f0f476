"""Whether a sample is taken: by the model that it is for, its number and its label."""

from amaranth.hdl import Const, Module, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.protocol import Status
from firstspike.hdl.sample_check import SampleCheck
from prove import Method, prove
from watch import claim, free, past, reached

_LAYERS = [LayerConfig(3, 5, 5), LayerConfig(5, 3, 3)]


@prove(
    Method.INDUCTION,
    1,
    cover=3,
    sizes={
        "inference": {"config": Config(_LAYERS, 4)},
        "learning": {"config": Config(_LAYERS, 4, learning=True)},
    },
)
def refusals(m: Module, config: Config) -> None:
    """A sample is taken only if a model is loaded and is the one that it is for; one to learn from
    only if it is also the next in number, with a label that takes part. Of several reasons, the
    first in the order of docs/link.md is told."""
    m.submodules.dut = dut = SampleCheck(config)
    free(m, dut)
    status = Signal(Status)
    learn = dut.learn if config.learning else Const(0, 1)
    other = (dut.model == 0) | (~learn & (dut.arg != dut.model))
    if config.learning:
        number, label = dut.arg[:16], dut.arg[16:]
        missing = (number - dut.learned)[:16]
        # Of the numbers, half are before the next and half after it.
        with m.If(other):
            m.d.comb += status.eq(Status.NO_MODEL)
        with m.Elif(learn & (~dut.learned_known | ((missing != 0) & (missing < 1 << 15)))):
            m.d.comb += status.eq(Status.OUT_OF_ORDER)
        with m.Elif(learn & (missing != 0)):
            m.d.comb += status.eq(Status.REPEATED)
        with m.Elif(learn & (label >= dut.classes)):
            m.d.comb += status.eq(Status.BAD_LABEL)
        taken = learn & (status == Status.OK)
        reached(m, past(m, taken & (dut.learned[:16] == 0) & (dut.learned != 0)), "numbers wrap")
    else:
        with m.If(other):
            m.d.comb += status.eq(Status.NO_MODEL)
    claim(m, dut.refusal == past(m, status), "the first reason is told")
    reached(m, past(m, dut.model == 77) & (dut.refusal == Status.OK), "a sample is taken")
