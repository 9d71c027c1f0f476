"""Pins that many boards have alike."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amaranth.build import Platform
    from amaranth.hdl import Module, Value

__all__ = ["serial_line"]


def serial_line(m: "Module", platform: "Platform") -> "tuple[Value, Value]":
    """The board's first serial line; its pins have the names of the FPGA's side."""
    from amaranth.lib import io

    names = [signal.name for signal in platform.lookup("uart", 0).ios]
    line = platform.request("uart", 0, dir=dict.fromkeys(names, "-"))
    m.submodules.rx = rx = io.Buffer("i", line.rx)
    m.submodules.tx = tx = io.Buffer("o", line.tx)
    return rx.i, tx.o
