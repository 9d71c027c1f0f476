"""Gowin Arora: clock plan, memories, and the way through Yosys, nextpnr and Apicula."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from ..firmware.config import Config, Region
from .board import Board, Family, PlannedMemory, Resources, Step
from .clocks import buffered_oscillator, check_reach, make_domain
from .memories import SHAPES_OF_18K, fewest_blocks, plan
from .steps import place_and_route, synthesise

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module

__all__ = ["GOWIN", "GW2A_18", "ClockPlan"]

GW2A_18 = Resources(luts=20_736, ffs=15_552, block_rams=46)

#: Limits of the PLL, in Hz, from the data sheet of the GW2A, grade C8/I7.
_MIN_PHASE_DETECTOR = 3_000_000
_VCO = (500_000_000, 1_250_000_000)
_OUTPUT = (3_906_250, 625_000_000)
_MAX_DIVIDER = 64
_OUTPUT_DIVIDERS = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)

#: Words and bits of a RAM16SDP4.
_SMALL = (16, 4)

#: What Yosys counts for a block RAM and for a RAM16SDP4.
_BLOCK_COST, _SMALL_COST = 128, 4

_BLOCK_RAMS = ("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B", "pROM", "pROMX9")

_SYNTHESIS = "synth_gowin -family gw2a -top top -json top.json"

#: Names of the weight memories of all layers but the first.
_LATER_WEIGHTS = re.compile(r"layer_[1-9]\d*\.weights")


@dataclass(frozen=True)
class ClockPlan:
    """Settings of an rPLL that is fed back inside.

    The phase detector runs at ``oscillator_hz / input_divider``, the clock at ``multiplier`` times
    that, and the VCO at ``output_divider`` times the clock.
    """

    oscillator_hz: int
    input_divider: int
    multiplier: int
    output_divider: int

    @property
    def hz(self) -> int:
        """Frequency of the clock."""
        return round(self.oscillator_hz * self.multiplier / self.input_divider)

    @classmethod
    def nearest(cls, oscillator_hz: int, clock_hz: int) -> Self:
        """The plan nearest to ``clock_hz``, and of several the one with the fastest phase detector.

        Raises
        ------
        BuildError
            If the clock is out of the PLL's range.
        """
        check_reach(clock_hz, _OUTPUT, "the PLL of a GW2A")
        plans = []
        for divider in range(1, min(oscillator_hz // _MIN_PHASE_DETECTOR, _MAX_DIVIDER) + 1):
            multiplier = round(clock_hz * divider / oscillator_hz)
            hz = oscillator_hz * multiplier / divider
            vcos = [(hz * output, output) for output in _OUTPUT_DIVIDERS]
            vcos = [entry for entry in vcos if _VCO[0] <= entry[0] <= _VCO[1]]
            if vcos and 1 <= multiplier <= _MAX_DIVIDER and _OUTPUT[0] <= hz <= _OUTPUT[1]:
                plan = cls(oscillator_hz, divider, multiplier, min(vcos)[1])
                plans.append((abs(hz - clock_hz), divider, plan))
        return min(plans, key=lambda entry: entry[:2])[-1]


def _family(board: Board) -> str:
    """The die, as Apicula calls it."""
    return board.platform().family


def _distributed(words: int, bits: int) -> int:
    """RAM16SDP4 that a memory takes."""
    return -(-words // _SMALL[0]) * -(-bits // _SMALL[1])


def _rule(words: int, bits: int, written: bool) -> tuple[str, int]:
    """What Yosys makes of a memory: whichever has the lower cost."""
    blocks = fewest_blocks(words, bits, SHAPES_OF_18K)
    small = _distributed(words, bits)
    if written and small * _SMALL_COST < blocks * _BLOCK_COST:
        return "distributed", small
    return "block", blocks


class _Gowin(Family):
    """The family."""

    name = "gowin"
    block_ram_bits = 18_432
    lut_bits = 16
    cells: Mapping[str, Resources] = {
        # Yosys
        **{f"LUT{inputs}": Resources(luts=1) for inputs in (1, 2, 3, 4)},
        "ALU": Resources(luts=1, carries=1),
        **{f"RAM16SDP{width}": Resources(luts=width, distributed_rams=1) for width in (1, 2, 4)},
        **{
            f"DFF{edge}{kind}": Resources(ffs=1)
            for edge in ("", "N")
            for kind in ("", "E", "S", "SE", "R", "RE", "P", "PE", "C", "CE")
        },
        **dict.fromkeys(_BLOCK_RAMS, Resources(block_rams=1)),
        # nextpnr; some types have the same names
        "BSRAM": Resources(block_rams=1),
    }
    memory_cells: Mapping[str, str] = {
        **dict.fromkeys(_BLOCK_RAMS, "block"),
        **dict.fromkeys(("RAM16SDP1", "RAM16SDP2", "RAM16SDP4"), "distributed"),
    }
    bitstream = "top.fs"
    clock_plan = ClockPlan

    def memories(self, region: Region) -> Any:
        from ..hdl.weight_memory import WeightMemory

        # Block RAM is what limits the network: layer 0 has it, others are few words.
        return WeightMemory(region, style=None if region.name == "weights_0" else "distributed")

    def fetch_cycles(self, region: Region) -> int:
        return 2

    def memory_plan(self, config: Config) -> list[PlannedMemory]:
        return [
            replace(memory, kind="distributed", blocks=_distributed(memory.words, memory.bits))
            if _LATER_WEIGHTS.search(memory.name)
            else memory
            for memory in plan(config, self.memories, _rule, {})
        ]

    def clock(self, m: "Module", platform: "Platform", board: Board, clock_hz: int) -> int:
        from amaranth.hdl import ClockSignal, Const, Instance, Signal

        settings = ClockPlan.nearest(board.oscillator_hz, clock_hz)
        oscillator = buffered_oscillator(m, platform)
        locked = Signal()
        m.submodules.pll = Instance(
            "rPLL",
            p_DEVICE=_family(board),
            p_FCLKIN=f"{settings.oscillator_hz / 1e6:g}",
            p_IDIV_SEL=settings.input_divider - 1,
            p_FBDIV_SEL=settings.multiplier - 1,
            p_ODIV_SEL=settings.output_divider,
            p_DYN_IDIV_SEL="false",
            p_DYN_FBDIV_SEL="false",
            p_DYN_ODIV_SEL="false",
            p_DYN_DA_EN="false",
            p_PSDA_SEL="0000",
            p_DUTYDA_SEL="1000",
            p_CLKOUT_FT_DIR=Const(1, 1),
            p_CLKOUTP_FT_DIR=Const(1, 1),
            p_CLKOUT_DLY_STEP=0,
            p_CLKOUTP_DLY_STEP=0,
            p_CLKFB_SEL="internal",
            p_CLKOUT_BYPASS="false",
            p_CLKOUTP_BYPASS="false",
            p_CLKOUTD_BYPASS="false",
            p_DYN_SDIV_SEL=2,
            p_CLKOUTD_SRC="CLKOUT",
            p_CLKOUTD3_SRC="CLKOUT",
            i_CLKIN=oscillator,
            i_CLKFB=Const(0),
            i_RESET=Const(0),
            i_RESET_P=Const(0),
            i_FBDSEL=Const(0, 6),
            i_IDSEL=Const(0, 6),
            i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4),
            i_DUTYDA=Const(0, 4),
            i_FDLY=Const(0, 4),
            o_CLKOUT=ClockSignal("sync"),
            o_LOCK=locked,
        )
        make_domain(m, locked)
        return settings.hz

    def overrides(self, constraint_hz: int) -> dict[str, Any]:
        return {}  # nextpnr takes the constraint as an argument

    def commands(self, board: Board, *, constraint_hz: int, seed: int) -> list[Step]:
        return [
            synthesise(_SYNTHESIS),
            place_and_route(
                "nextpnr-himbaechel-gowin",
                (
                    *("--device", board.part, "--vopt", f"family={_family(board)}"),
                    *("--json", "top.json", "--vopt", "cst=top.cst", "--write", "top.pnr.json"),
                ),
                constraint_hz=constraint_hz,
                seed=seed,
            ),
            Step(
                "pack",
                "gowin_pack",
                ("-d", _family(board), "-o", self.bitstream, "top.pnr.json"),
                "gowin_pack.log",
            ),
        ]


GOWIN = _Gowin()
