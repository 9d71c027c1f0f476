"""Load the bitstream of a build into a board, with openFPGALoader.

Without --flash it is gone when the power is.
"""

import argparse

from . import common

EXAMPLES = (
    "digits",
    "digits --flash",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="what `firstspike build -o` wrote")
    parser.add_argument(
        "--board", metavar="NAME", help="the board, if another than it was built for"
    )
    parser.add_argument(
        "--flash", action="store_true", help="write it to the flash memory, to stay"
    )
    common.add_native(parser)
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from .. import boards
    from ..boards.build import Build
    from ..boards.program import program

    build = Build.load(options.folder)
    board = boards.load(options.board or build.board)
    common.say(options, f"loading {build.folder} into {board.title}")
    program(board, build, flash=options.flash, native=options.native)
    values = {
        "board": board.name,
        "bitstream": str(build.bitstream),
        "sha256": build.sha256,
        "build": f"{build.build_id:08x}",
        "flash": options.flash,
    }
    where = "flash memory" if options.flash else "the part"
    common.emit(
        options, values, f"{board.title} is loaded: build {build.build_id:08x} is in {where}"
    )
