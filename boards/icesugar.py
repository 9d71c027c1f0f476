"""iCESugar: MuseLab, clock and USB serial by its debugger."""

from dataclasses import replace
from typing import TYPE_CHECKING

from . import icebreaker

if TYPE_CHECKING:
    from amaranth.build import Platform

__all__ = ["BOARD"]


def _platform() -> "Platform":
    from amaranth_boards.icesugar import ICESugarPlatform

    return ICESugarPlatform()


BOARD = replace(
    icebreaker.BOARD,
    name="icesugar",
    title="iCESugar, iCE40 UP5K",
    vendor_url="https://github.com/wuxx/icesugar",
    platform=_platform,
    baud=115_200,
    program=(),
)
