"""Build the bitstream of a board for a network, with tools that pip installs.

The bitstream does not contain the weights: they are loaded over the link, so another network of the
same shape needs no build. Builds are cached by design and tool versions. There is no bitstream if
timing is missed.
"""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from ..document import make_folder
from ..shipped import load_network
from . import common

if TYPE_CHECKING:
    from ..boards.build import Build

EXAMPLES = (
    "--board ulx3s-85f --model mnist-784-600-10",
    "--board ulx3s-25f --model digits-64-32-10 --lanes 16,10 -o digits",
    "--board icebreaker --model network.npz --clock 24 --seed 7",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_build(parser, constraint=" (default: that of the core)")
    parser.add_argument(
        "--lanes",
        type=common.positives,
        metavar="N[,N…]",
        help="weights processed per cycle, for all layers or for each (default: the board's)",
    )
    parser.add_argument(
        "--neuron",
        choices=("auto", "current", "sum"),
        default="auto",
        help="neurons of the first layer: for any samples, or smaller ones for spikes in step 0 "
        "alone (default: what suits the network)",
    )
    common.add_learning(parser)
    parser.add_argument(
        "--clock",
        type=common.megahertz,
        metavar="MHZ",
        help="clock of the core (default: the board's)",
    )
    parser.add_argument(
        "--baud", type=common.positive, help="baud rate of the line (default: the board's)"
    )
    parser.add_argument(
        "--boot-flash",
        type=_address,
        metavar="ADDRESS",
        help="boot the model from the image at this address of the board's flash, such as 0x100000 "
        "(default: wait for a host)",
    )
    common.add_native(parser)
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", help="copy the build here (default: left in the cache)"
    )
    common.add_output(parser)


def _address(text: str) -> int:
    """A number in any base, as an argument's type."""
    try:
        return int(text, 0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not an address such as 0x100000") from error


class _Display:
    """Shows progress on standard error: a line that changes on a terminal, else one a stage."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._start = time.monotonic()
        self._stage = ""

    def __call__(self, text: str, share: float | None) -> None:
        if self._quiet:
            return
        stage = text.partition(":")[0]
        done = "" if share is None else f" ({share:.0%})"
        line = f"{time.monotonic() - self._start:6.0f} s  {text}{done}"
        if self._live:
            end = "\n" if self._stage not in ("", stage) else ""
            print(f"{end}\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif stage != self._stage or "WebAssembly" in text:
            print(line, file=sys.stderr, flush=True)
        self._stage = stage

    def close(self) -> None:
        if self._live and self._stage:
            print(file=sys.stderr)


def run(options: argparse.Namespace) -> None:
    from .. import boards
    from ..boards.build import build
    from ..boards.build import configure as configure_board

    board = boards.load(options.board)
    network = load_network(options.model)
    config = configure_board(
        board,
        network,
        options.lanes,
        neuron=options.neuron,
        ways=options.ways,
        learning=options.learning,
    )
    folder = None if options.output is None else make_folder(options.output)
    display = _Display(options.quiet or options.json)
    start = time.monotonic()
    try:
        made = build(
            board,
            config,
            clock_hz=options.clock,
            baud=options.baud,
            seed=options.seed,
            native=options.native,
            folder=folder,
            progress=display,
            constraint_hz=options.constraint,
            boot_flash=options.boot_flash,
        )
    finally:
        display.close()
    values = made.to_dict() | {"folder": str(made.folder)}
    common.emit(options, values, _text(made, time.monotonic() - start))


def _text(made: "Build", seconds: float) -> str:
    if made.bitstream is None:
        return f"project for Vivado; run `vivado -mode batch -source top.tcl` in {made.folder}"
    spent = sum(made.seconds.values())
    used, available = made.used, made.available
    took = f"{spent:.0f} s"
    if seconds < spent / 2:
        took = f"found in the cache; {took} when it was made"
    amounts = [
        f"{count} of {limit} {words} ({count / limit:.0%})"
        for words, count, limit in (
            ("LUTs", used.luts, available.luts),
            ("flip-flops", used.ffs, available.ffs),
            ("block RAMs", used.block_rams, available.block_rams),
            ("large RAMs", used.large_rams, available.large_rams),
        )
        if limit and count
    ]
    return "\n".join(
        (
            f"bitstream {made.bitstream}",
            f"sha256    {made.sha256}",
            f"build     {made.build_id:08x}, configuration {made.config.digest:016x}",
            f"clock     {made.clock_hz / 1e6:.2f} MHz; place and route reached "
            f"{made.fmax_hz / 1e6:.2f} MHz",
            f"line      {made.baud} baud",
            f"uses      {', '.join(amounts)}",
            f"time      {took}",
        )
    )
