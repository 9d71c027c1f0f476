"""Drive a device for long, over a line as bad as you like, and check every answer.

Without NETWORK the device gets random networks and samples, suited to whatever it is built for;
model: and sim: are built for digits-64-32-10. Answers and cycle counts are compared with golden
model and cycle model. A device that learns learns as well, and its weights are compared afterwards.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from ..device import open as open_device
from ..firmware.config import Config
from ..firmware.errors import DataError, LinkError, Mismatch
from ..firmware.image import Image
from ..firmware.network import Network
from ..shipped import load_network, names
from ..soak import Soak, batches, random_work, soak
from ..transport import is_virtual
from . import common

EXAMPLES = (
    "sim: --samples 100000 --faults flip=1e-4,drop=1e-3",
    "/dev/ttyUSB1 mnist-784-600-10 --duration 3600 --json",
    "model: --learning --duration 60 --faults reset=1e-6,unplug=1e-5",
)

#: Answers, unless something else is asked for.
_SAMPLES = 10_000

#: What model: and sim: are built for, if no network is given.
_BUILT_FOR = "digits-64-32-10"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", nargs="?", default="model:", help="the device (default: model:)")
    common.add_network(parser, nargs="?")
    parser.add_argument("--dataset", metavar="NAME", help="data set instead of the network's own")
    parser.add_argument(
        "--samples",
        type=common.positive,
        help=f"answers after which it ends (default: {_SAMPLES}, or as many as --duration allows)",
    )
    parser.add_argument(
        "--duration", type=common.positive, metavar="SECONDS", help="time after which it ends"
    )
    parser.add_argument(
        "--seed",
        type=common.non_negative,
        default=0,
        help="of networks, samples and faults (default: 0)",
    )
    common.add_faults(parser)
    common.add_baud(parser)
    common.add_learning(parser)
    common.add_output(parser)


def _config(options: argparse.Namespace, network: Network | None) -> Config:
    """What a virtual board is built for."""
    network = load_network(_BUILT_FOR) if network is None else network
    return Config.for_network(network, learning=options.learning)


def _check(options: argparse.Namespace) -> None:
    """Refuse arguments that would have no effect."""
    if options.network is None:
        if options.port in names() or Path(options.port).is_file():
            raise DataError(
                f"{options.port} is a network and no port; give the port first, as in `firstspike "
                f"soak model: {options.port}`"
            )
        if options.dataset is not None:
            raise DataError(
                "--dataset needs a network; give one after the port, as in `firstspike soak model: "
                f"{_BUILT_FOR} --dataset {options.dataset}`"
            )
    if options.learning and not is_virtual(options.port):
        raise DataError(
            f"--learning says what model: and sim: are built for, but {options.port} is built "
            "already, and learns if it can; leave it out"
        )


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    _check(options)
    samples = options.samples
    if samples is None and options.duration is None:
        samples = _SAMPLES
    line = common.faulty_line(options, seed=options.seed)
    batch = None
    if options.network is not None:
        model = common.load_model(options.network)
        network = model.network() if isinstance(model, Image) else model
        batch = common.load_batch(options, network, whole=True, pad=isinstance(model, Image))
    config = None
    if is_virtual(options.port):
        config = _config(options, network if batch else None)
    report = Soak()
    with (
        open_device(options.port, baud=options.baud, config=config, line=line) as device,
        tqdm(
            desc="soak",
            total=samples,
            unit="img",
            disable=options.quiet or None,
        ) as bar,
    ):
        work = (
            random_work(device, options.seed)
            if batch is None
            else batches(network, batch.samples, batch.labels, options.seed)
        )
        error: LinkError | Mismatch | KeyboardInterrupt | None = None
        try:
            soak(
                device,
                work,
                samples=samples,
                duration=options.duration,
                report=report,
                progress=bar.update,
            )
        except (LinkError, Mismatch, KeyboardInterrupt) as raised:
            error = raised
        statistics = device.statistics
    faults = {} if line is None else line.injected
    interrupted = isinstance(error, KeyboardInterrupt)
    values = {
        "port": options.port,
        "seed": options.seed,
        "passed": None if interrupted else error is None,
        "error": None if error is None else str(error) or "interrupted",
        **asdict(report),
        "link": asdict(statistics),
        "faults": faults,
    }
    so_far = ": all " if error is None else ", until then "
    lines = [
        f"answers   {report.samples:,} in {report.rounds:,} rounds, {report.seconds:.0f} s{so_far}"
        "as the models'",
        f"link      {statistics.requests:,} requests done, {statistics.bytes_sent:,} bytes sent, "
        f"{statistics.bytes_received:,} received; "
        f"{common.in_words(statistics.errors, none='no errors')}",
        f"device    {common.in_words(report.counters, none='its counters are unknown')}",
        f"faults    {common.in_words(faults)}",
    ]
    if report.learned or report.lost:
        lines.insert(
            1,
            f"learning  {report.learned:,} samples, {report.repeated:,} of them without an answer, "
            f"{report.weights:,} weights{so_far}as the golden learner's; {report.lost:,} rounds "
            "lost by resets",
        )
    verdict = "was interrupted" if interrupted else "passes" if error is None else "fails"
    common.emit(options, values, "\n".join([*lines, f"{options.port} {verdict}"]))
    if error is not None:
        raise error
