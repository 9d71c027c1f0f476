"""A soak: work for a device for as long as one likes, every answer compared with the models."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle

import numpy as np

from .device import Device
from .firmware.errors import DeviceReset, LinkError, Mismatch
from .firmware.formats import NEVER
from .firmware.learning import Progress, Rule
from .firmware.network import Network
from .selftest import compare

__all__ = ["Soak", "Work", "batches", "random_work", "soak"]

#: Samples that a device answers, and then learns from if it learns, before it gets other ones.
_BATCH = 200


@dataclass(frozen=True, eq=False)
class Work:
    """What a device is given in one round.

    Parameters
    ----------
    network : Network
    samples : (batch, inputs) int32
        Spike steps.
    labels : (batch,) int64
        For a device that learns.
    name : str
        What it is, for errors.
    seed : int
        Of the settings of learning.
    """

    network: Network
    samples: np.ndarray
    labels: np.ndarray
    name: str = "work"
    seed: int = 0


@dataclass
class Soak:
    """What a soak has found in order.

    Parameters
    ----------
    rounds : int
        Networks that were loaded and worked with.
    samples, learned : int
        Answers that were compared with golden model and cycle model, and samples whose learning
        was compared with the golden learner.
    repeated : int
        Samples that were learned although their answer was lost.
    weights : int
        Weights that were read back after learning and compared.
    lost : int
        Rounds that a reset of the device ended, with all that it had learned.
    seconds : float
    counters : dict
        The device's counters at the end.
    """

    rounds: int = 0
    samples: int = 0
    learned: int = 0
    repeated: int = 0
    weights: int = 0
    lost: int = 0
    seconds: float = 0.0
    counters: dict[str, int] = field(default_factory=dict)


def random_work(device: Device, seed: int) -> Iterator[Work]:
    """Yield random networks and samples for what a device is built for, without an end.

    What comes of ``seed + 1`` is the same, whichever seed was the first.
    """
    from .sim.random_networks import random_case

    while True:
        case = random_case(seed, config=device.config, batch=_BATCH)
        labels = np.random.default_rng(seed).integers(0, case.network.outputs, _BATCH)
        yield Work(case.network, case.samples, labels, f"network of seed {seed}", seed)
        seed += 1


def batches(
    network: Network, samples: np.ndarray, labels: np.ndarray, seed: int = 0
) -> Iterator[Work]:
    """Yield samples of one network, again and again, without an end; seeds count from ``seed``."""
    for number, start in enumerate(cycle(range(0, len(samples), _BATCH)), seed):
        part = slice(start, start + _BATCH)
        name = f"samples {start} to {start + len(samples[part]) - 1}, seed {number}"
        yield Work(network, samples[part], labels[part], name, number)


def soak(
    device: Device,
    work: Iterator[Work],
    *,
    samples: int | None = None,
    duration: float | None = None,
    report: Soak | None = None,
    progress: Callable[[int], object] = lambda samples: None,
) -> Soak:
    """Give a device work until it has done enough of it.

    Parameters
    ----------
    device : Device
    work : iterator of Work
    samples : int, optional
        Answers after which it ends; what is learned does not count.
    duration : float, optional
        Seconds after which it ends, whichever comes first. One of the two is needed.
    report : Soak, optional
        Where to count, which tells how far it came if an error ends it.
    progress : callable, optional
        Called with the number of samples answered since the last call, like ``tqdm.update``.

    Raises
    ------
    Mismatch
        If an answer, or a weight that was learned, is wrong; it names the work.
    LinkError
        If the device is lost, or the line loses every attempt; or if it learns and resets have
        taken all that it learned.
    """
    report = Soak() if report is None else report
    start = time.monotonic()
    try:
        for whole in work:
            left = len(whole.samples) if samples is None else samples - report.samples
            report.seconds = time.monotonic() - start
            if left <= 0 or (duration is not None and report.seconds >= duration):
                break
            part = replace(whole, samples=whole.samples[:left], labels=whole.labels[:left])
            try:
                _do(device, part, report)
            except Mismatch as error:
                raise Mismatch(f"{part.name}: {error}") from error
            progress(len(part.samples))
        if report.rounds and device.config.learning and not report.learned:
            raise LinkError(
                f"{device.port} was reset in every one of {report.rounds} rounds before it had "
                "learned its samples; check its supply, or have it reset less often"
            )
    except BaseException:
        report.seconds = time.monotonic() - start
        # They tell most when something is wrong, if there is still somebody to tell them.
        with contextlib.suppress(LinkError):
            report.counters = device.counters()
        raise
    try:
        report.counters = device.counters()
    except DeviceReset:
        # Lost on the way there and found reset: what it had learned is compared already.
        report.counters = device.counters()
    return report


def _do(device: Device, work: Work, report: Soak) -> None:
    """One round: load, infer, and learn if the device does."""
    device.load(work.network)
    compare(work.network, work.samples, device.infer(work.samples), device.config)
    report.samples += len(work.samples)
    if device.config.learning:
        resets, stalls = device.statistics.resets, device.counters()["stalls"]
        try:
            _learn(device, work, report)
        except DeviceReset:
            # A device that says so without a reason is broken.
            if device.statistics.resets == resets and device.counters()["stalls"] == stalls:
                raise
            report.lost += 1
    report.rounds += 1


def _learn(device: Device, work: Work, report: Soak) -> None:
    """Have a device learn, and compare all that it says and comes to with the golden learner."""
    from .sim.fast_learner import Learner

    rng = np.random.default_rng(work.seed)
    layers = device.config.layers
    network, has_row = device.network(), device.has_row()
    rule = Rule(
        rng.integers(0, 65537, len(layers)).tolist(),
        margin=int(rng.integers(0, min(8, network.steps))),
        dropout=int(rng.integers(0, 20_000)),
        activity=int(rng.integers(0, 6)),
        step=int(rng.integers(1, 8)),
        input_dropout=int(rng.integers(0, 20_000)),
        dead_zone=int(rng.integers(0, 20)),
    )
    start = Progress.start(len(layers), int(rng.integers(1, 1 << 32)))
    learner = Learner(network, rule, start, has_row=has_row)
    # The network that was read back is as wide as the device.
    missing = network.inputs - work.samples.shape[1]
    samples = np.pad(work.samples, ((0, 0), (0, missing)), constant_values=NEVER)
    expected = learner.learn(samples, work.labels)
    result = device.learn(work.samples, work.labels, rule, start)
    known = ~result.repeated
    for name in ("label", "step", "fired", "rows"):
        ours, theirs = getattr(expected, name)[known], getattr(result, name)[known]
        if (ours != theirs).any():
            raise Mismatch(f"the {name} of a sample that was learned differs from the golden model")
    learned = device.network()
    pairs = zip(learner.network.layers, learned.layers, strict=True)
    for index, (ours, theirs) in enumerate(pairs):
        if (ours.weights != theirs.weights).any():
            count = int((ours.weights != theirs.weights).sum())
            raise Mismatch(
                f"after {len(work.samples)} samples, {count} of {ours.weights.size} weights of "
                f"layer {index} differ from the golden learner's"
            )
        report.weights += ours.weights.size
    if device.progress != learner.progress:
        raise Mismatch(
            f"learning stands at {device.progress}, but the golden learner at {learner.progress}"
        )
    report.learned += len(work.samples)
    report.repeated += int(result.repeated.sum())
