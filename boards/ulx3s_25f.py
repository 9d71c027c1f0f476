"""ULX3S with an LFE5U-25F: the smaller part on the same board."""

from dataclasses import replace
from typing import TYPE_CHECKING

from . import ulx3s_85f
from .ecp5 import LFE5U_25F

if TYPE_CHECKING:
    from amaranth.build import Platform

__all__ = ["BOARD"]


def _platform() -> "Platform":
    from amaranth_boards.ulx3s import ULX3S_25F_Platform

    return ULX3S_25F_Platform()


BOARD = replace(
    ulx3s_85f.BOARD,
    name="ulx3s-25f",
    title="ULX3S, ECP5 25F",
    part="LFE5U-25F-6BG381C",
    resources=LFE5U_25F,
    platform=_platform,
    lanes=36,
)
