"""How busy inference and learning keep the line, by the virtual board's clock.

    python bench/link.py                          model and simulated gateware, 3 M baud, 1 ms USB
    python bench/link.py --baud 12000000 --latency 0.002
    python bench/link.py --target model --images 10000
    python bench/link.py --target sim --learning --lanes 100,10 --clock 61538000 --baud 1000000

Seconds are those of the virtual board: they pass while bytes are on the line, while the device
works, and while the host waits for an answer, and `--latency` passes between host and line in each
direction. What the host computes takes none, so the figures do not depend on this machine. The
share that counts is that of the direction with more to carry: no protocol could be faster than
1 divided by it.
"""

import argparse
import json
import sys

import command
import firstspike
import numpy as np
from firstspike import data, encode
from firstspike.firmware.config import NEURONS, Config
from firstspike.firmware.learning import ALWAYS, Progress, Rule
from firstspike.sim import fast
from firstspike.sim.engine import AcceleratorSimulation
from firstspike.sim.fast_learner import Learner
from firstspike.sim.virtual_board import Backend, LineUse, ModelBackend, VirtualBoard

BACKENDS = {"model": ModelBackend, "sim": AcceleratorSimulation}


def figures(use: LineUse, items: int) -> dict[str, float]:
    """Shares of the time in which each direction was busy, and items a second."""
    return {
        "seconds": use.elapsed,
        "to_device_percent": 100 * use.to_device / use.elapsed,
        "to_host_percent": 100 * use.to_host / use.elapsed,
        "busier_percent": 100 * max(use.to_device, use.to_host) / use.elapsed,
        "per_second": items / use.elapsed,
    }


def measure(
    target: str,
    image: firstspike.Image,
    samples: np.ndarray,
    labels: np.ndarray,
    arguments: argparse.Namespace,
) -> dict[str, dict[str, float]]:
    """Load, infer and perhaps learn over one virtual board; what comes of it is checked."""
    backend: Backend = BACKENDS[target](image.config, clock_hz=arguments.clock)
    board = VirtualBoard(backend, baud=arguments.baud, latency=arguments.latency)
    # The public device, on a board whose clock can be read.
    with firstspike.open(f"{target}:", config=image.config, line=lambda connect: board) as device:
        greeted = board.use
        device.load(image)
        loaded = board.use
        result = device.infer(samples)
        inferred = board.use
        expected = fast.infer(image.network(), samples)
        assert (result.label == expected.label).all()
        assert (result.step == expected.step).all()
        size = sum(region.bytes for region in image.config.regions)
        found = {
            "load": figures(loaded - greeted, size),
            "infer": figures(inferred - loaded, len(samples)),
        }
        if image.config.learning:
            rule = Rule([ALWAYS] * len(image.config.layers))
            progress = Progress.start(len(image.config.layers), 1)
            learner = Learner(image.network(), rule, progress, has_row=device.has_row())
            learner.learn(samples, labels)
            device.start_learning(rule, progress)
            started = board.use
            device.learn(samples, labels)
            found["learn"] = figures(board.use - started, len(samples))
            for theirs, ours in zip(device.network().layers, learner.network.layers, strict=True):
                assert (theirs.weights == ours.weights).all()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="mnist-784-600-10", help="shipped name or .npz file")
    parser.add_argument("--data", default="mnist", help="data set whose test images are sent")
    parser.add_argument("--target", choices=BACKENDS, help="default: both")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--lanes", default="64", help="one count for each layer, or one for all")
    parser.add_argument("--neuron", choices=NEURONS, default="current", help="of the first layer")
    parser.add_argument("--learning", action="store_true", help="learn from the images, too")
    parser.add_argument("--baud", type=int, default=3_000_000)
    parser.add_argument("--latency", type=float, default=1e-3, help="seconds, one way")
    parser.add_argument("--clock", type=int, default=48_000_000, help="of the device, in Hz")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    network = firstspike.load_network(arguments.network)
    tests = data.load(arguments.data)
    samples = encode.from_meta(network.meta["encoding"]).encode(tests.x_test)
    chosen = np.arange(arguments.images) % len(samples)
    samples, labels = samples[chosen], tests.y_test[chosen]
    lanes = [int(count) for count in arguments.lanes.split(",")]
    config = Config.for_network(
        network,
        lanes,
        neuron=arguments.neuron,
        learning=arguments.learning,
    )
    image = firstspike.compile(network, config)
    targets = [arguments.target] if arguments.target else list(BACKENDS)
    measured = {target: measure(target, image, samples, labels, arguments) for target in targets}
    if arguments.json:
        print(json.dumps(measured))
        return 0
    units = {"load": "bytes/s", "infer": "images/s", "learn": "images/s"}
    for target, activities in measured.items():
        for activity, values in activities.items():
            print(
                f"{target:<6} {activity:<6} {values['seconds']:8.4f} s   to device "
                f"{values['to_device_percent']:5.1f} %   to host {values['to_host_percent']:5.1f} "
                f"%   {values['per_second']:,.0f} {units[activity]}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
