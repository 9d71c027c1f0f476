"""Measure a network on its test images, or a build with a network on it.

Of a network it prints the figures beside those published in 2017. Of a build, which is a folder
that `firstspike build` made, it prints resources by component, clock and what limits it, cycles and
latency an image, images a second over the link. -o writes the report as text, JSON or one HTML page
with figures, as the names end.
"""

import argparse
from pathlib import Path

from ..build_report import BuildReport, network_of
from ..document import Document
from ..firmware.errors import DataError
from ..report import Report
from ..shipped import load_network
from . import common

EXAMPLES = (
    "mnist-784-600-10",
    "mnist-784-600-10-sparse -o report.html report.json",
    "network.npz --dataset kmnist --json",
    "builds/ulx3s-85f --model network.npz -o build.html",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="network|folder",
        help="a network by file or name, or the folder of a build",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        help="the network, by file or name, that runs on the build (default: the one that comes "
        "with Firstspike and is just as large)",
    )
    common.add_data(parser)
    parser.add_argument(
        "-o", "--output", nargs="+", default=[], metavar="FILE", help=".txt, .json or .html"
    )
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    for path in options.output:
        Document.require_savable(path)
    report: Document
    if Path(options.what).is_dir():
        report = _of_build(options)
    elif options.model:
        raise DataError(
            f"--model goes with the folder of a build, but {options.what} is none; leave it out"
        )
    else:
        report = _of_network(options)
    for path in options.output:
        report.save(path)
    common.emit(options, report.to_dict(), report.to_text())


def _of_build(options: argparse.Namespace) -> BuildReport:
    from ..boards.build import Build

    build = Build.load(options.what)
    network = load_network(options.model) if options.model else network_of(build.config)
    batch = common.load_batch(options, network)
    return BuildReport.of(build, network, batch.samples, batch.labels, batch.dataset)


def _of_network(options: argparse.Namespace) -> Report:
    from ..sim import fast

    network = load_network(options.what)
    batch = common.load_batch(options, network)
    return Report(
        network,
        fast.infer(network, batch.samples),
        batch.labels,
        batch.dataset,
        example=batch.samples[0],
    )
