"""Let a network adapt to a world that changes, on the chip.

A network learns the digits from scratch. Then the world changes: the sensor is rotated by 60
degrees, its pixels come in another order, half of them die, a tenth of them are wrong in every
image, or a class appears that was never there. Each time the network goes on learning from what it
knows, by the rule that the gateware carries (``docs/learning.md``), one sample after the other.
The golden learner does it, or with --port a device, which comes to the same weights: one that was
built with --learning for such a network, model: or sim:.

    python examples/adapt.py                      # MNIST, a minute
    python examples/adapt.py --quick              # the 8×8 digits, a few seconds, or without MNIST
    python examples/adapt.py --port /dev/ttyUSB1  # on a board

Writes ``adapt.png``, ``adapt.txt`` and ``adapt.json`` to the folder ``--out``, and keeps the
network that learned from scratch there for the next time. ``--validation`` takes the last 10,000
training images for the test images, which is how the settings below were chosen.

Why not one of the networks that come with Firstspike: they can be adapted like this one, but were
trained to use the whole range of their weights. An update changes a weight by 1, so they take
longer to become something else: with permuted pixels they end at about 94 % instead of 97 %.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import firstspike
import numpy as np
from firstspike import data
from firstspike.data import Dataset
from firstspike.document import make_folder, text_table
from firstspike.firmware.errors import DataError, FirstspikeError
from firstspike.firmware.files import write_atomically
from firstspike.firmware.learning import Progress, Rule
from firstspike.firmware.network import Network
from firstspike.learning import (
    Fit,
    Schedule,
    initial_network,
    learning_config,
    new_learner,
    suggested_encoder,
    suggested_epochs,
    suggested_schedule,
    suggested_shape,
)
from firstspike.transport import is_virtual

#: Samples for which the rates stay the same.
BATCH = 500

#: Points of a curve besides the one before learning.
POINTS = 20

#: The class that is missing at first, and how many images of the others are kept to be replayed.
NEW_CLASS = 9
REPLAYED = 2000
NEW_SHARE = 0.25


# How the world changes: functions of images and of a generator for what differs between images.


def rotated(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turned by 60 degrees about the centre, with bilinear interpolation."""
    _, height, width = images.shape
    angle = np.deg2rad(60)
    y = np.arange(height)[:, None] - (height - 1) / 2
    x = np.arange(width) - (width - 1) / 2
    # Where each pixel comes from, in images with a dark border.
    from_y = (np.cos(angle) * y - np.sin(angle) * x + (height + 1) / 2).clip(0, height + 0.999)
    from_x = (np.sin(angle) * y + np.cos(angle) * x + (width + 1) / 2).clip(0, width + 0.999)
    top, left = from_y.astype(int), from_x.astype(int)
    down, right = from_y - top, from_x - left
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1))).astype(np.float32)
    result = (
        (1 - down) * (1 - right) * padded[:, top, left]
        + (1 - down) * right * padded[:, top, left + 1]
        + down * (1 - right) * padded[:, top + 1, left]
        + down * right * padded[:, top + 1, left + 1]
    )
    return np.rint(result).astype(np.uint8)


