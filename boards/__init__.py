"""Boards: parts, pins, clock plans and builds, one file a board.

A board's file is named after it, with ``_`` for ``-``, and defines ``BOARD``.
"""

import importlib

from ..firmware.errors import BuildError
from ..firmware.suggest import suggest
from .board import LARGE_RAM_BITS, Board, Family, PlannedMemory, Resources, Step

__all__ = [
    "LARGE_RAM_BITS",
    "Board",
    "Family",
    "PlannedMemory",
    "Resources",
    "Step",
    "load",
    "names",
]

_NAMES = (
    "ulx3s-85f",
    "ulx3s-25f",
    "icebreaker",
    "icesugar",
    "tang-primer-20k",
    "arty-a7-100t",
)


def names() -> tuple[str, ...]:
    """Names of all boards."""
    return _NAMES


def load(name: str) -> Board:
    """The board called ``name``.

    Raises
    ------
    BuildError
        If there is none; the message names those that there are.
    """
    if name not in _NAMES:
        raise BuildError(f"there is no board {name}{suggest(name, _NAMES)}")
    module = importlib.import_module(f".{name.replace('-', '_')}", __name__)
    board: Board = module.BOARD
    return board
