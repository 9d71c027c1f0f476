"""Pins that many boards have alike."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module, Value
    from amaranth.lib.wiring import PureInterface

__all__ = ["serial_line", "spi_flash"]


def serial_line(m: "Module", platform: "Platform") -> "tuple[Value, Value]":
    """The board's first serial line; its pins have the names of the FPGA's side."""
    from amaranth.lib import io

    names = [signal.name for signal in platform.lookup("uart", 0).ios]
    line = platform.request("uart", 0, dir=dict.fromkeys(names, "-"))
    m.submodules.rx = rx = io.Buffer("i", line.rx)
    m.submodules.tx = tx = io.Buffer("o", line.tx)
    return rx.i, tx.o


def spi_flash(m: "Module", platform: "Platform", lines: "PureInterface") -> None:
    """Connect the :class:`~firstspike.hdl.flash_reader.SpiPins` of what reads the board's flash.

    Where the flash's clock is none of the pins, it is that of the configuration: ECP5's USRMCLK.
    """
    from amaranth.build import ResourceError
    from amaranth.hdl import Const, Instance
    from amaranth.lib import io

    try:
        name = "spi_flash_1x"
        platform.lookup(name, 0)
    except ResourceError:
        name = "spi_flash"
    names = [signal.name for signal in platform.lookup(name, 0).ios]
    pins = platform.request(name, 0, dir=dict.fromkeys(names, "-"))
    levels = {"cs": lines.cs, "clk": lines.clk, "copi": lines.copi}
    # Unless they are said to be, write protection and hold are off.
    for signal in names:
        if signal != "cipo":
            m.submodules[f"flash_{signal}"] = buffer = io.Buffer("o", getattr(pins, signal))
            m.d.comb += buffer.o.eq(levels.get(signal, Const(0)))
    m.submodules.flash_cipo = cipo = io.Buffer("i", pins.cipo)
    m.d.comb += lines.cipo.eq(cipo.i)
    if "clk" not in names:
        m.submodules.flash_clk = Instance(
            "USRMCLK", i_USRMCLKI=lines.clk, i_USRMCLKTS=Const(0), a_keep=1
        )
