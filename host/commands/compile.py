"""Lay a network out for an accelerator and write the image that a device loads.

Without --config, --board or --port the accelerator is the smallest that holds the network.
"""

import argparse
from pathlib import Path

from .. import compile as compile_network
from ..device import open as open_device
from ..firmware.config import Config
from ..firmware.errors import DataError
from ..firmware.files import require_writable, write_atomically
from ..firmware.packed import c_source, pack
from ..shipped import load_network
from . import common

EXAMPLES = (
    "mnist-784-600-10 -o mnist.image",
    "network.npz --lanes 100,10",
    "mnist-784-128-10 --board ulx3s-85f",
    "network.npz --port /dev/ttyUSB1",
    "digits-64-32-10 --format c -o digits.h",
)

#: What a file ends in, by its format: an image for Python, or a packed model for the C driver, as
#: bytes or as a header.
_SUFFIXES = {"image": ".image", "packed": ".packed", "c": ".h"}


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(parser)
    target = common.add_config(parser)
    target.add_argument(
        "--board", metavar="NAME", help="compile for this board, built with its own lanes"
    )
    target.add_argument("--port", help="compile for the device at this port")
    common.add_baud(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the file (default: the network's name, .image)"
    )
    parser.add_argument(
        "--format",
        choices=_SUFFIXES,
        default="image",
        help="for Python (default), or packed for microcontrollers, as bytes or as a C header",
    )
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    _check(options)
    name = Path(options.network).stem
    output = options.output or f"{name}{_SUFFIXES[options.format]}"
    require_writable(output)
    network = load_network(options.network)
    if options.port:
        with open_device(options.port, baud=options.baud) as device:
            config = device.config
    elif options.board:
        config = compile_network(network, board=options.board).config
    else:
        config = common.load_config(options, network)
    image = compile_network(network, config)
    if options.format == "image":
        image.save(output)
    else:
        data = pack(image) if options.format == "packed" else c_source(image, name).encode()
        with write_atomically(output) as file:
            file.write(data)
    sizes = {region.name: region.bytes for region in config.regions}
    values = {
        "output": output,
        "crc": f"{image.crc:08x}",
        "digest": f"{config.digest:016x}",
        "regions": sizes,
    }
    common.emit(options, values, f"{output}: {network}\n{describe(config)}")


def _check(options: argparse.Namespace) -> None:
    """Refuse what would be ignored."""
    if options.baud is not None and options.port is None:
        raise DataError("--baud goes with --port, which was not given; leave it out")
    for target in ("board", "port"):
        given = common.superfluous(options)
        if getattr(options, target) is not None and given:
            raise DataError(
                f"{given} and --{target} were given, but the {target} says what is built; leave "
                f"{given} out, or give the configuration as --config"
            )


def describe(config: Config) -> str:
    """A configuration in lines."""
    lines = [
        f"layer {index}: {layer.inputs} inputs in {layer.rows} rows, {layer.neurons} neurons, "
        f"{layer.lanes} lanes, {layer.weight_bits}-bit weights, tau = {1 << layer.k} steps, "
        f"{layer.current_bits}-bit current, {layer.membrane_bits}-bit membrane"
        for index, layer in enumerate(config.layers)
    ]
    total = sum(region.bytes for region in config.regions)
    lines.append(
        f"at most {config.max_steps} steps, {config.buffer_bytes} bytes of buffer, {total} bytes "
        f"of memory, digest {config.digest:016x}"
    )
    return "\n".join(lines)
