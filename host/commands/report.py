"""Measure a network on its test images, beside the figures published in 2017.

Prints the report; -o writes it as text, JSON or one HTML page with figures, as the names end.
"""

import argparse

from ..report import Report
from ..shipped import load_network
from . import common

EXAMPLES = (
    "mnist-784-600-10",
    "mnist-784-600-10-sparse -o report.html report.json",
    "network.npz --dataset kmnist --json",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(parser)
    common.add_data(parser)
    parser.add_argument(
        "-o", "--output", nargs="+", default=[], metavar="FILE", help=".txt, .json or .html"
    )
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from ..sim import fast

    network = load_network(options.network)
    batch = common.load_batch(options, network)
    report = Report(
        network,
        fast.infer(network, batch.samples),
        batch.labels,
        batch.dataset,
        example=batch.samples[0],
    )
    for path in options.output:
        report.save(path)
    common.emit(options, report.to_dict(), report.to_text())
