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

#: Pictures of one sample; the others are of all.
_OF_ONE_SAMPLE = ("raster", "encoding")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", choices=("raster", "steps", "accuracy", "encoding"), help="what to draw"
    )
    common.add_network(parser)
    common.add_data(parser)
    parser.add_argument(
        "--sample",
        type=int,
        metavar="I",
        help="which sample raster and encoding show, from 0 (default: 0)",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the picture")
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from .. import encode
    from ..sim import fast

    if options.sample is not None and options.kind not in _OF_ONE_SAMPLE:
        raise DataError(
            f"--sample goes with {' and '.join(_OF_ONE_SAMPLE)}, but {options.kind} shows all "
            "samples; leave it out"
        )
    plots.require_savable(options.output)
    network = load_network(options.network)
    batch = common.load_batch(options, network)
    sample = options.sample or 0
    if not 0 <= sample < len(batch.samples):
        raise DataError(
            f"sample {sample} was asked for, but there are {len(batch.samples)}, from 0"
        )
    if options.kind == "raster":
        label = batch.labels[sample]
        title = f"{batch.dataset}, sample {sample}, class {label}"
        figure = plots.raster(network, batch.samples[sample], title=title)
    elif options.kind == "encoding":
        image = batch.images[sample]
        encoder = encode.from_meta(network.meta["encoding"])
        figure = encode.plot_encoding(encoder, image if image.ndim == 2 else image[None])
    elif options.kind == "steps":
        figure = plots.decision_steps(fast.infer(network, batch.samples))
    else:
        figure = plots.accuracy_by_step(fast.infer(network, batch.samples), batch.labels)
    plots.save(figure, options.output)
    common.emit(options, {"output": options.output, "kind": options.kind}, options.output)
