"""Xilinx 7 series: clock plan, memories, and a project for Vivado.

No open tools place and route these parts well, so there are no steps: the build is a folder with
Verilog, constraints and a script that makes Vivado do the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..firmware.config import Config, Region
from .board import Board, PlannedMemory, Resources, Step
from .clocks import check_reach

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module

__all__ = ["SERIES7", "XC7A100T", "ClockPlan"]

XC7A100T = Resources(luts=63_400, ffs=126_800, block_rams=270)

#: Limits of the MMCM, in Hz, from the data sheet of the Artix-7, speed grade 1.
_PHASE_DETECTOR = (10_000_000, 450_000_000)
_VCO = (600_000_000, 1_200_000_000)
_OUTPUT = (4_690_000, 800_000_000)
_MAX_INPUT_DIVIDER = 106
_MAX_MULTIPLIER = 64
_MAX_OUTPUT_DIVIDER = 128


@dataclass(frozen=True)
class ClockPlan:
    """Settings of an MMCME2.

    The phase detector runs at ``oscillator_hz / input_divider``, the VCO at ``multiplier`` times
    that, and the clock at the VCO's frequency divided by ``output_divider``.
    """

    oscillator_hz: int
    input_divider: int
    multiplier: int
    output_divider: int

    @property
    def hz(self) -> int:
        """Frequency of the clock."""
        return round(
            self.oscillator_hz * self.multiplier / (self.input_divider * self.output_divider)
        )

    @classmethod
    def nearest(cls, oscillator_hz: int, clock_hz: int) -> "ClockPlan":
        """The plan nearest to ``clock_hz``, and of several the one with the fastest phase detector.

        Raises
        ------
        BuildError
            If the clock is out of the MMCM's range.
        """
        check_reach(clock_hz, _OUTPUT, "the MMCM of a 7 series part")
        plans = []
        dividers = min(oscillator_hz // _PHASE_DETECTOR[0], _MAX_INPUT_DIVIDER)
        for divider in range(1, dividers + 1):
            for multiplier in range(2, _MAX_MULTIPLIER + 1):
                vco = oscillator_hz * multiplier / divider
                if _VCO[0] <= vco <= _VCO[1]:
                    output = min(max(round(vco / clock_hz), 1), _MAX_OUTPUT_DIVIDER)
                    plan = cls(oscillator_hz, divider, multiplier, output)
                    plans.append((abs(vco / output - clock_hz), divider, -vco, plan))
        return min(plans, key=lambda entry: entry[:3])[-1]


class _Series7:
    """The family; see :class:`~firstspike.boards.board.Family`."""

    name = "xilinx"
    block_ram_bits = 18_432
    cells: Mapping[str, Resources] = {
        **{f"LUT{inputs}": Resources(luts=1) for inputs in range(1, 7)},
        **{name: Resources(ffs=1) for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
        "CARRY4": Resources(carries=1),
        "RAMB18E1": Resources(block_rams=1),
        "RAMB36E1": Resources(block_rams=2),
        "RAM32X1D": Resources(luts=2, distributed_rams=1),
        "RAM64X1D": Resources(luts=2, distributed_rams=1),
        "RAM128X1D": Resources(luts=4, distributed_rams=1),
        "RAM32M": Resources(luts=4, distributed_rams=1),
        "RAM64M": Resources(luts=4, distributed_rams=1),
    }
    memory_cells: Mapping[str, str] = {
        **dict.fromkeys(("RAMB18E1", "RAMB36E1"), "block"),
        **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1D", "RAM32M", "RAM64M"), "distributed"),
    }
    bitstream = "top.bit"

    def memories(self, region: Region) -> Any:
        from ..hdl.weight_memory import WeightMemory

        return WeightMemory(region, style="block")

    def fetch_cycles(self, region: Region) -> int:
        return 2

    def memory_plan(self, config: Config) -> list[PlannedMemory]:
        from .memories import plan

        return plan(config, self.memories, _rule, {})

    def nearest_clock(self, board: Board, clock_hz: int) -> int:
        return ClockPlan.nearest(board.oscillator_hz, clock_hz).hz

    def clock(self, m: "Module", platform: "Platform", board: Board, clock_hz: int) -> int:
        from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, ResetSignal, Signal
        from amaranth.lib import io
        from amaranth.lib.cdc import FFSynchronizer

        plan = ClockPlan.nearest(board.oscillator_hz, clock_hz)
        m.submodules.oscillator = oscillator = io.Buffer(
            "i", platform.request(platform.default_clk, dir="-")
        )
        m.domains += ClockDomain("sync")
        feedback = Signal()
        clock = Signal()
        locked = Signal()
        m.submodules.pll = Instance(
            "MMCME2_BASE",
            p_CLKIN1_PERIOD=1e9 / plan.oscillator_hz,
            p_DIVCLK_DIVIDE=plan.input_divider,
            p_CLKFBOUT_MULT_F=float(plan.multiplier),
            p_CLKOUT0_DIVIDE_F=float(plan.output_divider),
            i_CLKIN1=oscillator.i,
            i_CLKFBIN=feedback,
            i_RST=Const(0),
            i_PWRDWN=Const(0),
            o_CLKFBOUT=feedback,
            o_CLKOUT0=clock,
            o_LOCKED=locked,
        )
        m.submodules.clock = Instance("BUFG", i_I=clock, o_O=ClockSignal("sync"))
        # Set from power-up on and while there is no lock.
        m.submodules.reset = FFSynchronizer(~locked, ResetSignal("sync"), init=1)
        return plan.hz

    def overrides(self, constraint_hz: int) -> dict[str, Any]:
        # Vivado derives the clock from the MMCM's settings. Its script writes a bitstream whether
        # timing is met or not; this stops it.
        return {"script_after_route": _STOP_IF_TIMING_IS_MISSED}

    def commands(self, board: Board, *, constraint_hz: int, seed: int) -> list[Step]:
        return []


_STOP_IF_TIMING_IS_MISSED = """\
phys_opt_design
set slack [get_property SLACK [get_timing_paths]]
if {$slack < 0} {
    report_timing_summary -max_paths 10 -file top_timing.rpt
    puts "ERROR: timing is missed by [expr {-$slack}] ns; build with a lower --clock"
    exit 1
}"""

#: Words of a RAMB18 by their width.
_SHAPES = {36: 512, 18: 1_024, 9: 2_048, 4: 4_096, 2: 8_192, 1: 16_384}

#: Words and bits of a RAM32M and a RAM64M, which take four LUTs each.
_SMALL = ((32, 6), (64, 3))


def _rule(words: int, bits: int, written: bool) -> tuple[str, int]:
    """What Vivado makes of a memory, as a plan: shallow ones are made of LUTs."""
    if words <= _SMALL[-1][0]:
        width = next(width for depth, width in _SMALL if words <= depth)
        return "distributed", -(-bits // width)
    return "block", min(-(-bits // width) * -(-words // depth) for width, depth in _SHAPES.items())


SERIES7 = _Series7()
