"""Learning in the gateware against the golden learner, weight for weight, and what it costs.

    python bench/learning.py                      60,000 MNIST samples on 784-600-10, 100/10 lanes
    python bench/learning.py --lanes 64,10 --neuron current --samples 5000
    python bench/learning.py --shape 784-200-100-10 --lanes 40,20,10

The core's compiled simulation learns from scratch with the default schedule of `firstspike learn`,
as if the samples were all its training. After a third of them everything is read back and loaded
into another core, just started, which goes on. Compared are answers, rows, generators and all
weights. Exits with 1 at the first difference.
"""

import argparse
import json
import sys
import time
from dataclasses import replace

import command
import numpy as np
from firstspike.compile import compile
from firstspike.data import load
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError
from firstspike.firmware.image import Image
from firstspike.firmware.learning import ALWAYS, Progress, Rule
from firstspike.learning import initial_network, suggested_encoder
from firstspike.schedule import Schedule
from firstspike.sim.engine import CoreSimulation
from firstspike.sim.fast_learner import Learner

#: Samples for which the rates stay the same.
BATCH = 1000


def reloaded(core: CoreSimulation, image: Image) -> CoreSimulation:
    """Another core, just started, that holds what was read back from this one; this one ends."""
    state, rule, regions = core.progress, core.rule, core.read_back()
    core.close()
    fresh = CoreSimulation(replace(image, regions=regions))
    fresh.progress, fresh.rule = state, rule
    return fresh


def compare(core: CoreSimulation, image: Image, learner: Learner, where: str) -> int:
    """Weights compared; raises DataError where there is a difference."""
    if core.progress != learner.progress:
        raise DataError(f"{where}: generators are {core.progress}, not {learner.progress}")
    held = replace(image, regions=core.read_back()).network()
    for index, (got, want) in enumerate(zip(held.layers, learner.network.layers, strict=True)):
        different = np.argwhere(got.weights != want.weights)
        if len(different):
            row, neuron = different[0]
            raise DataError(
                f"{where}: {len(different)} weights of layer {index} differ, first [{row}, "
                f"{neuron}]: {got.weights[row, neuron]}, not {want.weights[row, neuron]}"
            )
    return sum(layer.weights.size for layer in held.layers)


def run(options: argparse.Namespace) -> dict:
    """Learn on both sides and compare."""
    mnist = load("mnist")
    encoder = suggested_encoder(mnist.inputs)
    order = np.random.default_rng(1).permutation(len(mnist.x_train))
    chosen = np.resize(order, options.samples)
    samples, labels = encoder.encode(mnist.x_train[chosen]), mnist.y_train[chosen]
    used = (encoder.encode(mnist.x_train) >= 0).any(axis=0)
    network = initial_network([int(size) for size in options.shape.split("-")], used=used)
    lanes = [int(count) for count in options.lanes.split(",")]
    config = Config.for_network(network, lanes, neuron=options.neuron, learning=True)
    image = compile(network, config)
    core = CoreSimulation(image)
    layers = len(network.layers)
    start = Progress.start(layers)
    learner = Learner(image.network(), Rule.at_rest(layers), start, has_row=used)
    core.progress = start

    _, plain_cycles = core.infer(samples[:BATCH])
    schedule = Schedule()
    cycles, erred, weights = [], [], 0
    resume = options.samples // 3 // BATCH * BATCH
    began = time.process_time()
    for first in range(0, len(samples), BATCH):
        part = slice(first, first + BATCH)
        rule = schedule.rule(first / len(samples), layers)
        core.rule = learner.rule = rule
        if first == resume:
            core = reloaded(core, image)
        wanted = learner.learn(samples[part], labels[part])
        got, took = core.learn(samples[part], labels[part])
        for name in ("label", "step", "fired", "rows"):
            if not np.array_equal(getattr(got, name), getattr(wanted, name)):
                raise DataError(f"samples {first} to {first + len(took) - 1}: {name} differs")
        if first % (10 * BATCH) == 0 or part.stop >= len(samples):
            weights = compare(core, image, learner, f"after {min(part.stop, len(samples))} samples")
            print(f"{min(part.stop, len(samples))} samples: equal", file=sys.stderr)
        cycles.append(took)
        erred.append(wanted.erred)
    seconds = time.process_time() - began
    _, infer_cycles = core.infer(samples[:BATCH])
    took, wrong = np.concatenate(cycles), np.concatenate(erred)
    every = replace(rule, rates=[ALWAYS] * layers)
    core.rule = every
    _, full = core.learn(samples[:BATCH], labels[:BATCH])
    return {
        "network": str(network),
        "lanes": lanes,
        "neuron": options.neuron,
        "samples": len(samples),
        "weights": weights,
        "resumed_after": resume,
        "erred": float(wrong.mean()),
        "inference_cycles_at_first": float(plain_cycles.mean()),
        "inference_cycles_at_last": float(infer_cycles.mean()),
        "learning_cycles": float(took.mean()),
        "learning_cycles_erred": float(took[wrong].mean()),
        "learning_cycles_every_row": float(full.mean()),
        "ratio_first_batch": float(took[:BATCH].mean() / plain_cycles.mean()),
        "ratio_at_last": float(took[-BATCH:].mean() / infer_cycles.mean()),
        "samples_per_second": len(samples) / seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="784-600-10", help="default: %(default)s")
    parser.add_argument("--lanes", default="100,10", help="default: %(default)s")
    parser.add_argument("--neuron", choices=("current", "sum"), default="sum")
    parser.add_argument("--samples", type=int, default=60_000, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a list")
    options = parser.parse_args()
    result = run(options)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:<28}{value:,.3f}" if isinstance(value, float) else f"{name:<28}{value}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
