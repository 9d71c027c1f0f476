"""Build a board's bitstream for many lanes and weight bits, and compare what they give.

Points are built side by side, each in a process of its own. A sweep that was interrupted goes on
where it was: finished points are kept in the folder, finished builds in the cache. What does not
fit is a result as well. Prints a table and writes it as sweep.md, sweep.html and sweep.svg.
"""

import argparse
from pathlib import Path

from .. import plots
from ..firmware.errors import BuildError
from ..sweep import RECORD, Point, Settings, Sweep, variant
from ..sweep import run as run_sweep
from . import common

EXAMPLES = (
    "--board ulx3s-85f --lanes 25,50,100,200,300,600 --bits 8,4 --jobs 2 -o sweep",
    "--board ulx3s-25f --model digits-64-32-10 --lanes 4,8,16,32 -o digits",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_build(parser, constraint=", higher than it can reach (default: twice the board's)")
    parser.add_argument(
        "--lanes",
        type=common.positives,
        required=True,
        metavar="N[,N…]",
        help="lanes of the first layer",
    )
    parser.add_argument(
        "--bits",
        type=common.positives,
        default=[8],
        metavar="N[,N…]",
        help="weight bits, each of a network that comes with Firstspike and is named like the one "
        "given (default: 8)",
    )
    parser.add_argument(
        "--jobs",
        type=common.positive,
        default=2,
        metavar="N",
        help="points to build side by side (default: 2)",
    )
    parser.add_argument("--again", action="store_true", help="retry points that failed to build")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="folder of the results"
    )
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from ..boards import load
    from ..boards.tools import find_all

    board = load(options.board)
    constraint = options.constraint or 2 * board.clock_hz
    # Before anything else, so that a tool that is missing does not pass for a point that fails.
    steps = board.family.commands(board, constraint_hz=constraint, seed=options.seed)
    find_all(step.tool for step in steps)
    if not steps:
        raise BuildError(
            f"a sweep was asked for on {options.board}, but the vendor's tools finish its builds; "
            "choose another board"
        )
    networks = {bits: variant(options.model, bits) for bits in options.bits}
    folder = Path(options.output)
    sweep = run_sweep(
        Settings(options.board, constraint, options.seed, options.ways),
        [
            Point(network, bits, lanes)
            for bits, network in networks.items()
            for lanes in options.lanes
        ],
        folder,
        jobs=options.jobs,
        again=options.again,
        progress=lambda sentence: common.say(options, sentence),
    )
    written = _write(options, sweep, folder)
    values = sweep.to_dict() | {"files": [str(path) for path in written]}
    common.emit(options, values, f"{sweep.to_text()}\n\nWritten: {', '.join(map(str, written))}")


def _write(options: argparse.Namespace, sweep: Sweep, folder: Path) -> list[Path]:
    """Write what can be written; without matplotlib there are no pictures."""
    sweep.save(folder / "sweep.md")
    written = [folder / RECORD, folder / "sweep.md"]
    try:
        sweep.save(folder / "sweep.html")
        plots.save(plots.sweep(sweep), folder / "sweep.svg")
    except BuildError as error:
        common.say(options, str(error))
        return written
    return [*written, folder / "sweep.html", folder / "sweep.svg"]
