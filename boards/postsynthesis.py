"""What the first step of a build makes of the accelerator, as Verilog for a simulator."""

import tempfile
from pathlib import Path

from ..firmware.config import Config
from .board import Board, Step
from .tools import run

__all__ = ["synthesise"]

#: Split into bits, no net seems to depend on itself.
_TO_VERILOG = "read_json top.json; splitnets; write_verilog -noattr top.v"


def synthesise(board: Board, config: Config, clock_hz: int) -> str:
    """Synthesise the accelerator as it is in a build for ``board``, without pins, PLL and UART.

    Parameters
    ----------
    board : Board
    config : Config
    clock_hz : int
        For the device to tell.

    Returns
    -------
    str
        The netlist: a module ``top`` with the ports of
        :class:`~firstspike.hdl.accelerator.Accelerator` and cells of the board's family.

    Raises
    ------
    BuildError
        If a tool is missing or fails.
    """
    from amaranth.back import rtlil

    from ..hdl.accelerator import Accelerator

    accelerator = Accelerator(config, clock_hz=clock_hz, memories=board.family.memories)
    synthesis = board.family.commands(board, constraint_hz=board.clock_hz, seed=1)[:1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = rtlil.convert(accelerator, name="top", emit_src=False)
        (folder / "top.il").write_text(text)
        for step in (*synthesis, Step("synthesise", "yosys", ("-p", _TO_VERILOG), "verilog.log")):
            run(step, folder)
        return (folder / "top.v").read_text()
