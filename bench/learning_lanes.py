"""Learning in the gateware against the golden learner, for every lane count and for random builds.

    python bench/learning_lanes.py                       half an hour of one core
    python bench/learning_lanes.py --builds 0            every lane count of 6-17-12-7 alone
    python bench/learning_lanes.py --builds 100 --seed 5

The compiled core of each build learns from many random networks with random settings. Compared are
answers, cycles, generators, and every byte of every memory, that of spare lanes and rows included.
Exits with 1 at the first difference.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import zip_longest

import command
import numpy as np
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import Mismatch
from firstspike.firmware.layout import unpack_row_map
from firstspike.firmware.learning import Progress, Rule
from firstspike.sim.engine import CoreSimulation
from firstspike.sim.learning_cycles import ClockedLearner
from firstspike.sim.random_lessons import (
    allowed_lanes,
    learning_build,
    random_build,
    random_part,
    random_pupil,
    random_rule,
    random_samples,
    teach,
)

#: Times that the rule changes while a network learns, and samples for which it stays.
RULES, BATCH = 4, 8


def every_lane_count(shape: list[int]) -> Iterator[Config]:
    """As few builds of one shape as have every lane count of every layer in one of them."""
    choices = [
        allowed_lanes(neurons, hidden=index < len(shape) - 2)
        for index, neurons in enumerate(shape[1:])
    ]
    for place, lanes in enumerate(zip_longest(*choices)):
        yield learning_build(
            shape,
            [count or choice[-1] for count, choice in zip(lanes, choices, strict=True)],
            bits=[2 + (place + index) % 7 for index in range(len(lanes))],
            k=[1 + (place + 3 * index) % 8 for index in range(len(lanes))],
            neuron=("current", "sum")[place % 2],
            steps=20 + place,
            fetch=1 + place % 4,
        )


def check(config: Config, networks: int, seed: int) -> dict[str, int]:
    """Have one build learn from ``networks`` networks; raises Mismatch."""
    rng = np.random.default_rng(seed)
    layers = len(config.layers)
    counts = {"networks": 0, "samples": 0, "erred": 0, "rows_updated": 0, "weights": 0}
    core = None
    try:
        for _ in range(networks):
            network, has_row = random_pupil(rng, config)
            image = random_part(rng, compile(network, config, has_row=has_row))
            core = CoreSimulation(image) if core is None else core
            core.load(image)
            network = image.network()
            has_row = unpack_row_map(image.regions["row_map"], config) >= 0
            progress = Progress.start(layers, int(rng.integers(1 << 32)))
            rule = Rule.at_rest(layers)
            learner = ClockedLearner(config, network, rule, progress, has_row=has_row)
            core.progress = progress
            for _ in range(RULES):
                rule = random_rule(rng, config, network.steps)
                samples = random_samples(rng, config, network, BATCH)
                labels = rng.integers(network.outputs, size=BATCH)
                learned = teach(core, learner, image, samples, labels, rule=rule)
                counts["samples"] += BATCH
                counts["erred"] += int(learned.erred.sum())
                counts["rows_updated"] += int(learned.updated.sum())
                counts["weights"] += sum(region.bytes for region in config.regions[:layers])
            counts["networks"] += 1
    finally:
        if core is not None:
            core.close()
    return counts


def described(config: Config) -> str:
    """A build in a line."""
    layers = config.layers

    def each(name: str) -> str:
        return ",".join(str(getattr(layer, name)) for layer in layers)

    shape = "-".join(str(size) for size in (config.inputs, *(layer.neurons for layer in layers)))
    return (
        f"{shape}, {each('lanes')} lanes, {each('weight_bits')} bits, k {each('k')}, "
        f"{layers[0].neuron} neurons, {layers[0].rows} rows, at most {config.max_steps} steps"
    )


def run(options: argparse.Namespace) -> dict:
    """Check every build."""
    rng = np.random.default_rng(options.seed)
    builds = list(every_lane_count([int(size) for size in options.shape.split("-")]))
    builds += [random_build(rng) for _ in range(options.builds)]
    total: dict[str, int] = {}
    began = time.monotonic()
    for number, config in enumerate(builds, 1):
        try:
            counts = check(config, options.networks, options.seed + number)
        except Mismatch as error:
            raise Mismatch(f"build {number}, {described(config)}: {error}") from error
        total = {name: total.get(name, 0) + count for name, count in counts.items()}
        print(f"build {number} of {len(builds)}: equal. {described(config)}", file=sys.stderr)
    lanes = {(index, layer.lanes) for config in builds for index, layer in enumerate(config.layers)}
    return {
        "builds": len(builds),
        "lane_counts": len({count for _, count in lanes}),
        **total,
        "seed": options.seed,
        "seconds": time.monotonic() - began,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shape",
        default="6-17-12-7",
        help="of the builds with every lane count of every layer (default: %(default)s)",
    )
    parser.add_argument("--builds", type=int, default=20, help="random builds (default: 20)")
    parser.add_argument("--networks", type=int, default=30, help="each build learns (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a line")
    options = parser.parse_args()
    if options.builds < 0 or options.networks < 1 or options.seed < 0:
        parser.error("--builds and --seed take at least 0, --networks at least 1")
    result = run(options)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{result['builds']} builds of {result['lane_counts']} lane counts, "
            f"{result['networks']} networks, {result['samples']} samples "
            f"({result['erred']} with an error, {result['rows_updated']} rows updated), "
            f"{result['weights']} weights compared: all equal, in {result['seconds']:.0f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
