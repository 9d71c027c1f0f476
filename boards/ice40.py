"""Lattice iCE40 UltraPlus: clock plan, memories, and the way through Yosys, nextpnr, IceStorm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..firmware.config import Config, Region
from .board import Board, Family, PlannedMemory, Resources, Step
from .clocks import CLOCK_NET, check_reach
from .memories import fewest_blocks, plan
from .steps import place_and_route, synthesise

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module

__all__ = ["ICE40", "ICE40UP5K", "ClockPlan"]

ICE40UP5K = Resources(luts=5_280, ffs=5_280, block_rams=30, large_rams=4)

#: Limits of the PLL, in Hz, from the family's data sheet.
_VCO = (533_000_000, 1_066_000_000)
_OUTPUT = (16_000_000, 275_000_000)
_MAX_MULTIPLIER = 128
_OUTPUT_SHIFTS = range(1, 7)

#: The loop filter: its range goes up by one with each of these frequencies of the phase detector.
_FILTER_RANGES = (17_000_000, 26_000_000, 44_000_000, 66_000_000, 101_000_000)

#: Block RAM reads as zeros for 3 µs after the configuration has been loaded.
_RESET_SECONDS = 15e-6

#: Words of a block RAM by their width.
_SHAPES = {16: 256, 8: 512, 4: 1_024, 2: 2_048}

#: Yosys makes registers of a memory that has fewer bits for each block RAM that it would take.
_LEAST_BITS = 64

_SYNTHESIS = "synth_ice40 -device u -top top -json top.json"


@dataclass(frozen=True)
class ClockPlan:
    """Settings of an SB_PLL40.

    The phase detector runs at ``oscillator_hz``, the VCO at ``multiplier`` times that, and the
    clock at the VCO's frequency divided by ``2**output_shift``.
    """

    oscillator_hz: int
    multiplier: int
    output_shift: int

    @property
    def hz(self) -> int:
        """Frequency of the clock."""
        return self.oscillator_hz * self.multiplier >> self.output_shift

    @property
    def filter_range(self) -> int:
        """Setting of the loop filter."""
        return 1 + sum(self.oscillator_hz >= limit for limit in _FILTER_RANGES)

    @classmethod
    def nearest(cls, oscillator_hz: int, clock_hz: int) -> Self:
        """The plan nearest to ``clock_hz``.

        Raises
        ------
        BuildError
            If the clock is out of the PLL's range.
        """
        check_reach(clock_hz, _OUTPUT, "the PLL of an iCE40")
        plans = [
            cls(oscillator_hz, multiplier, shift)
            for multiplier in range(1, _MAX_MULTIPLIER + 1)
            if _VCO[0] <= oscillator_hz * multiplier <= _VCO[1]
            for shift in _OUTPUT_SHIFTS
        ]
        plans = [plan for plan in plans if _OUTPUT[0] <= plan.hz <= _OUTPUT[1]]
        return min(plans, key=lambda plan: abs(plan.hz - clock_hz))


def _rule(words: int, bits: int, written: bool) -> tuple[str, int]:
    """What Yosys makes of a memory: block RAM unless it is tiny."""
    blocks = fewest_blocks(words, bits, _SHAPES)
    return ("block", blocks) if words * bits >= _LEAST_BITS * blocks else ("registers", 0)


class _Ice40(Family):
    """The family."""

    name = "ice40"
    block_ram_bits = 4_096
    lut_bits = 0
    cells: Mapping[str, Resources] = {
        # Yosys
        "SB_LUT4": Resources(luts=1),
        "SB_CARRY": Resources(carries=1),
        **{
            f"SB_DFF{edge}{enable}{reset}": Resources(ffs=1)
            for edge in ("", "N")
            for enable in ("", "E")
            for reset in ("", "R", "S", "SR", "SS")
        },
        "SB_RAM40_4K": Resources(block_rams=1),
        "SB_SPRAM256KA": Resources(large_rams=1),
        # nextpnr: a logic cell has one LUT and one flip-flop
        "ICESTORM_LC": Resources(luts=1),
        "ICESTORM_RAM": Resources(block_rams=1),
        "ICESTORM_SPRAM": Resources(large_rams=1),
    }
    memory_cells: Mapping[str, str] = {"SB_RAM40_4K": "block", "SB_SPRAM256KA": "large"}
    bitstream = "top.bin"
    clock_plan = ClockPlan

    def memories(self, region: Region) -> Any:
        from ..hdl.weight_memory import WeightMemory
        from .ice40_memory import LargeMemory

        # All large RAMs are one memory: that of layer 0, which holds nearly all weights. They have
        # one port, so what learns is in block RAM.
        large = region.name == "weights_0" and not region.learns
        return (LargeMemory if large else WeightMemory)(region)

    def fetch_cycles(self, region: Region) -> int:
        return 2

    def memory_plan(self, config: Config) -> list[PlannedMemory]:
        return plan(config, self.memories, _rule, {"SB_SPRAM256KA": "large"})

    def clock(self, m: "Module", platform: "Platform", board: Board, clock_hz: int) -> int:
        from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, ResetSignal, Signal
        from amaranth.lib.cdc import FFSynchronizer

        settings = ClockPlan.nearest(board.oscillator_hz, clock_hz)
        oscillator = platform.request(platform.default_clk, dir="-")
        m.domains += ClockDomain("sync")
        m.domains += (start := ClockDomain("start", reset_less=True, local=True))
        locked = Signal()
        clock = Signal(name=CLOCK_NET, attrs={"keep": 1})
        # Its input is the pad beside it and its output a global network.
        m.submodules.pll = Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_PLLOUT_SELECT="GENCLK",
            p_DIVR=Const(0, 4),
            p_DIVF=Const(settings.multiplier - 1, 7),
            p_DIVQ=Const(settings.output_shift, 3),
            p_FILTER_RANGE=Const(settings.filter_range, 3),
            i_PACKAGEPIN=oscillator.io,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clock,
            o_LOCK=locked,
        )
        m.d.comb += [ClockSignal("sync").eq(clock), start.clk.eq(clock)]

        steady = Signal()
        m.submodules.steady = FFSynchronizer(locked, steady, o_domain="start")
        cycles = round(_RESET_SECONDS * settings.hz)
        timer = Signal(range(cycles + 1))
        running = Signal()
        with m.If(~steady):
            m.d.start += [timer.eq(0), running.eq(0)]
        with m.Elif(timer == cycles):
            m.d.start += running.eq(1)
        with m.Else():
            m.d.start += timer.eq(timer + 1)
        m.d.comb += ResetSignal("sync").eq(~running)
        return settings.hz

    def overrides(self, constraint_hz: int) -> dict[str, Any]:
        # Otherwise nextpnr derives the PLL's frequency from the oscillator's.
        return {"add_constraints": f"set_frequency {CLOCK_NET} {constraint_hz / 1e6:g}"}

    def commands(self, board: Board, *, constraint_hz: int, seed: int) -> list[Step]:
        device, package = board.part.split("-")
        return [
            synthesise(_SYNTHESIS),
            place_and_route(
                "nextpnr-ice40",
                (
                    *(f"--{device.removeprefix('iCE40').lower()}", "--package", package.lower()),
                    *("--json", "top.json", "--pcf", "top.pcf", "--asc", "top.asc"),
                ),
                constraint_hz=constraint_hz,
                seed=seed,
            ),
            Step("pack", "icepack", ("top.asc", self.bitstream), "icepack.log"),
        ]


ICE40 = _Ice40()
