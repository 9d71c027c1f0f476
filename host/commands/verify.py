"""Compare golden model, cycle model and gateware in every spike and cycle.

Ends with the first divergence, if there is one: sample, step, layer, neuron, cycle, both values.
"""

import argparse

from .. import compile as compile_network
from ..shipped import load_network
from . import common

EXAMPLES = (
    "mnist-784-600-10",
    "digits-64-32-10 --lanes 8,3 -n 359",
    "network.npz --config build.image --seed 1",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(parser)
    common.add_data(parser, 200)
    common.add_config(parser)
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..sim.verify import verify

    network = load_network(options.network)
    batch = common.load_batch(options, network)
    image = compile_network(network, common.load_config(options, network))
    common.say(options, "building the simulation, unless it is in the cache")
    with tqdm(total=len(batch.samples), unit="img", disable=options.quiet or None) as bar:
        report = verify(network, batch.samples, image, progress=bar.update)
    values = {
        "network": options.network,
        "dataset": batch.dataset,
        "samples": len(report.cycles),
        "cycles": int(report.cycles.sum()),
        "equal": True,
    }
    common.emit(options, values, str(report))
