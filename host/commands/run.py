"""Classify samples on a device and show what it did.

PORT is a serial port, a URL such as socket://host:4000, model: for the golden model or sim: for
the cycle-accurate simulation. The model is loaded first; only what differs is sent. With --check
every answer is compared with the golden model.
"""

import argparse
import time

import numpy as np

from ..device import open as open_device
from ..firmware.errors import Mismatch
from ..firmware.image import Image
from ..firmware.registers import counter_differences, device_errors
from . import common

EXAMPLES = (
    "/dev/ttyUSB1 mnist-784-600-10 --check",
    "sim: digits-64-32-10 -n 100",
    "socket://lab:4000 mnist.image --baud 3000000 --json",
)

_HOLD = "hold what was loaded"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", help="a serial port, a URL, model: or sim:")
    common.add_network(parser, help="a network by file or name, or an image file")
    common.add_data(parser)
    common.add_baud(parser)
    common.add_faults(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare every answer with the golden model, every cycle count with the cycle model",
    )
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    model = common.load_model(options.network)
    network = model.network() if isinstance(model, Image) else model
    batch = common.load_batch(options, network, pad=isinstance(model, Image))
    progress = not options.quiet
    line = common.faulty_line(options)
    with open_device(options.port, baud=options.baud, line=line) as device:
        device.load(model, progress=progress)
        before = device.counters()
        start = time.perf_counter()
        result = device.infer(batch.samples, progress=progress)
        seconds = time.perf_counter() - start
        clock, config = device.info.clock_hz, device.config
        statistics = device.statistics
        try:
            device.check()
            changed = None
        except Mismatch as error:
            changed = error
        # After a reset they begin anew.
        after = device.counters()
        happened = after if statistics.resets else counter_differences(before, after)
    # Of a model that is no longer there nobody can say which answers it gave.
    checked = options.check and changed is None
    if checked:
        common.compare(network, batch.samples, result, config)
    accuracy = float((result.label == batch.labels).mean())
    latency = float(result.cycles.mean()) / clock
    values = {
        "port": options.port,
        "dataset": batch.dataset,
        "samples": len(result),
        "accuracy": accuracy,
        "mean_step": float(result.step.mean()),
        "fired": float(result.fired.mean()),
        "mean_cycles": float(result.cycles.mean()),
        "mean_rows": result.rows.mean(axis=0).tolist(),
        "clock_hz": clock,
        "images_per_second": len(result) / seconds,
        "checked": checked,
        "link": vars(statistics),
        "device": happened,
        "memories": _HOLD if changed is None else str(changed),
        "faults": {} if line is None else line.injected,
    }
    lines = [
        f"{batch.dataset} on {options.port}",
        f"samples         {len(result)}",
        f"accuracy        {100 * accuracy:.2f} %",
        f"decision step   mean {result.step.mean():.2f}, median {np.median(result.step):g}",
        f"latency         {result.cycles.mean():.0f} cycles, {1e6 * latency:.1f} µs at "
        f"{clock / 1e6:g} MHz",
        f"speed           {len(result) / seconds:.0f} images a second over the link",
        f"memories        {_HOLD if changed is None else changed}",
    ]
    if checked:
        lines.append("golden model    agrees in every answer, the cycle model in every cycle")
    if errors := device_errors(happened):
        lines.append(f"device          {common.in_words(errors)}")
    if errors := statistics.errors:
        lines.append(f"host            {common.in_words(errors)}")
    if line is not None:
        lines.append(f"faults          {common.in_words(line.injected)}")
    common.emit(options, values, "\n".join(lines))
    if changed is not None:
        raise changed
