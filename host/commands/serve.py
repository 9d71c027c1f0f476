"""Serve a board that is not there on a pseudo-terminal, for any program that speaks serial.

It is built for NETWORK, but holds no model until a program loads one. Ends with Ctrl-C.
"""

import argparse
import signal
import sys
from functools import partial

from ..firmware.errors import DataError
from ..firmware.transport import Transport
from ..shipped import load_network
from ..transport import VIRTUAL, open_virtual
from . import common

EXAMPLES = (
    "mnist-784-600-10",
    "digits-64-32-10 --engine sim: --link /tmp/board",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(parser, nargs="?")
    common.add_config(parser)
    parser.add_argument(
        "--engine",
        choices=VIRTUAL,
        default="model:",
        help="the golden model (default) or the cycle-accurate simulation",
    )
    parser.add_argument("--link", metavar="PATH", help="a symbolic link to make to the terminal")
    common.add_faults(parser)
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from ..sim.pty import PseudoTerminal

    if options.network is not None and options.config is not None:
        raise DataError(
            f"{options.network} and --config were given, but a board is built for one of them; "
            "leave out the other, since a program loads its network itself"
        )
    network = None if options.network is None else load_network(options.network)
    config = common.load_config(options, network)
    line = common.faulty_line(options)

    def connect() -> Transport:
        return open_virtual(options.engine, config)

    plug_in = connect if line is None else partial(line, connect)
    terminal = PseudoTerminal(plug_in(), options.link, connect=plug_in)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        path = options.link or terminal.path
        common.emit(options, {"port": path, "digest": f"{config.digest:016x}"}, path)
        sys.stdout.flush()
        common.say(options, f"serving {options.engine}; Ctrl-C ends it")
        terminal.serve()
    except KeyboardInterrupt:
        common.say(options, "stopped")
    finally:
        terminal.close()
