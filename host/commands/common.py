"""What several commands share: arguments, loading by name, output."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..firmware.config import NEURONS, Config
from ..firmware.errors import DataError, ModelFileError
from ..firmware.formats import NEVER
from ..firmware.image import Image
from ..firmware.network import Network
from ..firmware.suggest import suggest
from ..selftest import compare
from ..shipped import load_network
from ..transport import DEFAULT_BAUD, VIRTUAL_BAUD

if TYPE_CHECKING:
    from ..data import Dataset
    from ..encode import Encoder
    from ..sim.faults import FaultyLine

__all__ = [
    "DEFAULT_LANES",
    "DEFAULT_NETWORK",
    "WAYS",
    "Batch",
    "add_baud",
    "add_build",
    "add_config",
    "add_data",
    "add_faults",
    "add_learning",
    "add_native",
    "add_network",
    "add_output",
    "add_ways",
    "check_dataset",
    "compare",
    "data_for",
    "emit",
    "faulty_line",
    "in_words",
    "load_batch",
    "load_config",
    "load_dataset",
    "load_description",
    "load_model",
    "megahertz",
    "non_negative",
    "positive",
    "positives",
    "read_config",
    "say",
    "suggest",
    "superfluous",
    "widen",
]

DEFAULT_NETWORK = "mnist-784-600-10"

#: Lanes of each layer.
DEFAULT_LANES = 64

#: What ``--ways`` takes.
WAYS = (1, 2, 4, 8, 16, 32)


def positive(text: str) -> int:
    """A whole number of at least 1, as an argument's type."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return value


def non_negative(text: str) -> int:
    """A whole number of at least 0, as an argument's type."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 0")
    return value


def positives(text: str) -> list[int]:
    """Whole numbers of at least 1, separated by commas, as an argument's type."""
    return [positive(part) for part in text.split(",")]


def megahertz(text: str) -> int:
    """A frequency in MHz, as an argument's type; the value is in Hz."""
    try:
        value = round(float(text) * 1e6)
    except (ValueError, OverflowError):
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a frequency in MHz")
    return value


def _ways(text: str) -> int:
    """As many spikes a cycle as the gateware can be built for, as an argument's type."""
    value = positive(text)
    if value not in WAYS:
        raise argparse.ArgumentTypeError(
            f"{text} is not a power of two from {WAYS[0]} to {WAYS[-1]}"
        )
    return value


def add_network(parser: argparse.ArgumentParser, **overrides: Any) -> None:
    """Add the positional argument NETWORK."""
    parser.add_argument(
        "network",
        **{"help": "a network file, or the name of a network that comes with Firstspike"}
        | overrides,
    )


def add_data(parser: argparse.ArgumentParser, count: int | None = None) -> None:
    """Add the arguments that choose samples."""
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="mnist, fashion-mnist, kmnist, digits or a .npz file (default: the network's own)",
    )
    parser.add_argument(
        "-n",
        "--count",
        type=positive,
        default=count,
        metavar="N",
        help=f"number of test samples (default: {count or 'all'})",
    )
    parser.add_argument(
        "--seed", type=non_negative, help="choose the samples at random (default: the first ones)"
    )


def add_config(parser: argparse.ArgumentParser) -> "argparse._MutuallyExclusiveGroup":
    """Add the arguments that choose a configuration of the accelerator.

    Returns
    -------
    group
        Of the arguments that exclude each other, for a command that knows more of them.
    """
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--lanes",
        type=positives,
        default=[DEFAULT_LANES],
        metavar="N[,N…]",
        help=f"weights processed per cycle, for all layers or for each (default: {DEFAULT_LANES})",
    )
    choice.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration in a JSON file or an image, instead of the smallest that holds "
        "the network",
    )
    parser.add_argument(
        "--neuron",
        choices=NEURONS,
        default="current",
        help="neurons of the first layer: for any samples, or smaller ones for spikes in step 0 "
        "alone (default: current)",
    )
    add_ways(parser)
    add_learning(parser)
    return choice


def add_learning(parser: argparse.ArgumentParser) -> None:
    """Add ``--learning``."""
    parser.add_argument(
        "--learning",
        action="store_true",
        help="build an accelerator that can learn; its currents are as wide as any weights may "
        "need",
    )


