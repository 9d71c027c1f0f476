"""Classify the test images with a model and show accuracy, spikes and clock cycles.

golden is the golden model, compiled; reference is the same in plain numpy, a hundred times slower;
gateware is the accelerator's core itself, cycle by cycle. The golden models' cycles are those that
the cycle model predicts.
"""

import argparse
from dataclasses import asdict

from .. import compile as compile_network
from ..shipped import load_network
from . import common

EXAMPLES = (
    "mnist-784-600-10",
    "network.npz --dataset fashion-mnist --json",
    "digits-64-32-10 --model gateware --lanes 8 -n 100",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(parser)
    common.add_data(parser)
    common.add_config(parser)
    parser.add_argument(
        "--model",
        choices=("golden", "reference", "gateware"),
        default="golden",
        help="what runs the network (default: golden)",
    )
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..sim import cycles, fast, golden
    from ..sim.result import summarise

    network = load_network(options.network)
    batch = common.load_batch(options, network)
    config = common.load_config(options, network)
    image = compile_network(network, config)
    if options.model == "gateware":
        from ..sim.engine import CoreSimulation

        common.say(options, "building the simulation, unless it is in the cache")
        with (
            CoreSimulation(image) as simulation,
            tqdm(total=len(batch.samples), unit="img", disable=options.quiet or None) as bar,
        ):
            inference, taken = simulation.infer(
                common.widen(batch.samples, config.inputs), progress=bar.update
            )
    else:
        model = fast if options.model == "golden" else golden
        inference = model.infer(network, batch.samples)
        taken = cycles.predict(config, network, batch.samples, inference)
    summary = summarise(inference, batch.labels, network)
    values = {
        "network": options.network,
        "dataset": batch.dataset,
        "model": options.model,
        "summary": asdict(summary),
        "mean_cycles": float(taken.mean()),
        "digest": f"{config.digest:016x}",
    }
    lanes = "-".join(str(layer.lanes) for layer in config.layers)
    common.emit(
        options,
        values,
        f"{batch.dataset}, {options.model}\n{summary}\n"
        f"{'clock cycles':<18} mean {taken.mean():.0f}, with {lanes} lanes",
    )