def permuted(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The pixels in another order, the same for all images."""
    flat = images.reshape(len(images), -1)
    return flat[:, np.random.default_rng(7).permutation(flat.shape[1])].reshape(images.shape)


def half_dead(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Half of the pixels dark, the same for all images."""
    return np.where(np.random.default_rng(5).random(images.shape[1:]) < 0.5, 0, images)


def noisy(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A tenth of the pixels inverted, others in every image."""
    return np.where(random.random(images.shape) < 0.1, 255 - images, images)


@dataclass(frozen=True)
class Scenario:
    """One way in which the world changes.

    Parameters
    ----------
    name : str
    change : callable
    schedule : Schedule
    samples : int
        To learn from, if there are so many.
    passes : int
        Over the training images, instead of a number of samples.
    target : str
        What is asked for on MNIST.
    """

    name: str
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    schedule: Schedule
    samples: int = 10_000
    passes: int = 0
    target: str = ""


SCENARIOS = (
    Scenario(
        "rotated by 60°",
        rotated,
        Schedule([1.0], [0.1], hold=0.4, margin=20, dropout=0.3, activity=30, step=6),
        target="> 92 %",
    ),
    Scenario("permuted pixels", permuted, Schedule(hold=0.4), passes=5, target="> 95 %"),
    Scenario("half of the pixels dead", half_dead, Schedule([0.3], [0.01], hold=0.0, activity=30)),
    Scenario(
        "a tenth of the pixels wrong",
        noisy,
        Schedule([0.1], [0.01], hold=0.0, margin=20, activity=30, step=2),
    ),
)
NEW_CLASS_SCHEDULE = Schedule([1.0], [0.002], hold=0.0, margin=3, activity=10, step=2)


@dataclass
class Curve:
    """Accuracy over the samples that were learned after the change.

    Parameters
    ----------
    name : str
    before : float or None
        Accuracy before the change.
    learned : list of int
    accuracy : list of float
    target : str
    """

    name: str
    before: float | None
    learned: list[int]
    accuracy: list[float]
    target: str


def learn_from_scratch(dataset: Dataset, path: Path) -> Network:
    """A network that knows the training images, from ``path`` if it is there."""
    if path.exists():
        return Network.load(path)
    shape = suggested_shape(dataset.inputs, dataset.classes)
    network = initial_network(shape, dataset=dataset.name)
    fit = Fit(
        new_learner(network),
        dataset.x_train,
        dataset.y_train,
        epochs=suggested_epochs(len(dataset.x_train)),
        schedule=suggested_schedule(shape),
        encoder=suggested_encoder(dataset.inputs),
    )
    for epoch in fit:
        print(f"from scratch: {epoch}", file=sys.stderr)
    fit.network.save(path)
    return fit.network


@dataclass
class Pupil:
    """What adapts.

    Parameters
    ----------
    learn : callable
        Takes samples, labels and the rule by which to learn from them.
    label : callable
        Takes samples and says what they are.
    """

    learn: Callable[[np.ndarray, np.ndarray, Rule], object]
    label: Callable[[np.ndarray], np.ndarray]


@contextmanager
def open_pupil(network: Network, port: str | None) -> Iterator[Pupil]:
    """The golden learner, or the device at ``port``, with a network that it knows."""
    # A pixel that was always dark before may not stay so: every input gets a weight row.
    has_row = np.ones(network.inputs, dtype=bool)
    if port is None:
        learner = new_learner(network, has_row=has_row)

        def learn(samples: np.ndarray, labels: np.ndarray, rule: Rule) -> None:
            learner.rule = rule
            learner.learn(samples, labels)

        yield Pupil(learn, lambda x: learner.infer(x).label)
        return
    layers = len(network.layers)
    config = learning_config(network, has_row=has_row) if is_virtual(port) else None
    with firstspike.open(port, config=config) as device:
        device.load(network, has_row=has_row)
        device.start_learning(Rule.at_rest(layers), Progress.start(layers))
        yield Pupil(device.learn, lambda x: device.infer(x).label)


def adapt(
    network: Network,
    batches: Sequence[tuple[np.ndarray, np.ndarray]],
    schedule: Schedule,
    tests: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    port: str | None = None,
) -> tuple[list[int], list[list[float]]]:
    """Learn from batches of samples and labels, on the device at ``port`` if there is one.

    Returns
    -------
    learned : list of int
        Samples learned at each point of the curves.
    accuracy : list of lists of float
        For each of ``tests``, the accuracy at these points.
    """
    every = max(len(batches) // POINTS, 1)
    learned = [0]
    with open_pupil(network, port) as pupil:
        accuracy = [[float((pupil.label(x) == y).mean())] for x, y in tests]
        done = 0
        for index, (samples, labels) in enumerate(batches):
            rule = schedule.rule(index / len(batches), len(network.layers))
            pupil.learn(samples, labels, rule)
            done += len(labels)
            if (index + 1) % every == 0 or index + 1 == len(batches):
                learned.append(done)
                for curve, (x, y) in zip(accuracy, tests, strict=True):
                    curve.append(float((pupil.label(x) == y).mean()))
    return learned, accuracy


def run_scenario(
    scenario: Scenario, network: Network, dataset: Dataset, *, seed: int, port: str | None
) -> Curve:
    """Learn from images of a world that has changed."""
    random = np.random.default_rng(seed)
    encoder = suggested_encoder(dataset.inputs)
    x = encoder.encode(scenario.change(dataset.x_train, random))
    test = encoder.encode(scenario.change(dataset.x_test, random))
    total = len(x) * scenario.passes or scenario.samples
    order = np.concatenate([random.permutation(len(x)) for _ in range(-(-total // len(x)))])
    batches = [
        (x[order[start : start + BATCH]], dataset.y_train[order[start : start + BATCH]])
        for start in range(0, total, BATCH)
    ]
    tests = [(test, dataset.y_test)]
    learned, (accuracy,) = adapt(network, batches, scenario.schedule, tests, port=port)
    unchanged = new_learner(network).infer(encoder.encode(dataset.x_test)).label
    before = float((unchanged == dataset.y_test).mean())
    return Curve(scenario.name, before, learned, accuracy, scenario.target)


def run_new_class(
    network: Network, dataset: Dataset, *, seed: int, port: str | None
) -> list[Curve]:
    """Learn a class that appears, among replayed images of the others."""
    random = np.random.default_rng(seed)
    encoder = suggested_encoder(dataset.inputs)
    x, y = encoder.encode(dataset.x_train), dataset.y_train
    new, old = np.flatnonzero(y == NEW_CLASS), random.permutation(np.flatnonzero(y != NEW_CLASS))
    share = round(BATCH * NEW_SHARE)
    batches = []
    for _ in range(10_000 // BATCH):
        chosen = [
            random.choice(new, share, replace=share > len(new)),
            random.choice(old[:REPLAYED], BATCH - share, replace=False),
        ]
        order = random.permutation(np.concatenate(chosen))
        batches.append((x[order], y[order]))
    test, is_new = encoder.encode(dataset.x_test), dataset.y_test == NEW_CLASS
    tests = [(test[is_new], dataset.y_test[is_new]), (test[~is_new], dataset.y_test[~is_new])]
    learned, (gained, kept) = adapt(network, batches, NEW_CLASS_SCHEDULE, tests, port=port)
    return [
        Curve(f"new class {NEW_CLASS}", None, learned, gained, "> 93 %"),
        Curve("the other classes", kept[0], learned, kept, "> 95 %"),
    ]


def without(dataset: Dataset, label: int) -> Dataset:
    """The data set without the training images of a class."""
    kept = dataset.y_train != label
    return Dataset(
        dataset.name,
        dataset.x_train[kept],
        dataset.y_train[kept],
        dataset.x_test,
        dataset.y_test,
    )


def table(curves: Sequence[Curve], *, targets: bool) -> str:
    """A line for each curve: accuracy before the change, after it, and while learning."""
    shares = (0.1, 0.25, 0.5, 1.0)
    head = ["accuracy in %", "before", "after", *(f"{share:.0%}" for share in shares), "samples"]
    rows = [head + ["target"] * targets]
    for curve in curves:
        cells = [curve.name, "–" if curve.before is None else f"{100 * curve.before:.2f}"]
        cells.append(f"{100 * curve.accuracy[0]:.2f}")
        for share in shares:
            reached = np.interp(share * curve.learned[-1], curve.learned, curve.accuracy)
            cells.append(f"{100 * reached:.2f}")
        cells.append(f"{curve.learned[-1]}")
        rows.append(cells + [curve.target or "–"] * targets)
    return "\n".join(text_table(rows))


def draw(curves: Sequence[Curve], path: Path) -> None:
    """One picture of all curves, if matplotlib is there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("without matplotlib there is no picture", file=sys.stderr)
        return
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True).ravel()
    for axis, curve in zip(axes, curves, strict=True):
        axis.plot(curve.learned, [100 * share for share in curve.accuracy], marker=".")
        if curve.before is not None:
            axis.axhline(100 * curve.before, color="grey", linestyle=":", label="before")
            axis.legend(frameon=False, loc="lower right")
        axis.annotate(
            f"{100 * curve.accuracy[-1]:.1f} %",
            (curve.learned[-1], 100 * curve.accuracy[-1]),
            xytext=(-4, -16),
            textcoords="offset points",
            ha="right",
        )
        axis.set(title=curve.name, xlabel="samples learned", ylim=(0, 102))
        axis.locator_params(axis="x", nbins=4)
    for axis in (axes[0], axes[3]):
        axis.set_ylabel("accuracy in %")
    with write_atomically(path) as file:
        figure.savefig(file, format="png", dpi=150)


def load(quick: bool) -> Dataset:
    """MNIST, or the 8×8 digits if that cannot be had."""
    if not quick:
        try:
            return data.load("mnist")
        except DataError as error:
            print(f"the 8×8 digits stand in for MNIST: {error}", file=sys.stderr)
    return data.load("digits")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=str(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="out", metavar="FOLDER", help="(default: out)")
    parser.add_argument("--quick", action="store_true", help="take the 8×8 digits")
    parser.add_argument("--validation", action="store_true", help="do without the test images")
    parser.add_argument("--seed", type=int, default=1, help="of the order (default: 1)")
    parser.add_argument("--port", help="adapt on the device at this port, model: or sim:")
    options = parser.parse_args()

    dataset = load(options.quick)
    is_mnist = dataset.name == "mnist"
    folder = make_folder(options.out)
    name = f"{dataset.name}{'-validation' * options.validation}"
    if options.validation:
        dataset = dataset.split_validation(10_000 if is_mnist else 300)

    network = learn_from_scratch(dataset, folder / f"adapt-{name}.npz")
    where = {"seed": options.seed, "port": options.port}
    curves = [run_scenario(scenario, network, dataset, **where) for scenario in SCENARIOS]
    others = without(dataset, NEW_CLASS)
    network = learn_from_scratch(others, folder / f"adapt-{name}-without-{NEW_CLASS}.npz")
    curves += run_new_class(network, dataset, **where)

    text = f"{name}, {network}\n\n{table(curves, targets=is_mnist)}"
    print(text)
    with write_atomically(folder / "adapt.txt") as file:
        file.write(f"{text}\n".encode())
    with write_atomically(folder / "adapt.json") as file:
        file.write(json.dumps([vars(curve) for curve in curves], indent=2).encode())
    draw(curves, folder / "adapt.png")


if __name__ == "__main__":
    try:
        main()
    except FirstspikeError as error:
        sys.exit(f"adapt: {error}")
