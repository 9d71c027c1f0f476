"""What a board is, and what the family of its part has to know about building for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..firmware.config import Config, Region

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module, Value
    from amaranth.lib.wiring import PureInterface

    from .clocks import ClockPlan

__all__ = ["LARGE_RAM_BITS", "Board", "Family", "PlannedMemory", "Resources", "Step"]

#: Bits of one large RAM.
LARGE_RAM_BITS = 1 << 18


@dataclass(frozen=True)
class Resources:
    """What a part has, or what a design uses of it.

    Parameters
    ----------
    luts : int
        With 4 inputs; in 7 series parts with 6.
    ffs : int
    block_rams : int
        DP16KD, SB_RAM40_4K, BSRAM or RAMB18.
    large_rams : int
        SB_SPRAM256KA.
    carries : int
        Carry cells; the LUTs that they occupy are counted as LUTs too.
    distributed_rams : int
        Memories made of LUTs, whose LUTs are counted too.
    """

    luts: int = 0
    ffs: int = 0
    block_rams: int = 0
    large_rams: int = 0
    carries: int = 0
    distributed_rams: int = 0

    def __add__(self, other: Self) -> "Resources":
        return Resources(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, count: int) -> "Resources":
        return Resources(*(getattr(self, f.name) * count for f in fields(self)))

    @staticmethod
    def of(counts: Mapping[str, int], cells: "Mapping[str, Resources]") -> "Resources":
        """What cells take, given how many of each type there are; unknown types take nothing."""
        return sum((cells[kind] * n for kind, n in counts.items() if kind in cells), Resources())


@dataclass(frozen=True)
class PlannedMemory:
    """One memory of a design and what it is to be made of.

    Parameters
    ----------
    name : str
        Where it is in the design, such as ``core.layer_0.weights``.
    words, bits : int
        Of a word each.
    kind : str
        ``block``, ``large``, ``distributed`` or ``registers``.
    blocks : int
        Memories of this kind that it takes; 0 for registers.
    """

    name: str
    words: int
    bits: int
    kind: str
    blocks: int


@dataclass(frozen=True)
class Step:
    """One run of a tool.

    Parameters
    ----------
    stage : str
        ``synthesise``, ``place_and_route`` or ``pack``.
    tool : str
        Its native name, such as ``nextpnr-ecp5``.
    arguments : tuple of str
        File names are relative to the build folder, so that results do not depend on where it is.
    log : str
        File for what the tool says.
    """

    stage: str
    tool: str
    arguments: tuple[str, ...]
    log: str


class Family(Protocol):
    """Everything that the parts of one family have in common.

    Attributes
    ----------
    name : str
        Such as ``ecp5``.
    block_ram_bits : int
        Bits of one block RAM.
    lut_bits : int
        Bits that a LUT can hold as memory, at most.
    cells : mapping
        What one cell takes, by its type, both in Yosys's netlists and in nextpnr's reports.
    memory_cells : mapping
        Kind of memory (see :class:`PlannedMemory`) by type of cell in Yosys's netlists.
    bitstream : str
        File that the last step writes.
    clock_plan : type
        Its PLL's settings.
    """

    name: str
    block_ram_bits: int
    lut_bits: int
    cells: Mapping[str, Resources]
    memory_cells: Mapping[str, str]
    bitstream: str
    clock_plan: "type[ClockPlan]"

    def memories(self, region: Region) -> Any:
        """Make the weight memory of a region, as
        :class:`~firstspike.hdl.weight_memory.WeightMemory` does."""

    def fetch_cycles(self, region: Region) -> int:
        """Cycles in which that memory reads a word."""

    def memory_plan(self, config: Config) -> list[PlannedMemory]:
        """Every memory of the design."""

    def nearest_clock(self, board: "Board", clock_hz: int) -> int:
        """The exact frequency nearest to ``clock_hz`` that the clock plan reaches.

        Raises
        ------
        BuildError
            If it is out of range.
        """
        return self.clock_plan.nearest(board.oscillator_hz, clock_hz).hz

    def clock(self, m: "Module", platform: "Platform", board: "Board", clock_hz: int) -> int:
        """Make the domain ``sync`` with PLL and reset; return its exact frequency."""

    def overrides(self, constraint_hz: int) -> dict[str, Any]:
        """Keyword arguments for ``platform.prepare``, where a constraint has to go in there."""

    def commands(self, board: "Board", *, constraint_hz: int, seed: int) -> list[Step]:
        """The steps from the files that ``platform.prepare`` gives to a bitstream.

        The design is called ``top``: the first step reads ``top.il`` and writes ``top.json``, the
        second writes nextpnr's report to ``report.json``. No steps mean that the vendor's tools
        have to do all that; the build is then a folder with files for them.
        """


@dataclass(frozen=True)
class Board:
    """A board that bitstreams are built for.

    Parameters
    ----------
    name : str
        On the command line.
    title, vendor_url : str
    part : str
        The whole part number.
    resources : Resources
        What the part has.
    family : Family
    platform : callable
        Makes a new Amaranth platform.
    oscillator_hz : int
        What the clock plan starts from.
    clock_hz, baud, lanes : int
        Defaults: clock of the core, rate of the line, lanes of the first layer.
    later_lanes : int
        Default: the most lanes of each layer after the first.
    buffer_bytes : int, optional
        Default receive buffer, for parts where memory is scarce.
    program : tuple of str
        Arguments that tell openFPGALoader the board; none if it does not know it.
    pins : callable
        ``pins(m, platform)`` requests the serial line and returns ``(rx, tx)``; it may connect
        other pins that need a level.
    flash : callable, optional
        ``flash(m, platform, lines)`` connects the flash that the part is configured from to
        :class:`~firstspike.hdl.flash_reader.SpiPins`.
    """

    name: str
    title: str
    vendor_url: str
    part: str
    resources: Resources
    family: Family
    platform: "Callable[[], Platform]"
    oscillator_hz: int
    clock_hz: int
    baud: int
    lanes: int
    program: tuple[str, ...]
    pins: "Callable[[Module, Platform], tuple[Value, Value]]"
    later_lanes: int = 10
    buffer_bytes: int | None = None
    flash: "Callable[[Module, Platform, PureInterface], None] | None" = None
