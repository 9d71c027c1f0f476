"""Images and clock cycles a second of the compiled, cycle-accurate simulation.

    python bench/engine.py                            10,000 MNIST images, 784-600-10, 64 lanes
    python bench/engine.py --lanes 100 --images 1000
    python bench/engine.py --network net.npz          another network for MNIST

Every image is verified: each spike, decision and membrane against the golden model, each cycle
count against the cycle model. The time of the simulation alone is what counts, on one core; that of
building it is reported beside it and is spent once.
"""

import argparse
import json
import sys
import time

import command
import firstspike
import numpy as np
from firstspike import data, encode
from firstspike.firmware.config import Config
from firstspike.sim.engine import CoreSimulation
from firstspike.sim.verify import verify
from tqdm import tqdm


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="mnist-784-600-10", help="shipped name or .npz file")
    parser.add_argument("--data", default="mnist", help="data set whose test images are run")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--lanes", type=int, default=64, help="lanes of each layer, at most")
    parser.add_argument(
        "--clock", type=float, default=50e6, help="clock in Hz, for the board's rate"
    )
    parser.add_argument("--skip-verification", action="store_true")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    network = firstspike.load_network(arguments.network)
    images = data.load(arguments.data).x_test
    samples = encode.from_meta(network.meta["encoding"]).encode(images)
    samples = samples[np.arange(arguments.images) % len(samples)]
    image = firstspike.compile(network, Config.for_network(network, arguments.lanes))
    if not arguments.skip_verification:
        with tqdm(total=len(samples), unit="img", desc="verify") as bar:
            report = verify(network, samples, image, progress=bar.update)
        print(report, file=sys.stderr)
    started = time.perf_counter()
    with CoreSimulation(image) as simulation:
        ready = time.perf_counter()
        used = time.process_time()
        _, cycles = simulation.infer(samples)
        used = time.process_time() - used
    figures = {
        "network": "-".join(map(str, network.shape)),
        "lanes": [layer.lanes for layer in image.config.layers],
        "images": len(samples),
        "seconds": used,
        "images_per_second": len(samples) / used,
        "cycles_per_second": float(cycles.sum()) / used,
        "build_and_load_seconds": ready - started,
        "mean_cycles": float(cycles.mean()),
        "median_cycles": float(np.median(cycles)),
        "board_images_per_second": arguments.clock / float(cycles.mean()),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<24} {value:,.1f}" if isinstance(value, float) else f"{name:<24} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
