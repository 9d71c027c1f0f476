"""Round the float weights of a network to integers, or make a network faster or smaller.

FILE holds float matrices weights_0, weights_1 … of shape (inputs, neurons), relative to a
threshold of 1, and becomes a network. If it is a network already, --k changes its time constant:
the weights stay, thresholds and steps are scaled. --rows removes the weights of those inputs that
spike most rarely in the training images, until so many weight rows are left.
"""

import argparse
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..firmware.errors import DataError, ModelFileError
from ..firmware.files import require_writable
from ..firmware.network import Network
from ..shipped import load_network, names
from . import common

EXAMPLES = (
    "weights.npz --bits 4 --clip 0.5 0.3 --dataset mnist -o network.npz",
    "mnist-784-600-10 --k 3 -o fast.npz",
    "mnist-784-600-10 --rows 512 -o small.npz",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="float weights (.npz), or a network by file or name")
    parser.add_argument("--bits", type=common.positive, help="weight bits, 2 to 8 (default: 8)")
    parser.add_argument(
        "--k", type=common.positive, help="decay shift; the time constant is 2^k steps (default: 4)"
    )
    parser.add_argument(
        "--rows",
        type=common.positive,
        metavar="N",
        help="weight rows of the first layer that a network keeps (default: all)",
    )
    parser.add_argument(
        "--clip",
        type=float,
        nargs="+",
        metavar="W",
        help="largest weight of each layer (default: the largest there is)",
    )
    parser.add_argument(
        "--steps", type=common.positive, help="time steps (default: four time constants)"
    )
    parser.add_argument(
        "--encoding",
        type=_encoding,
        metavar="KIND[,NAME=VALUE…]",
        help="how inputs are encoded: binary, linear or logarithmic (default: binary)",
    )
    parser.add_argument("--dataset", metavar="NAME", help="the data set that the network is for")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the network")
    common.add_output(parser)


def _encoding(text: str) -> dict[str, object]:
    kind, *parameters = text.split(",")
    meta: dict[str, object] = {"kind": kind}
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        try:
            meta[name] = float(value) if "." in value else int(value)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{parameter} is not of the form NAME=NUMBER"
            ) from None
    return meta


def run(options: argparse.Namespace) -> None:
    require_writable(options.output)
    if options.dataset is not None:
        common.check_dataset(options.dataset)
    network = _change(options) or _round(options)
    network.save(options.output)
    values = {"output": options.output, "shape": list(network.shape), "steps": network.steps}
    common.emit(options, values, f"{options.output}: {network}")


def _change(options: argparse.Namespace) -> Network | None:
    """The network with another time constant and fewer rows; None if the file is no network."""
    from ..quantise import prune, retime

    try:
        network = load_network(options.file)
    except ModelFileError:
        if options.file in names() or _matrices(options.file) is None:
            raise
        return None
    unsuitable = ("bits", "clip", "steps", "encoding")
    given = [name for name in unsuitable if getattr(options, name) is not None]
    if given or (options.k is None and options.rows is None):
        raise DataError(
            f"{options.file} is a network already, which takes --k and --rows alone"
            + (f", not --{given[0]}" if given else "")
        )
    if options.dataset is not None and options.rows is None:
        raise DataError(
            f"--dataset goes with --rows where {options.file} is a network already; leave it out"
        )
    if options.rows is not None:
        there = int(network.layers[0].weights.any(axis=1).sum())
        if options.rows > there:
            raise DataError(
                f"{options.rows} weight rows were to be kept, but {options.file} has {there}; "
                "choose fewer"
            )
        dataset, encoder = common.data_for(options, network)
        network = prune(network, encoder.encode(dataset.x_train), rows=options.rows)
    if options.k is not None:
        network = retime(network, options.k)
    return replace(network, meta={**network.meta, "name": Path(options.output).stem})


def _round(options: argparse.Namespace) -> Network:
    from .. import encode
    from ..quantise import quantise

    if options.rows is not None:
        raise DataError(
            f"--rows goes with a network, but {options.file} holds float weights; quantise them "
            "without it, then give --rows for the network"
        )
    encoder = encode.from_meta(options.encoding or {"kind": "binary"})
    meta = {"name": Path(options.output).stem, "encoding": encoder.to_meta()}
    if options.dataset:
        meta["dataset"] = options.dataset
    return quantise(
        _matrices(options.file) or [],
        bits=options.bits or 8,
        k=options.k or 4,
        clips=options.clip,
        steps=options.steps,
        meta=meta,
    )


def _matrices(file: str) -> list[np.ndarray] | None:
    """The float weights in a file, None if there are none."""
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as archive:
            count = sum(name.startswith("weights_") for name in archive.files)
            matrices = [archive[f"weights_{index}"] for index in range(count)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # load_network has said what is wrong
    return matrices if matrices and all(m.dtype.kind == "f" for m in matrices) else None
