"""Lattice ECP5: clock plan, memories, and the way through Yosys, nextpnr and Trellis."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..firmware.config import Config, Region
from .board import Board, PlannedMemory, Resources, Step
from .clocks import check_reach
from .memories import plan

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module

__all__ = ["ECP5", "LFE5U_25F", "LFE5U_85F", "ClockPlan"]

LFE5U_25F = Resources(luts=24_288, ffs=24_288, block_rams=56)
LFE5U_85F = Resources(luts=83_640, ffs=83_640, block_rams=208)

#: Limits of the PLL, in Hz, from the family's data sheet.
_PHASE_DETECTOR = (10_000_000, 400_000_000)
_VCO = (400_000_000, 800_000_000)
_OUTPUT = (3_125_000, 400_000_000)
_MAX_DIVIDER = 128
_MIDDLE_OF_VCO = sum(_VCO) // 2

#: A TRELLIS_DPR16X4, and Yosys's measure of what it and a block RAM cost.
_CELL_WORDS, _CELL_BITS = 16, 4
_CELL_COST, _BLOCK_COST = 4, 128

#: Yosys keeps one of the many names of the clock: this one, which the constraint uses.
_CLOCK = "core_clock"

#: No memory of the design is read at the address that is being written, or what is read then is not
#: used. Yosys does not know that and would build a bypass around each. It flattens the design
#: first, since version 0.70 fails an assertion (abc9) on some designs otherwise.
_SYNTHESIS = (
    "read_rtlil top.il; "
    "setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:TRANSPARENCY_MASK=1'0 %i; "
    "flatten; synth_ecp5 -top top -json top.json"
)


@dataclass(frozen=True)
class ClockPlan:
    """Settings of an EHXPLLL that is fed back through its output CLKOP and used at CLKOS.

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
        """The plan nearest to ``clock_hz``, and of several the one nearest to the VCO's middle.

        Raises
        ------
        BuildError
            If the clock is out of the PLL's range.
        """
        check_reach(clock_hz, _OUTPUT, "the PLL of an ECP5")
        plans = []
        for divider in range(1, oscillator_hz // _PHASE_DETECTOR[0] + 1):
            detector = oscillator_hz / divider
            low, high = (int(limit // detector) for limit in _VCO)
            for multiplier in range(max(low, 1), min(high, _MAX_DIVIDER) + 1):
                vco = detector * multiplier
                if _VCO[0] <= vco <= _VCO[1]:
                    output = min(max(round(vco / clock_hz), 1), _MAX_DIVIDER)
                    error = abs(vco / output - clock_hz)
                    plan = cls(oscillator_hz, divider, multiplier, output)
                    plans.append((error, abs(vco - _MIDDLE_OF_VCO), divider, plan))
        return min(plans, key=lambda entry: entry[:3])[-1]


def _choose(words: int, bits: int, writable: bool = True) -> tuple[str, int]:
    """What Yosys makes a memory of: whichever has the lower cost by its tables."""
    blocks = min(
        -(-words // depth) * -(-bits // width)
        for width, depth in ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
    )
    layers = -(-words // _CELL_WORDS)
    distributed = layers * -(-bits // _CELL_BITS)
    cost = _CELL_COST * distributed + (layers - 1) * bits / 2
    if writable and cost < _BLOCK_COST * blocks:
        return "distributed", distributed
    return "block", blocks


class _Ecp5:
    """The family; see :class:`~firstspike.boards.board.Family`."""

    name = "ecp5"
    block_ram_bits = 18_432
    cells: Mapping[str, Resources] = {
        # Yosys
        "LUT4": Resources(luts=1),
        "CCU2C": Resources(luts=2, carries=1),
        "TRELLIS_DPR16X4": Resources(luts=4, distributed_rams=1),
        "TRELLIS_FF": Resources(ffs=1),
        "DP16KD": Resources(block_rams=1),
        "PDPW16KD": Resources(block_rams=1),
        # nextpnr
        "TRELLIS_COMB": Resources(luts=1),
        "TRELLIS_RAMW": Resources(distributed_rams=1),
    }
    memory_cells: Mapping[str, str] = {
        "DP16KD": "block",
        "PDPW16KD": "block",
        "TRELLIS_DPR16X4": "distributed",
    }
    bitstream = "top.bit"

    def memories(self, region: Region) -> Any:
        from ..hdl.weight_memory import WeightMemory
        from .ecp5_memory import PackedMemory

        kind, _ = _choose(region.words, region.lanes * region.bits)
        return PackedMemory(region) if kind == "block" else WeightMemory(region)

    def fetch_cycles(self, region: Region) -> int:
        from .ecp5_memory import Packing

        words, bits = region.words, region.lanes * region.bits
        kind, _ = _choose(words, bits)
        # With several banks there is a register behind the choice among them.
        return 3 if kind == "block" and Packing.best(words, bits).banks > 1 else 2

    def memory_plan(self, config: Config) -> list[PlannedMemory]:
        return plan(config, self.memories, _choose, {"DP16KD": "block"})

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
        clock = Signal(name=_CLOCK, attrs={"keep": 1})
        feedback = Signal()
        locked = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            # The loop filter, as Trellis's own calculator sets it.
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=plan.input_divider,
            p_FEEDBK_PATH="CLKOP",
            p_CLKFB_DIV=1,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=plan.multiplier,
            p_CLKOP_CPHASE=plan.multiplier - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=plan.output_divider,
            p_CLKOS_CPHASE=plan.output_divider - 1,
            p_CLKOS_FPHASE=0,
            i_CLKI=oscillator.i,
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
        # Set from power-up on and while there is no lock.
        m.submodules.reset = FFSynchronizer(~locked, ResetSignal("sync"), init=1)
        return plan.hz

    def overrides(self, constraint_hz: int) -> dict[str, Any]:
        # Otherwise nextpnr derives the PLL's frequency from the oscillator's.
        return {"add_preferences": f'FREQUENCY NET "{_CLOCK}" {constraint_hz} HZ;'}

    def commands(self, board: Board, *, constraint_hz: int, seed: int) -> list[Step]:
        size = board.part.split("-")[1].removesuffix("F")
        return [
            Step(
                "synthesise",
                "yosys",
                ("-p", _SYNTHESIS),
                "yosys.log",
            ),
            Step(
                "place_and_route",
                "nextpnr-ecp5",
                (
                    *(f"--{size}k", "--package", "CABGA381", "--speed", "6"),
                    *("--json", "top.json", "--lpf", "top.lpf", "--textcfg", "top.config"),
                    *("--freq", f"{constraint_hz / 1e6:g}", "--seed", str(seed)),
                    *("--timing-allow-fail", "--report", "report.json"),
                ),
                "nextpnr.log",
            ),
            Step(
                "pack",
                "ecppack",
                ("--compress", "--input", "top.config", "--bit", self.bitstream),
                "ecppack.log",
            ),
        ]


ECP5 = _Ecp5()