def add_ways(parser: argparse.ArgumentParser) -> None:
    """Add ``--ways``."""
    parser.add_argument(
        "--ways",
        type=_ways,
        default=1,
        metavar="N",
        help="spikes per cycle that the last layer takes, a power of two (default: 1)",
    )


def add_build(parser: argparse.ArgumentParser, *, constraint: str) -> None:
    """Add what is asked of a build: board, network, ways, constraint and seed.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    constraint : str
        How the help ends that is given for ``--constraint``.
    """
    parser.add_argument("--board", required=True, metavar="NAME", help="see `firstspike boards`")
    parser.add_argument(
        "--model",
        default=DEFAULT_NETWORK,
        metavar="FILE",
        help="a network by file or name, which the accelerator is built for "
        f"(default: {DEFAULT_NETWORK})",
    )
    add_ways(parser)
    parser.add_argument(
        "--constraint",
        type=megahertz,
        metavar="MHZ",
        help=f"clock that place and route is asked for{constraint}",
    )
    parser.add_argument(
        "--seed", type=non_negative, default=1, help="seed of place and route (default: 1)"
    )


def add_native(parser: argparse.ArgumentParser) -> None:
    """Add ``--native``."""
    parser.add_argument(
        "--native", action="store_true", help="take the tools on PATH instead of those from PyPI"
    )


def add_baud(parser: argparse.ArgumentParser) -> None:
    """Add ``--baud``."""
    parser.add_argument(
        "--baud",
        type=positive,
        help=f"baud rate of the line (default: {DEFAULT_BAUD}, virtual boards {VIRTUAL_BAUD})",
    )


def add_faults(parser: argparse.ArgumentParser) -> None:
    """Add ``--faults``."""
    parser.add_argument(
        "--faults",
        metavar="KIND=N[,…]",
        help="make the line a bad one, as in flip=1e-4,drop=1e-3,seed=7; docs/faults.md has the "
        "kinds",
    )


def faulty_line(options: argparse.Namespace, *, seed: int = 0) -> "FaultyLine | None":
    """The line that ``--faults`` describes.

    Raises
    ------
    DataError
        If it describes none.
    """
    if options.faults is None:
        return None
    from ..sim.faults import FaultyLine

    return FaultyLine(options.faults, seed=seed)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--quiet``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the result")


def emit(options: argparse.Namespace, values: dict[str, Any], text: str) -> None:
    """Print a command's result, as JSON if that was asked for."""
    print(json.dumps(values, indent=2) if options.json else text)


def in_words(counts: Mapping[str, int], none: str = "none") -> str:
    """Counts in words, such as ``3 drop, 15 flip``; ``none`` where there are none."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or none


def say(options: argparse.Namespace, text: str) -> None:
    """Print what a command is doing, on standard error."""
    if not (options.quiet or options.json):
        print(text, file=sys.stderr)


def load_model(name: str) -> Network | Image:
    """Load a network by file or name, or an image by file.

    Raises
    ------
    ModelFileError
        If it is neither, or damaged.
    """
    path = Path(name)
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        head = b""
    return Image.load(path) if head == b"firstspike image" else load_network(name)


def load_description(name: str) -> Network | Image | Config:
    """Load a network, an image or a configuration.

    Raises
    ------
    ModelFileError
        If it is none of them, or damaged.
    """
    return read_config(Path(name)) if name.endswith(".json") else load_model(name)


def load_config(options: argparse.Namespace, network: Network | None) -> Config:
    """The configuration that :func:`add_config`'s arguments choose.

    Raises
    ------
    ModelFileError
        If the file given is neither a configuration nor an image.
    DataError
        If there is neither a network nor a file, or the lanes do not suit the network, or something
        is given beside the file that it says already.
    """
    if options.config is not None:
        if given := superfluous(options):
            raise DataError(
                f"{given} and --config were given, but a configuration says all that is "
                "built; leave out one of them"
            )
        return read_config(Path(options.config))
    if network is None:
        raise DataError("there is nothing to build for; give a network or --config")
    return Config.for_network(
        network, options.lanes, neuron=options.neuron, ways=options.ways, learning=options.learning
    )


def superfluous(options: argparse.Namespace) -> str:
    """What of :func:`add_config`'s arguments is given and has no effect beside ``--config``, or
    where something else says what is built; empty if there is nothing."""
    given = {
        "--neuron": options.neuron != NEURONS[0],
        "--ways": options.ways != 1,
        "--learning": options.learning,
    }
    return next((name for name, is_given in given.items() if is_given), "")


def read_config(path: Path) -> Config:
    """Read a configuration from a JSON file or an image.

    Raises
    ------
    ModelFileError
        If the file is neither.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror or error})") from error
    if content.startswith(b"firstspike image"):
        return Image.load(path).config
    try:
        return Config.from_json(content.decode(errors="replace"))
    except DataError as error:
        raise ModelFileError(f"{path} {str(error).removeprefix('this ')}") from error


