"""Test a device, or the installation: link, memories, and answers against the models.

Works for whatever the device says it is built for. Every memory is written with patterns and read
back, wrong requests have to be refused, random networks are loaded, every answer and every cycle
count is compared, and the line has to be clean. What was loaded before is loaded again afterwards.
model: and sim: are built anew for each network.
"""

import argparse

from ..device import open as open_device
from ..selftest import SelfTest, selftest
from ..transport import is_virtual
from . import common
from .compile import describe

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
    parser.add_argument(
        "--seed", type=common.non_negative, default=0, help="of the first network (default: 0)"
    )
    common.add_baud(parser)
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..sim.random_networks import random_case

    seeds = range(options.seed, options.seed + options.count)
    virtual = is_virtual(options.port)
    report = SelfTest()
    with tqdm(desc="selftest", bar_format="{desc} {elapsed}", disable=options.quiet or None) as bar:

        def progress(text: str) -> None:
            bar.set_description_str(text)

        for part in ([seed] for seed in seeds) if virtual else [seeds]:
            config = random_case(part[0]).config if virtual else None
            with open_device(options.port, baud=options.baud, config=config) as device:
                selftest(device, part, report, progress=progress)
                hello = device.info
    values = {"port": options.port, "seed": options.seed, "passed": True, **vars(report)}
    lines = [
        f"link      {report.requests} requests answered, {report.retries} sent again, "
        f"{report.damaged} damaged; {report.refused} wrong ones refused",
        f"memories  {report.memory_bytes} bytes hold every pattern",
        f"answers   {report.networks} networks, {report.samples} samples: class, step, fired, rows "
        "and cycles as the models'",
    ]
    if not virtual:
        clock, mean = hello.clock_hz, report.cycles / report.samples
        values |= {
            "release": hello.release,
            "build": f"{hello.build:08x}",
            "digest": f"{hello.config.digest:016x}",
            "clock_hz": clock,
        }
        lines = [
            f"{options.port}: built by firstspike {hello.release} as {hello.build:08x}, "
            f"{clock / 1e6:g} MHz",
            describe(hello.config),
            *lines,
            f"timing    {1e3 * report.round_trip:.2f} ms from request to answer, "
            f"{report.bytes_a_second / 1e3:.0f} kB/s out of the memories, "
            f"{report.images_a_second:.0f} samples a second; {mean:.0f} cycles = "
            f"{1e6 * mean / clock:.2f} µs a sample",
        ]
    common.emit(options, values, "\n".join([*lines, f"{options.port} passes"]))
