"""Tang Primer 20K on its Dock board: Sipeed, USB serial by a BL702."""

from typing import TYPE_CHECKING

from .board import Board
from .gowin import GOWIN, GW2A_18
from .pins import serial_line

if TYPE_CHECKING:
    from amaranth.build import Platform

__all__ = ["BOARD"]


def _platform() -> "Platform":
    from amaranth_boards.tang_primer_20k import TangPrimer20kDockPlatform

    return TangPrimer20kDockPlatform(toolchain="Apicula")


BOARD = Board(
    name="tang-primer-20k",
    title="Tang Primer 20K with Dock, Gowin GW2A-18",
    vendor_url="https://wiki.sipeed.com/hardware/en/tang/tang-primer-20k/primer-20k.html",
    part="GW2A-LV18PG256C8/I7",
    resources=GW2A_18,
    family=GOWIN,
    platform=_platform,
    oscillator_hz=27_000_000,
    clock_hz=81_000_000,
    baud=1_000_000,
    lanes=43,
    program=("--board", "tangprimer20k"),
    pins=serial_line,
)
