"""iCEBreaker: open hardware by 1BitSquared, USB serial by an FT2232H."""

from typing import TYPE_CHECKING

from .board import Board
from .ice40 import ICE40, ICE40UP5K
from .pins import serial_line, spi_flash

if TYPE_CHECKING:
    from amaranth.build import Platform

__all__ = ["BOARD"]


def _platform() -> "Platform":
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    return ICEBreakerPlatform()


BOARD = Board(
    name="icebreaker",
    title="iCEBreaker, iCE40 UP5K",
    vendor_url="https://1bitsquared.com/products/icebreaker",
    part="iCE40UP5K-SG48",
    resources=ICE40UP5K,
    family=ICE40,
    platform=_platform,
    oscillator_hz=12_000_000,
    clock_hz=21_000_000,
    baud=1_000_000,
    lanes=8,
    later_lanes=5,
    program=("--board", "ice40_generic"),
    pins=serial_line,
    flash=spi_flash,
)
