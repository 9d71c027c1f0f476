"""Let a network learn on the chip, from scratch or from what it knows, and write it to a file.

Without NETWORK it starts from random weights. Without --port the golden learner learns, with no
link between, to the same weights as a device that is built for the network. A device has to be
built with --learning; model: and sim: are. If it is built for more hidden neurons than the network
has, those learn as well, and the network that is written has them. Rates fall from --first to
--last towards the end, and once before that, by --restart, so that the network is of use early.
Does not need PyTorch.
"""

import argparse
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..device import Device
from ..device import open as open_device
from ..firmware.errors import DataError
from ..firmware.files import require_writable
from ..firmware.formats import NEVER
from ..firmware.image import Image
from ..firmware.learning import Progress
from ..firmware.network import Network
from ..schedule import ANNEALS, Schedule
from ..transport import is_virtual
from . import common

if TYPE_CHECKING:
    from ..data import Dataset
    from ..encode import Encoder
    from ..learning import Checkpoint, Fit
    from ..sim.learner import Learner

EXAMPLES = (
    "-o learned.npz",
    "--dataset digits --plot curve.png",
    "mnist-784-600-10 --dataset kmnist --first 0.1 --epochs 5 -o kmnist.npz",
    "--augment --shift 1 --epochs 100 --checkpoint run.npz --resume",
    "--port /dev/ttyUSB1 --epochs 3 --validation 5000",
)

#: Settings of the rule that suit the network unless they are given, and how.
_SUITED = {
    "dropout": "0.2, of less than 300 hidden neurons 0.1",
    "input_dropout": "0.1, of less than 300 hidden neurons 0.05",
    "activity": "2 %% of the neurons of the smallest, at least 4",
}


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(
        parser,
        nargs="?",
        help="what to start from: a network by file or name, or an image (default: random weights)",
    )
    parser.add_argument(
        "--shape",
        type=_shape,
        metavar="N-N-N",
        help="inputs and neurons of each layer, to start from random weights (default: those of "
        "the data set with 600 hidden neurons, 300 for small images)",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="mnist, fashion-mnist, kmnist, digits or a .npz file (default: the network's own, or "
        "mnist)",
    )
    parser.add_argument(
        "-n",
        "--count",
        type=common.positive,
        metavar="N",
        help="learn from the first N training images only",
    )
    parser.add_argument(
        "--validation",
        type=int,
        default=0,
        metavar="N",
        help="training images to hold back and classify after every epoch (default: 0)",
    )
    parser.add_argument(
        "--epochs",
        type=common.positive,
        help="passes over the images (default: 20, of fewer than 10,000 images 60)",
    )
    _add_rule(parser)
    parser.add_argument(
        "--augment", action="store_true", help="distort the images, anew in every epoch"
    )
    parser.add_argument(
        "--shift",
        type=int,
        default=0,
        metavar="N",
        help="move the images by up to N pixels, anew in every epoch (default: 0)",
    )
    parser.add_argument(
        "--seed",
        type=common.non_negative,
        default=1,
        help="seed of everything random (default: 1)",
    )
    parser.add_argument("--port", help="learn on the device at this port, model: or sim:")
    common.add_baud(parser)
    parser.add_argument(
        "--lanes",
        type=common.positives,
        default=[64],
        metavar="N[,N…]",
        help="weights a cycle of model: and sim:, for all layers or for each (default: 64)",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="write the state after every epoch, and in between"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint, if there is one"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the learning curve: PNG, SVG or PDF")
    parser.add_argument(
        "-o",
        "--output",
        default="learned.npz",
        metavar="FILE",
        help="where to write the network (default: learned.npz)",
    )
    common.add_output(parser)


