"""Test a device, or the installation, with random networks against the golden model.

Every answer is compared, every memory read back, and the line has to be clean. model: and sim: are
built anew for each network; a board is given networks that suit what it is built for.
"""

import argparse

from ..device import Device
from ..device import open as open_device
from ..firmware.errors import LinkError, Mismatch
from ..transport import is_virtual
from . import common

EXAMPLES = (
    "",
    "sim: -n 1",
    "/dev/ttyUSB1 -n 50 --seed 7",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "port", nargs="?", default="model:", help="the device to test (default: model:)"
    )
    parser.add_argument(
        "-n", "--count", type=common.positive, default=20, help="networks (default: 20)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first network (default: 0)")
    common.add_baud(parser)
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    samples = 0
    device: Device | None = None
    try:
        for seed in tqdm(
            range(options.seed, options.seed + options.count),
            desc="selftest",
            unit="network",
            disable=options.quiet or None,
        ):
            if device is not None and is_virtual(options.port):
                device.close()
                device = None
            device = device or _open(options, seed)
            samples += _test(device, seed)
    finally:
        if device is not None:
            device.close()
    values = {
        "port": options.port,
        "networks": options.count,
        "samples": samples,
        "seed": options.seed,
        "passed": True,
    }
    common.emit(
        options,
        values,
        f"{options.port} passes: {options.count} networks, {samples} samples, every answer as the "
        "golden model's",
    )


def _open(options: argparse.Namespace, seed: int) -> Device:
    from ..sim.random_networks import random_case

    config = random_case(seed).config if is_virtual(options.port) else None
    return open_device(options.port, baud=options.baud, config=config)


def _test(device: Device, seed: int) -> int:
    """Run the case of ``seed`` and return its number of samples."""
    from ..sim.random_networks import random_case

    case = random_case(seed, config=device.config, batch=32)
    before = device.counters()
    try:
        image = device.load(case.network)
        for region in device.config.regions:
            if device.read_memory(region.name) != image.regions[region.name]:
                raise Mismatch(f"{region.name} reads back other bytes than were written")
        common.compare(case.network, case.samples, device.infer(case.samples))
    except Mismatch as error:
        raise Mismatch(f"network of seed {seed}: {error}") from error
    after = device.counters()
    if after["frames_dropped"] != before["frames_dropped"] or device.statistics.dropped:
        raise LinkError(
            f"every answer of {device.port} was right, but frames were damaged on the line; lower "
            "the baud rate or check the cable"
        )
    return len(case.samples)
