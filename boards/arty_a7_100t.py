"""Arty A7-100T: Digilent, USB serial by an FT2232H."""

from typing import TYPE_CHECKING

from .board import Board
from .pins import serial_line
from .xilinx import SERIES7, XC7A100T

if TYPE_CHECKING:
    from amaranth.build import Platform

__all__ = ["BOARD"]


def _platform() -> "Platform":
    from amaranth_boards.arty_a7 import ArtyA7_100Platform

    class Platform(ArtyA7_100Platform):
        """With the part that the board has: no low-power grade."""

        device = "xc7a100t"
        speed = "1"

    return Platform()


BOARD = Board(
    name="arty-a7-100t",
    title="Arty A7-100T, Artix-7",
    vendor_url="https://digilent.com/reference/programmable-logic/arty-a7/start",
    part="xc7a100tcsg324-1",
    resources=XC7A100T,
    family=SERIES7,
    platform=_platform,
    oscillator_hz=100_000_000,
    clock_hz=80_000_000,
    baud=1_000_000,
    lanes=200,
    program=("--board", "arty_a7_100t"),
    pins=serial_line,
)