def _add_rule(parser: argparse.ArgumentParser) -> None:
    """Add the settings of the learning rule."""
    for name, rates, what in (
        ("--first", Schedule.first, "at the start"),
        ("--last", Schedule.last, "at the end"),
    ):
        parser.add_argument(
            name,
            type=_probabilities,
            default=rates,
            metavar="P[,P…]",
            help=f"probability that a weight row is updated {what}, for all layers or for each "
            f"(default: {','.join(f'{rate:g}' for rate in rates)})",
        )
    parser.add_argument(
        "--anneal",
        choices=ANNEALS,
        default=Schedule.anneal,
        help=f"how the rates fall (default: {Schedule.anneal})",
    )
    for setting, kind, what in (
        ("hold", float, "share of training after which the rates begin to fall"),
        ("restart", float, "share of training at the end of which they start anew, after a fall"),
        ("margin", int, "steps after the right output in which no other may spike"),
        ("dropout", float, "probability that a hidden neuron is left out of a sample"),
        ("input_dropout", float, "probability that an input spike is left out of a sample"),
        ("activity", int, "a hidden layer with fewer spikes counts as too quiet"),
        ("step", int, "what an update adds to a weight of the last layer"),
        ("dead_zone", int, "weights up to this size have no vote in the errors of hidden neurons"),
    ):
        default = getattr(Schedule, setting)
        parser.add_argument(
            f"--{setting.replace('_', '-')}",
            type=kind,
            default=None if setting in _SUITED else default,
            metavar="P" if kind is float else "N",
            help=f"{what} (default: {_SUITED.get(setting, default)})",
        )


