"""Write the flash image of a model, from which a device boots without a host.

The device has to be built with --boot-flash, for the same configuration: that of --board or of
--config, or that of an image. The file goes to that address of the board's flash.
"""

import argparse
from pathlib import Path

from ..compile import compile
from ..firmware.config import Config
from ..firmware.errors import ConfigurationMismatch
from ..firmware.files import require_writable, write_atomically
from ..firmware.flash import read_flash, write_flash
from ..firmware.image import Image
from ..firmware.network import Network
from . import common

EXAMPLES = (
    "mnist.image -o model.bin",
    "digits-64-32-10 --board icebreaker -o model.bin",
    "digits-64-32-10 --config digits.json -o model.bin",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(parser, help="a network by file or name, or an image file")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--board", metavar="NAME", help="what `firstspike build` makes for this board by default"
    )
    choice.add_argument(
        "--config", metavar="FILE", help="the device's configuration, a JSON file or an image"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the flash image")
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    require_writable(options.output)
    model = common.load_model(options.network)
    config = _config(options, model)
    if not isinstance(model, Image):
        image = compile(model, config)
    elif config is None or config.digest == model.config.digest:
        image = model
    else:
        raise ConfigurationMismatch(
            f"{options.network} was compiled for another configuration than that of "
            f"{options.config or options.board}; give the network itself, which is compiled anew"
        )
    contents = write_flash(image)
    # What a device would refuse, perhaps far from here, is found out now.
    read_flash(contents, image.config)
    with write_atomically(options.output) as file:
        file.write(contents)
    values = {
        "output": options.output,
        "bytes": len(contents),
        "digest": f"{image.config.digest:016x}",
        "model": f"{image.crc:08x}",
    }
    text = (
        f"{options.output}: {len(contents)} bytes, model {image.crc:08x}, for devices of "
        f"configuration {image.config.digest:016x}"
    )
    common.emit(options, values, text)


def _config(options: argparse.Namespace, model: Network | Image) -> Config | None:
    """What --config or --board asks for."""
    if options.config is not None:
        return common.read_config(Path(options.config))
    if options.board is None:
        return None
    from ..boards import load
    from ..boards.build import check_flash, configure
    from ..boards.fit import check_weights

    board = load(options.board)
    check_flash(board)
    config = configure(board, model.network() if isinstance(model, Image) else model)
    check_weights(board, config)
    return config
