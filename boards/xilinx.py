"""Xilinx 7 series: clock plan, memories, and a project for Vivado.

No open tools place and route these parts well, so there are no steps: the build is a folder with
Verilog, constraints and a script that makes Vivado do the rest.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from ..firmware.config import Config, Region
from .board import Board, Family, PlannedMemory, Resources, Step
from .clocks import DividedVco, buffered_oscillator, check_reach, make_domain
from .memories import SHAPES_OF_18K, fewest_blocks, plan

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module

__all__ = ["SERIES7", "XC7A100T", "ClockPlan"]

XC7A100T = Resources(luts=63_400, ffs=126_800, block_rams=270)

#: Limits of the MMCM, in Hz, from the data sheet of the Artix-7, speed grade 1.
_MIN_PHASE_DETECTOR = 10_000_000
_VCO = (600_000_000, 1_200_000_000)
_OUTPUT = (4_690_000, 800_000_000)
_MAX_INPUT_DIVIDER = 106
_MAX_MULTIPLIER = 64
_MAX_OUTPUT_DIVIDER = 128

#: Words and bits of a RAM32M and a RAM64M, which take four LUTs each.
_SMALL = ((32, 6), (64, 3))

#: Types of memories that are made of LUTs, and how many.
_LUT_RAMS = {"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32M": 4, "RAM64M": 4}

_STOP_IF_TIMING_IS_MISSED = """\
phys_opt_design
set slack [get_property SLACK [get_timing_paths]]
if {$slack < 0} {
    report_timing_summary -max_paths 10 -file top_timing.rpt
    puts "ERROR: timing is missed by [expr {-$slack}] ns; build with a lower --clock"
    exit 1
}"""


class ClockPlan(DividedVco):
    """Settings of an MMCME2."""

    @classmethod
    def nearest(cls, oscillator_hz: int, clock_hz: int) -> Self:
        """The plan nearest to ``clock_hz``, and of several the one with the fastest phase detector.

        Raises
        ------
        BuildError
            If the clock is out of the MMCM's range.
        """
        check_reach(clock_hz, _OUTPUT, "the MMCM of a 7 series part")
        dividers = min(oscillator_hz // _MIN_PHASE_DETECTOR, _MAX_INPUT_DIVIDER)
        plans = cls.within(
            _VCO,
            oscillator_hz,
            clock_hz,
            input_dividers=range(1, dividers + 1),
            multipliers=range(2, _MAX_MULTIPLIER + 1),
            max_output_divider=_MAX_OUTPUT_DIVIDER,
        )
        return min(
            plans,
            key=lambda plan: (plan.error_hz(clock_hz), plan.input_divider, -plan.vco_hz),
        )


def _rule(words: int, bits: int, written: bool) -> tuple[str, int]:
    """What Vivado makes of a memory: shallow ones are made of LUTs."""
    if written and words <= _SMALL[-1][0]:
        width = next(width for depth, width in _SMALL if words <= depth)
        return "distributed", -(-bits // width)
    return "block", fewest_blocks(words, bits, SHAPES_OF_18K)


class _Series7(Family):
    """The family."""

    name = "xilinx"
    block_ram_bits = 18_432
    lut_bits = 64
    cells: Mapping[str, Resources] = {
        **{f"LUT{inputs}": Resources(luts=1) for inputs in range(1, 7)},
        **{name: Resources(ffs=1) for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
        "CARRY4": Resources(carries=1),
        "RAMB18E1": Resources(block_rams=1),
        "RAMB36E1": Resources(block_rams=2),
        **{name: Resources(luts=luts, distributed_rams=1) for name, luts in _LUT_RAMS.items()},
    }
    memory_cells: Mapping[str, str] = {
        **dict.fromkeys(("RAMB18E1", "RAMB36E1"), "block"),
        **dict.fromkeys(_LUT_RAMS, "distributed"),
    }
    bitstream = "top.bit"
    clock_plan = ClockPlan

    def memories(self, region: Region) -> Any:
        from ..hdl.weight_memory import WeightMemory

        return WeightMemory(region, style="block")

    def fetch_cycles(self, region: Region) -> int:
        return 2

    def memory_plan(self, config: Config) -> list[PlannedMemory]:
        return plan(config, self.memories, _rule, {})

    def clock(self, m: "Module", platform: "Platform", board: Board, clock_hz: int) -> int:
        from amaranth.hdl import ClockSignal, Const, Instance, Signal

        settings = ClockPlan.nearest(board.oscillator_hz, clock_hz)
        oscillator = buffered_oscillator(m, platform)
        feedback = Signal()
        clock = Signal()
        locked = Signal()
        m.submodules.pll = Instance(
            "MMCME2_BASE",
            p_CLKIN1_PERIOD=1e9 / settings.oscillator_hz,
            p_DIVCLK_DIVIDE=settings.input_divider,
            p_CLKFBOUT_MULT_F=float(settings.multiplier),
            p_CLKOUT0_DIVIDE_F=float(settings.output_divider),
            i_CLKIN1=oscillator,
            i_CLKFBIN=feedback,
            i_RST=Const(0),
            i_PWRDWN=Const(0),
            o_CLKFBOUT=feedback,
            o_CLKOUT0=clock,
            o_LOCKED=locked,
        )
        m.submodules.clock = Instance("BUFG", i_I=clock, o_O=ClockSignal("sync"))
        make_domain(m, locked)
        return settings.hz

    def overrides(self, constraint_hz: int) -> dict[str, Any]:
        # Vivado derives the clock from the MMCM's settings. Its script writes a bitstream whether
        # timing is met or not; this stops it.
        return {"script_after_route": _STOP_IF_TIMING_IS_MISSED}

    def commands(self, board: Board, *, constraint_hz: int, seed: int) -> list[Step]:
        return []


SERIES7 = _Series7()
