"""Draw a picture: PNG, SVG or PDF, as the file's name ends.

raster shows the spikes and output membranes of one sample, steps how many samples are decided in
each step, accuracy the share that is decided by each step, encoding how grey levels become spikes.
"""

import argparse

from .. import plots
from ..firmware.errors import DataError
from ..shipped import load_network
from . import common

EXAMPLES = (
    "raster mnist-784-600-10 --sample 7 -o raster.png",
    "accuracy mnist-784-600-10 -o accuracy.svg",
    "encoding mnist-784-128-10-grey -o encoding.pdf",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", choices=("raster", "steps", "accuracy", "encoding"), help="what to draw"
    )
    common.add_network(parser)
    common.add_data(parser)
    parser.add_argument(
        "--sample", type=int, default=0, metavar="I", help="which sample, from 0 (default: 0)"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the picture")
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from .. import encode
    from ..sim import fast

    plots.require_savable(options.output)
    network = load_network(options.network)
    batch = common.load_batch(options, network)
    if not 0 <= options.sample < len(batch.samples):
        raise DataError(
            f"sample {options.sample} was asked for, but there are {len(batch.samples)}, from 0"
        )
    if options.kind == "raster":
        label = batch.labels[options.sample]
        title = f"{batch.dataset}, sample {options.sample}, class {label}"
        figure = plots.raster(network, batch.samples[options.sample], title=title)
    elif options.kind == "encoding":
        image = batch.images[options.sample]
        encoder = encode.from_meta(network.meta["encoding"])
        figure = encode.plot_encoding(encoder, image if image.ndim == 2 else image[None])
    elif options.kind == "steps":
        figure = plots.decision_steps(fast.infer(network, batch.samples))
    else:
        figure = plots.accuracy_by_step(fast.infer(network, batch.samples), batch.labels)
    plots.save(figure, options.output)
    common.emit(options, {"output": options.output, "kind": options.kind}, options.output)
