"""What the clocks of several families have in common: plans, the domain and its reset."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from ..firmware.errors import BuildError

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module, Value

__all__ = [
    "CLOCK_NET",
    "ClockPlan",
    "DividedVco",
    "buffered_oscillator",
    "check_reach",
    "make_domain",
]

#: Yosys keeps one of the many names of a clock: this one, which constraints use.
CLOCK_NET = "core_clock"


class ClockPlan(Protocol):
    """Settings of a PLL."""

    @property
    def hz(self) -> int:
        """Frequency of the clock."""

    @classmethod
    def nearest(cls, oscillator_hz: int, clock_hz: int) -> Self:
        """The plan nearest to ``clock_hz``.

        Raises
        ------
        BuildError
            If the clock is out of the PLL's range.
        """


@dataclass(frozen=True)
class DividedVco:
    """Settings of a PLL with a divider at its input and another behind its VCO.

    The phase detector runs at ``oscillator_hz / input_divider``, the VCO at ``multiplier`` times
    that, and the clock at the VCO's frequency divided by ``output_divider``.
    """

    oscillator_hz: int
    input_divider: int
    multiplier: int
    output_divider: int

    @property
    def vco_hz(self) -> float:
        """Frequency of the VCO."""
        return self.oscillator_hz * self.multiplier / self.input_divider

    @property
    def hz(self) -> int:
        """Frequency of the clock."""
        return round(
            self.oscillator_hz * self.multiplier / (self.input_divider * self.output_divider)
        )

    def error_hz(self, clock_hz: int) -> float:
        """How far the clock is from ``clock_hz``."""
        return abs(self.vco_hz / self.output_divider - clock_hz)

    @classmethod
    def within(
        cls,
        vco: tuple[int, int],
        oscillator_hz: int,
        clock_hz: int,
        *,
        input_dividers: range,
        multipliers: range,
        max_output_divider: int,
    ) -> Iterator[Self]:
        """The plans that keep the VCO within limits, each with the best of output dividers.

        Parameters
        ----------
        vco : pair of int
            Lowest and highest frequency, in Hz.
        oscillator_hz, clock_hz : int
        input_dividers, multipliers : range
        max_output_divider : int
        """
        for divider in input_dividers:
            for multiplier in multipliers:
                hz = oscillator_hz * multiplier / divider
                if vco[0] <= hz <= vco[1]:
                    output = min(max(round(hz / clock_hz), 1), max_output_divider)
                    yield cls(oscillator_hz, divider, multiplier, output)


def check_reach(clock_hz: int, reach: tuple[int, int], what: str) -> None:
    """Refuse a clock that ``what``, such as ``the PLL of an ECP5``, does not reach.

    Parameters
    ----------
    clock_hz : int
        What is asked for.
    reach : pair of int
        Lowest and highest frequency, in Hz.

    Raises
    ------
    BuildError
        If it is out of reach.
    """
    if not reach[0] <= clock_hz <= reach[1]:
        raise BuildError(
            f"a clock of {clock_hz / 1e6:g} MHz was asked for, but {what} reaches "
            f"{reach[0] / 1e6:g} to {reach[1] / 1e6:g} MHz; choose --clock in this range"
        )


def buffered_oscillator(m: "Module", platform: "Platform") -> "Value":
    """The board's oscillator, behind the buffer of its pin."""
    from amaranth.lib import io

    m.submodules.oscillator = oscillator = io.Buffer(
        "i", platform.request(platform.default_clk, dir="-")
    )
    return oscillator.i


def make_domain(m: "Module", locked: "Value") -> None:
    """Make the domain ``sync``, in reset from power-up on and while its PLL has no lock.

    Its clock is left to the caller.
    """
    from amaranth.hdl import ClockDomain, ResetSignal
    from amaranth.lib.cdc import FFSynchronizer

    m.domains += ClockDomain("sync")
    m.submodules.reset = FFSynchronizer(~locked, ResetSignal("sync"), init=1)