@dataclass(frozen=True, eq=False)
class Batch:
    """Encoded samples of a data set.

    Parameters
    ----------
    dataset : str
        What they are, such as ``mnist test``.
    images : (batch, height, width) or (batch, inputs) uint8
    samples : (batch, inputs) int32
        Spike steps.
    labels : (batch,) int64
    """

    dataset: str
    images: np.ndarray
    samples: np.ndarray
    labels: np.ndarray


def check_dataset(name: str) -> None:
    """Refuse the name of a data set that there is not.

    Raises
    ------
    DataError
        If it is neither one that is known nor that of a ``.npz`` file.
    """
    from .. import data

    if not name.endswith(".npz") and name not in data.NAMES:
        raise DataError(f"there is no data set {name}{suggest(name, data.NAMES)}")


def load_dataset(name: str, *, progress: bool) -> "Dataset":
    """Load a data set, or say what name may have been meant."""
    from .. import data

    check_dataset(name)
    return data.load(name, progress=progress)


def load_batch(
    options: argparse.Namespace, network: Network, *, pad: bool = False, whole: bool = False
) -> Batch:
    """Load and encode the samples that :func:`add_data`'s arguments choose.

    Parameters
    ----------
    options : argparse.Namespace
    network : Network
    pad : bool
        Whether the network may have more inputs than the data set, as that of an image has.
    whole : bool
        All samples, for a command that has no ``--count``.

    Raises
    ------
    DataError
        If the data set cannot be had or does not suit the network, or more samples are asked for
        than there are.
    """
    dataset, encoder = data_for(options, network, pad=pad)
    total = len(dataset.x_test)
    count = total if whole or options.count is None else options.count
    if count > total:
        raise DataError(f"{count} samples were asked for, but {dataset.name} has {total} to test")
    chosen = np.arange(count)
    if options.seed is not None:
        chosen = np.sort(np.random.default_rng(options.seed).permutation(total)[:count])
    images = dataset.x_test[chosen]
    samples = encoder.encode(images)
    labels = dataset.y_test[chosen]
    return Batch(f"{dataset.name} test", images, widen(samples, network.inputs), labels)


def data_for(
    options: argparse.Namespace, network: Network, *, pad: bool = False
) -> "tuple[Dataset, Encoder]":
    """Load the data set of a network, or that of ``--dataset``; arguments as of :func:`load_batch`.

    Raises
    ------
    DataError
        If it cannot be had or does not suit the network.
    """
    from .. import encode

    name = options.dataset or network.meta.get("dataset")
    if name is None:
        raise DataError("the network does not say what data set it is for; give --dataset")
    if "encoding" not in network.meta:
        raise DataError("the network does not say how its inputs are encoded; train or quantise it")
    dataset = load_dataset(name, progress=not options.quiet)
    missing = network.inputs - dataset.inputs
    if missing < 0 or (missing and not pad):
        raise DataError(
            f"{dataset.name} has {dataset.inputs} pixels an image, but the network takes "
            f"{network.inputs}; choose another data set or network"
        )
    return dataset, encode.from_meta(network.meta["encoding"])


def widen(samples: np.ndarray, inputs: int) -> np.ndarray:
    """Samples with inputs added that do not spike, up to ``inputs``."""
    return np.pad(samples, ((0, 0), (0, inputs - samples.shape[1])), constant_values=NEVER)