def _shape(text: str) -> list[int]:
    parts = text.split("-")
    if len(parts) < 2 or not all(part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is not a shape such as 784-600-10")
    return [int(part) for part in parts]


def _probabilities(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(0 <= value <= 1 for value in values):
        raise argparse.ArgumentTypeError(
            f"{text} is not a probability (0 to 1), or several separated by commas"
        )
    return values


def run(options: argparse.Namespace) -> None:
    from .. import plots
    from ..learning import Checkpoint, learning_config, new_learner, suggested_epochs
    from ..sim import fast
    from ..sim.result import summarise

    if options.resume and options.checkpoint is None:
        raise DataError("there is nothing to resume from; give --checkpoint")
    require_writable(options.output, options.checkpoint, options.plot)
    if options.plot is not None:
        plots.require_savable(options.plot)
    network, dataset, encoder = _start(options)
    schedule = _schedule(options, network)
    schedule.rule(0, len(network.layers)).check(len(network.layers), network.steps)
    epochs = options.epochs or suggested_epochs(len(dataset.x_train))
    network = network.with_meta(
        learning={
            "epochs": epochs,
            "seed": options.seed,
            "augment": options.augment,
            "shift": options.shift,
            **asdict(schedule),
        }
    )
    resume = None
    if options.resume and Path(options.checkpoint).exists():
        resume = Checkpoint.load(options.checkpoint)
        common.say(options, f"going on after {len(resume.history)} epochs")
    layers = len(network.layers)

    def fit_to(pupil: "Learner | Device") -> "Fit":
        return _fit(
            options,
            pupil,
            dataset,
            epochs=epochs,
            schedule=schedule,
            encoder=encoder,
            resume=resume,
        )

    if options.port is None:
        common.say(options, "the golden learner learns; a device at --port would do the same")
        fit = fit_to(
            new_learner(network, seed=options.seed) if resume is None else resume.learner()
        )
        learned = fit.network
    else:
        state = network if resume is None else resume.network
        has_row = None if resume is None else resume.has_row
        virtual = is_virtual(options.port)
        config = learning_config(state, options.lanes, has_row) if virtual else None
        with open_device(options.port, baud=options.baud, config=config) as device:
            if resume is None:
                device.load(network, progress=not options.quiet)
                start = Progress.start(layers, options.seed)
                device.start_learning(schedule.rule(0, layers), start)
            else:
                resume.load_into(device, progress=not options.quiet)
            _tell_width(options, state, device)
            fit = fit_to(device)
            learned = fit.network
    samples = common.widen(encoder.encode(dataset.x_test), learned.inputs)
    summary = summarise(fast.infer(learned, samples), dataset.y_test, learned)
    learned.save(options.output)
    files = [options.output]
    if options.plot is not None:
        plots.save(plots.learning_curve(fit.history, test=summary.accuracy), options.plot)
        files.append(options.plot)
    values = {
        "files": files,
        "port": options.port,
        "dataset": dataset.name,
        "epochs": [asdict(epoch) for epoch in fit.history],
        "test": asdict(summary),
    }
    common.emit(
        options,
        values,
        f"{', '.join(files)}: {learned}, on the test images of {dataset.name}:\n{summary}",
    )


def _tell_width(options: argparse.Namespace, network: Network, device: Device) -> None:
    """Say so if a device has more hidden neurons than the network, which then gets them."""
    built = [layer.neurons for layer in device.config.layers[:-1]]
    if built != list(network.shape[1:-1]):
        shape = "-".join(map(str, (device.config.inputs, *built, network.outputs)))
        common.say(
            options,
            f"{options.port} is built for more hidden neurons than {network} has: the network is "
            f"widened to {shape}, and the new neurons, without weights at first, learn as well",
        )


def _schedule(options: argparse.Namespace, network: Network) -> Schedule:
    """The settings that were given, and for the others what suits the network."""
    from ..learning import suggested_schedule

    given = {entry.name: getattr(options, entry.name) for entry in fields(Schedule)}
    given = {name: value for name, value in given.items() if value is not None}
    return replace(suggested_schedule(network.shape), **given)


def _start(options: argparse.Namespace) -> "tuple[Network, Dataset, Encoder]":
    """What to start from, what to learn, and how that is encoded."""
    from ..learning import initial_network, suggested_encoder, suggested_shape

    if options.network is not None:
        if options.shape is not None:
            raise DataError("a network has a shape; give either NETWORK or --shape")
        model = common.load_model(options.network)
        is_image = isinstance(model, Image)
        network = model.network() if isinstance(model, Image) else model
        dataset, encoder = common.data_for(options, network, pad=is_image)
        return network.with_meta(dataset=dataset.name), _cut(options, dataset), encoder
    name = options.dataset or "mnist"
    dataset = common.load_dataset(name, progress=not options.quiet)
    shape = options.shape or suggested_shape(dataset.inputs, dataset.classes)
    if shape[0] != dataset.inputs or shape[-1] < dataset.classes:
        raise DataError(
            f"the shape is {'-'.join(map(str, shape))}, but {dataset.name} has {dataset.inputs} "
            f"pixels an image and {dataset.classes} classes"
        )
    encoder = suggested_encoder(dataset.inputs)
    dataset = _cut(options, dataset)
    # Distorted images may reach any pixel.
    distorted = options.augment or options.shift
    used = None if distorted else np.any(encoder.encode(dataset.x_train) != NEVER, axis=0)
    network = initial_network(
        shape,
        used=used,
        seed=options.seed,
        name=f"{dataset.name}-{'-'.join(map(str, shape))}",
        dataset=dataset.name,
        encoding=encoder.to_meta(),
    )
    return network, dataset, encoder


def _cut(options: argparse.Namespace, dataset: "Dataset") -> "Dataset":
    """The data set with as many training images as were asked for."""
    total = len(dataset.x_train)
    count = options.count or total
    if count > total:
        raise DataError(f"{count} images were asked for, but {dataset.name} has {total} to learn")
    return replace(dataset, x_train=dataset.x_train[:count], y_train=dataset.y_train[:count])


def _fit(
    options: argparse.Namespace,
    pupil: "Learner | Device",
    dataset: "Dataset",
    *,
    epochs: int,
    schedule: Schedule,
    encoder: "Encoder",
    resume: "Checkpoint | None",
) -> "Fit":
    """Learn, with a progress bar on terminals and a line for each epoch."""
    from tqdm import tqdm

    from ..augment import Distortion
    from ..learning import Fit

    part, validation = dataset, None
    if options.validation:
        part = dataset.split_validation(options.validation)
        validation = (part.x_test, part.y_test)
    with tqdm(desc="learn", unit="img", disable=options.quiet or None) as bar:
        fit = Fit(
            pupil,
            part.x_train,
            part.y_train,
            epochs=epochs,
            schedule=schedule,
            encoder=encoder,
            # The rule learns less from strong elastic fields than training does.
            distortion=Distortion(elastic=0.42) if options.augment else None,
            shift=options.shift,
            validation=validation,
            seed=options.seed,
            checkpoint=options.checkpoint,
            resume=resume,
            progress=bar.update,
        )
        bar.reset(fit.remaining)
        for epoch in fit:
            if not (options.quiet or options.json):
                bar.clear()
                common.say(options, str(epoch))
    return fit
