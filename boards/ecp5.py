"""Lattice ECP5: clock plan, memories, and the way through Yosys, nextpnr and Trellis."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from ..firmware.config import Config, Region
from .board import Board, Family, PlannedMemory, Resources, Step
from .clocks import CLOCK_NET, DividedVco, buffered_oscillator, check_reach, make_domain
from .memories import SHAPES_OF_18K, fewest_blocks, plan
from .steps import place_and_route, synthesise

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module

__all__ = ["ECP5", "LFE5U_25F", "LFE5U_85F", "ClockPlan"]

LFE5U_25F = Resources(luts=24_288, ffs=24_288, block_rams=56)
LFE5U_85F = Resources(luts=83_640, ffs=83_640, block_rams=208)

#: Limits of the PLL, in Hz, from the family's data sheet.
_MIN_PHASE_DETECTOR = 10_000_000
_VCO = (400_000_000, 800_000_000)
_OUTPUT = (3_125_000, 400_000_000)
_MAX_DIVIDER = 128
_MIDDLE_OF_VCO = sum(_VCO) // 2

#: A TRELLIS_DPR16X4, and Yosys's measure of what it and a block RAM cost.
_CELL_WORDS, _CELL_BITS = 16, 4
_CELL_COST, _BLOCK_COST = 4, 128

#: What every clock has in common; the loop filter is as Trellis's own calculator sets it.
_PLL = {
    "a_ICP_CURRENT": "12",
    "a_LPF_RESISTOR": "8",
    "a_MFG_ENABLE_FILTEROPAMP": "1",
    "a_MFG_GMCREF_SEL": "2",
    **dict.fromkeys(
        ("p_PLLRST_ENA", "p_INTFB_WAKE", "p_STDBY_ENABLE", "p_DPHASE_SOURCE"), "DISABLED"
    ),
    **{f"p_OUTDIVIDER_MUX{output}": f"DIV{output}" for output in "ABCD"},
}

#: Yosys flattens the design first, since version 0.70 fails an assertion (abc9) on some designs
#: otherwise.
_SYNTHESIS = "flatten; synth_ecp5 -top top -json top.json"


class ClockPlan(DividedVco):
    """Settings of an EHXPLLL that is fed back through its output CLKOP and used at CLKOS."""

    @classmethod
    def nearest(cls, oscillator_hz: int, clock_hz: int) -> Self:
        """The plan nearest to ``clock_hz``, and of several the one nearest to the VCO's middle.

        Raises
        ------
        BuildError
            If the clock is out of the PLL's range.
        """
        check_reach(clock_hz, _OUTPUT, "the PLL of an ECP5")
        plans = cls.within(
            _VCO,
            oscillator_hz,
            clock_hz,
            input_dividers=range(1, oscillator_hz // _MIN_PHASE_DETECTOR + 1),
            multipliers=range(1, _MAX_DIVIDER + 1),
            max_output_divider=_MAX_DIVIDER,
        )
        return min(
            plans,
            key=lambda plan: (
                plan.error_hz(clock_hz),
                abs(plan.vco_hz - _MIDDLE_OF_VCO),
                plan.input_divider,
            ),
        )


def _rule(words: int, bits: int, written: bool = True) -> tuple[str, int]:
    """What Yosys makes a memory of: whichever has the lower cost by its tables."""
    blocks = fewest_blocks(words, bits, SHAPES_OF_18K)
    layers = -(-words // _CELL_WORDS)
    distributed = layers * -(-bits // _CELL_BITS)
    cost = _CELL_COST * distributed + (layers - 1) * bits / 2
    if written and cost < _BLOCK_COST * blocks:
        return "distributed", distributed
    return "block", blocks


class _Ecp5(Family):
    """The family."""

    name = "ecp5"
    block_ram_bits = 18_432
    lut_bits = 16
    cells: Mapping[str, Resources] = {
        # Yosys
        "LUT4": Resources(luts=1),
        "CCU2C": Resources(luts=2, carries=1),
        "TRELLIS_DPR16X4": Resources(luts=4, distributed_rams=1),
        "TRELLIS_FF": Resources(ffs=1),
        "DP16KD": Resources(block_rams=1),
        # nextpnr
        "TRELLIS_COMB": Resources(luts=1),
        "TRELLIS_RAMW": Resources(distributed_rams=1),
    }
    memory_cells: Mapping[str, str] = {"DP16KD": "block", "TRELLIS_DPR16X4": "distributed"}
    bitstream = "top.bit"
    clock_plan = ClockPlan

    def memories(self, region: Region) -> Any:
        from ..hdl.weight_memory import WeightMemory
        from .ecp5_memory import PackedMemory

        kind, _ = _rule(region.words, region.lanes * region.bits)
        return PackedMemory(region) if kind == "block" else WeightMemory(region)

    def fetch_cycles(self, region: Region) -> int:
        from .ecp5_memory import Packing

        words, bits = region.words, region.lanes * region.bits
        kind, _ = _rule(words, bits)
        return Packing.best(words, bits).latency if kind == "block" else 2

    def memory_plan(self, config: Config) -> list[PlannedMemory]:
        return plan(config, self.memories, _rule, {"DP16KD": "block"})

    def clock(self, m: "Module", platform: "Platform", board: Board, clock_hz: int) -> int:
        from amaranth.hdl import ClockSignal, Const, Instance, Signal

        settings = ClockPlan.nearest(board.oscillator_hz, clock_hz)
        oscillator = buffered_oscillator(m, platform)
        clock = Signal(name=CLOCK_NET, attrs={"keep": 1})
        feedback = Signal()
        locked = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            **_PLL,
            p_CLKI_DIV=settings.input_divider,
            p_FEEDBK_PATH="CLKOP",
            p_CLKFB_DIV=1,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=settings.multiplier,
            p_CLKOP_CPHASE=settings.multiplier - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=settings.output_divider,
            p_CLKOS_CPHASE=settings.output_divider - 1,
            p_CLKOS_FPHASE=0,
            i_CLKI=oscillator,
            i_CLKFB=feedback,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=feedback,
            o_CLKOS=clock,
            o_LOCK=locked,
        )
        m.d.comb += ClockSignal("sync").eq(clock)
        make_domain(m, locked)
        return settings.hz

    def overrides(self, constraint_hz: int) -> dict[str, Any]:
        # Otherwise nextpnr derives the PLL's frequency from the oscillator's.
        return {"add_preferences": f'FREQUENCY NET "{CLOCK_NET}" {constraint_hz} HZ;'}

    def commands(self, board: Board, *, constraint_hz: int, seed: int) -> list[Step]:
        size = board.part.split("-")[1].removesuffix("F")
        return [
            synthesise(_SYNTHESIS),
            place_and_route(
                "nextpnr-ecp5",
                (
                    *(f"--{size}k", "--package", "CABGA381", "--speed", "6"),
                    *("--json", "top.json", "--lpf", "top.lpf", "--textcfg", "top.config"),
                ),
                constraint_hz=constraint_hz,
                seed=seed,
            ),
            Step(
                "pack",
                "ecppack",
                ("--compress", "--input", "top.config", "--bit", self.bitstream),
                "ecppack.log",
            ),
        ]


ECP5 = _Ecp5()
