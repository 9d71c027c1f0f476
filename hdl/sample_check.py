"""Whether the device is in the state that a sample is for."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from ..firmware.protocol import Status
from .token import index_shape

__all__ = ["SampleCheck"]

_NUMBER_BITS = 16


class SampleCheck(wiring.Component):
    """Judges a sample by the ``arg`` of its request, before the sample itself is looked at.

    Parameters
    ----------
    config : Config

    Members
    -------
    arg : In(32)
        The model's CRC; of a sample to learn from, its label and number.
    model : In(32)
        The register of this name.
    refusal : Out(Status)
        Why the sample cannot be taken, or ``OK``; of the inputs of the cycle before.

    If the build learns:

    learn : In(1)
        The sample is to be learned from.
    classes : In, learned : In(32)
        The registers of these names.
    learned_known : In(1)
        The register ``learned`` has been written.
    """

    def __init__(self, config: Config) -> None:
        self._learning = config.learning
        learning: dict[str, Any] = {
            "learn": In(1),
            "classes": In(index_shape(config.outputs + 1)),
            "learned": In(32),
            "learned_known": In(1),
        }
        super().__init__(
            {"arg": In(32), "model": In(32), "refusal": Out(Status)}
            | (learning if config.learning else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.refusal.eq(Status.OK)
        if self._learning:
            with m.If(self.learn):
                self._check_turn(m)
        other = self.arg != self.model
        with m.If((self.model == 0) | (other & ~self.learn if self._learning else other)):
            m.d.sync += self.refusal.eq(Status.NO_MODEL)
        return m

    def _check_turn(self, m: Module) -> None:
        """Refuse a sample that is not the next to learn from, or whose label does not take part."""
        number, label = self.arg[:_NUMBER_BITS], self.arg[_NUMBER_BITS:]
        ahead = Signal(_NUMBER_BITS)
        m.d.comb += ahead.eq(number - self.learned)
        with m.If(label >= self.classes):
            m.d.sync += self.refusal.eq(Status.BAD_LABEL)
        with m.If(ahead != 0):
            m.d.sync += self.refusal.eq(Status.OUT_OF_ORDER)
        with m.If(ahead[-1]):
            m.d.sync += self.refusal.eq(Status.REPEATED)
        with m.If(~self.learned_known):
            m.d.sync += self.refusal.eq(Status.OUT_OF_ORDER)
