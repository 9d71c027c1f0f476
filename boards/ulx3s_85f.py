"""ULX3S with an LFE5U-85F: open hardware by Radiona, USB serial by an FT231X."""

from typing import TYPE_CHECKING

from .board import Board
from .ecp5 import ECP5, LFE5U_85F
from .pins import serial_line, spi_flash

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module, Value

__all__ = ["BOARD", "pins"]


def pins(m: "Module", platform: "Platform") -> "tuple[Value, Value]":
    """The FT231X's line; the names of its pins are those of the FPGA's side."""
    from amaranth.lib import io

    # With this pin low the ESP32 takes the board over.
    esp32 = platform.request(
        "esp32",
        dir=dict.fromkeys(("en", "tx", "rx", "gpio0", "gpio5", "gpio16", "gpio17"), "-"),
    )
    m.submodules.esp32_gpio0 = gpio0 = io.Buffer("o", esp32.gpio0)
    m.d.comb += gpio0.o.eq(1)
    return serial_line(m, platform)


def _platform() -> "Platform":
    from amaranth_boards.ulx3s import ULX3S_85F_Platform

    return ULX3S_85F_Platform()


BOARD = Board(
    name="ulx3s-85f",
    title="ULX3S, ECP5 85F",
    vendor_url="https://radiona.org/ulx3s/",
    part="LFE5U-85F-6BG381C",
    resources=LFE5U_85F,
    family=ECP5,
    platform=_platform,
    oscillator_hz=25_000_000,
    clock_hz=80_000_000,
    baud=1_000_000,
    lanes=100,
    program=("--board", "ulx3s"),
    pins=pins,
    flash=spi_flash,
)
