"""Write the gateware as one Verilog file, for use in other designs.

core is the pure accelerator with streams at its edge, accelerator adds the link's protocol on byte
streams, serial adds the UART.
"""

import argparse

from ..firmware.errors import BuildError
from ..firmware.files import require_writable, write_atomically
from ..shipped import load_network
from ..transport import DEFAULT_BAUD
from . import common

EXAMPLES = (
    "mnist-784-600-10 --lanes 100,10 -o firstspike.v",
    "--config mnist.image --part core -o core.v",
    "digits-64-32-10 --part serial --clock 25000000 --baud 1000000 -o top.v",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(parser, nargs="?")
    common.add_config(parser)
    parser.add_argument(
        "--part",
        choices=("core", "accelerator", "serial"),
        default="accelerator",
        help="how much to export (default: accelerator)",
    )
    parser.add_argument("--name", default="firstspike", help="top module (default: firstspike)")
    parser.add_argument(
        "--clock", type=common.positive, default=48_000_000, metavar="HZ", help="clock frequency"
    )
    parser.add_argument(
        "--baud", type=common.positive, default=DEFAULT_BAUD, help="baud rate of the UART"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the Verilog file")
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    require_writable(options.output)
    network = load_network(options.network) if options.network else None
    config = common.load_config(options, network)
    try:
        from ..hdl import accelerator, core
        from ..hdl.verilog import check_name, to_verilog
    except ImportError as error:
        raise BuildError(
            f"exporting needs {error.name}, which is not installed; pip install 'firstspike[sim]'"
        ) from error
    # Before there is a component, which Amaranth wants to be used.
    check_name(options.name)
    accelerator.check_clock(options.clock)
    component: core.Core | accelerator.Accelerator | accelerator.SerialAccelerator
    if options.part == "core":
        component = core.Core(config)
    elif options.part == "accelerator":
        component = accelerator.Accelerator(config, clock_hz=options.clock)
    else:
        component = accelerator.SerialAccelerator(config, clock_hz=options.clock, baud=options.baud)
    text = to_verilog(component, options.name)
    with write_atomically(options.output) as file:
        file.write(text.encode())
    values = {"output": options.output, "part": options.part, "digest": f"{config.digest:016x}"}
    common.emit(options, values, f"{options.output}: {options.part}, module {options.name}")
