"""Show the whole chain on MNIST: accuracy, spikes, gateware, device, report.

Classifies the test images with the golden model and prints the figures beside those published in
2017; verifies golden model, cycle model and gateware against each other, cycle by cycle; loads the
simulated device over its link and classifies images on it; writes a report and a picture of one
sample's spikes. Without MNIST the 8x8 digits of scikit-learn stand in.
"""

import argparse
from pathlib import Path

from .. import compile as compile_network
from .. import plots
from ..device import open as open_device
from ..document import make_folder
from ..firmware.errors import BuildError, DataError
from ..firmware.image import Image
from ..firmware.network import Network
from ..report import Report
from ..shipped import load_network
from . import common

EXAMPLES = (
    "",
    "--network mnist-784-600-10-sparse --out sparse",
    "--verify 1000 --device 100 --json",
)

_SUBSTITUTE = "digits-64-32-10"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network",
        default=common.DEFAULT_NETWORK,
        help=f"a network by file or name (default: {common.DEFAULT_NETWORK})",
    )
    common.add_data(parser)
    parser.add_argument(
        "--verify",
        type=common.positive,
        default=200,
        metavar="N",
        help="images to run through the simulated gateware (default: 200)",
    )
    parser.add_argument(
        "--device",
        type=common.positive,
        default=20,
        metavar="N",
        help="images to send to the simulated device (default: 20)",
    )
    parser.add_argument(
        "--out", default="out", metavar="FOLDER", help="where files go (default: out)"
    )
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from ..sim import fast

    network, batch, notes = _choose(options)
    folder = make_folder(options.out)
    image = compile_network(network)
    common.say(options, f"{batch.dataset}: {len(batch.samples)} images, golden model")
    inference = fast.infer(network, batch.samples)
    try:
        notes += [_verify(options, network, image, batch), _ask_device(options, image, batch)]
    except BuildError as error:
        notes.append(f"The gateware was not simulated: {error}.")
    report = Report(
        network,
        inference,
        batch.labels,
        batch.dataset,
        example=batch.samples[0],
        checks=notes,
    )
    files = _write(options, folder, report, network, batch)
    values = report.to_dict() | {"files": [str(path) for path in files]}
    written = ", ".join(map(str, files))
    common.emit(options, values, f"{report.to_text()}\n\nWritten: {written}")


def _choose(options: argparse.Namespace) -> tuple[Network, common.Batch, list[str]]:
    """The network and its samples, or the digits if the samples cannot be had."""
    network = load_network(options.network)
    try:
        return network, common.load_batch(options, network), []
    except DataError as error:
        if options.dataset or options.network != common.DEFAULT_NETWORK:
            raise
        note = f"The digits of scikit-learn stand in for MNIST: {error}."
    common.say(options, note)
    network = load_network(_SUBSTITUTE)
    options.count = None
    return network, common.load_batch(options, network), [note]


def _verify(
    options: argparse.Namespace, network: Network, image: Image, batch: common.Batch
) -> str:
    from tqdm import tqdm

    from ..sim.verify import verify

    samples = batch.samples[: options.verify]
    common.say(options, "gateware: building its simulation, unless it is in the cache")
    with tqdm(total=len(samples), unit="img", disable=options.quiet or None) as bar:
        return f"{verify(network, samples, image, progress=bar.update)}."


def _ask_device(options: argparse.Namespace, image: Image, batch: common.Batch) -> str:
    samples = batch.samples[: options.device]
    common.say(options, "device: building its simulation, unless it is in the cache")
    progress = not options.quiet
    with open_device("sim:", config=image.config) as device:
        device.load(image, progress=progress)
        result = device.infer(samples, progress=progress)
        clock = device.info.clock_hz
    common.compare(image.network(), samples, result, image.config)
    latency = result.cycles.mean()
    return (
        f"{len(samples)} images through the simulated device and its link: every answer as the "
        f"golden model's, {latency:.0f} cycles an image on average, {1e6 * latency / clock:.1f} µs "
        f"at {clock / 1e6:g} MHz."
    )


def _write(
    options: argparse.Namespace,
    folder: Path,
    report: Report,
    network: Network,
    batch: common.Batch,
) -> list[Path]:
    """Write what can be written; without matplotlib there are no pictures."""
    report.save(folder / "report.json")
    try:
        report.save(folder / "report.html")
        title = f"{batch.dataset}, sample 0, class {batch.labels[0]}"
        figure = plots.raster(network, batch.samples[0], title=title)
        plots.save(figure, folder / "raster.png")
    except BuildError as error:
        common.say(options, str(error))
        return [folder / "report.json"]
    return [folder / name for name in ("report.html", "report.json", "raster.png")]
