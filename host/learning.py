"""Learning on the chip, seen from the host: networks to start from, settings that suit them, passes
over the training data.

The chip does the learning, or the golden learner in its place; ``docs/learning.md`` says how. What
is here chooses the order of the samples, distorts them and keeps the books, and needs no PyTorch.
"""

import itertools
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .augment import Distortion, shifted
from .checkpoint import Checkpoint, Epoch
from .device import Device
from .encode import Binary, Encoder
from .firmware.config import Config
from .firmware.errors import DataError, DeviceReset
from .firmware.formats import NEVER, weight_limit
from .firmware.learning import ALWAYS, Progress, Rule
from .firmware.network import DEFAULT_MEMBRANE_BITS, Layer, Network
from .schedule import Schedule

if TYPE_CHECKING:
    from .sim.learner import Learner

__all__ = [
    "Checkpoint",
    "Epoch",
    "Fit",
    "Schedule",
    "initial_network",
    "learning_config",
    "new_learner",
    "suggested_encoder",
    "suggested_epochs",
    "suggested_schedule",
    "suggested_shape",
]

#: Seconds after which the state is written in the middle of an epoch.
_CHECKPOINT_INTERVAL = 30.0

#: Samples that are classified at once.
_EVALUATED = 10_000

#: Pixels of an image, neurons of a layer and samples of a data set from which on they are no small
#: ones.
_LARGE_IMAGE, _LARGE_LAYER, _LARGE_SET = 256, 300, 10_000

#: Weights that a network starts from: mean and spread in hidden layers and in the last one, where 1
#: is the weight whose whole charge just makes a neuron spike.
_HIDDEN = (-0.02, 0.04)
_OUTPUTS = (0.01, 0.06)


def initial_network(
    shape: Sequence[int],
    *,
    used: np.ndarray | None = None,
    seed: int = 1,
    k: int = 5,
    steps: int = 64,
    charges: tuple[int, int] = (384, 192),
    weight_bits: int = 8,
    membrane_bits: int = DEFAULT_MEMBRANE_BITS,
    hidden: tuple[float, float] = _HIDDEN,
    outputs: tuple[float, float] = _OUTPUTS,
    **meta: Any,
) -> Network:
    """A network of random weights, to learn from scratch.

    Parameters
    ----------
    shape : sequence of int
        Inputs, and the neurons of every layer.
    used : (inputs,) bool, optional
        Inputs that ever spike. The others get no weights, and so no row. Default: all.
    seed : int
    k : int
        Decay shift.
    steps : int
        T.
    charges : pair of int
        θ / 2^k of hidden layers and of the last one: what a weight had to be to make a neuron spike
        alone, if there were time enough. The smaller, the more an update changes.
    weight_bits, membrane_bits : int
    hidden, outputs : pair of float
        Mean and spread of normally distributed weights of hidden layers, and of the last one, as
        parts of their charge.
    meta
        Of the network.

    Raises
    ------
    DataError
        If a parameter is out of its range.
    """
    shape = list(shape)
    if len(shape) < 2 or min(shape) < 1:
        raise DataError(
            f"the shape is {'-'.join(map(str, shape))}, but it needs inputs and the neurons of at "
            "least one layer, such as 784-600-10"
        )
    if seed < 0:
        raise DataError(f"the seed is {seed}, but it is at least 0")
    used = np.ones(shape[0], dtype=bool) if used is None else np.asarray(used, dtype=bool)
    if used.shape != (shape[0],) or not used.any():
        raise DataError(
            f"of {shape[0]} inputs, {int(used.sum())} of {used.size} are in use; at least one must"
        )
    random = np.random.default_rng(seed)
    limit = weight_limit(weight_bits)
    layers = []
    for index, size in enumerate(itertools.pairwise(shape)):
        is_last = index == len(shape) - 2
        mean, spread = outputs if is_last else hidden
        charge = charges[is_last]
        drawn = np.rint(random.normal(mean, spread, size) * charge)
        weights = drawn.clip(-limit, limit).astype(np.int8)
        if index == 0:
            # An input that is in use has a row, and a row is known by a weight that is not 0.
            empty = np.flatnonzero(~weights.any(axis=1))
            weights[empty, random.integers(size[1], size=len(empty))] = 1
            weights[~used] = 0
        layers.append(Layer(weights, k, charge << k, weight_bits, membrane_bits))
    return Network(layers, steps, meta)


@dataclass
class _Tally:
    """An epoch while it runs."""

    samples: int = 0
    answered: int = 0
    correct: int = 0
    erred: int = 0
    rows: list[int] = field(default_factory=list)
    seconds: float = 0.0


def suggested_shape(inputs: int, classes: int) -> list[int]:
    """A network that learns a data set of so many pixels an image well: one hidden layer, of 600
    neurons for images as large as MNIST's and 300 for small ones."""
    return [inputs, 600 if inputs >= _LARGE_IMAGE else 300, classes]


def suggested_schedule(shape: Sequence[int]) -> Schedule:
    """Settings that suit a network, given inputs and neurons of each layer: of few hidden neurons
    few have to spike, and few can be spared."""
    hidden = min(shape[1:-1], default=0)
    schedule = Schedule(activity=max(hidden // 50, 4))
    if hidden < _LARGE_LAYER:
        return replace(schedule, dropout=0.1, input_dropout=0.05)
    return schedule


def suggested_encoder(inputs: int) -> Encoder:
    """How to encode images of so many pixels to learn from them: as binary ones, which in large
    images hold the grey edges of strokes too."""
    return Binary(60) if inputs >= _LARGE_IMAGE else Binary()


def suggested_epochs(samples: int) -> int:
    """Passes over so many training samples after which little more is learned: 20, of a small set
    60."""
    return 20 if samples >= _LARGE_SET else 60


def new_learner(
    network: Network,
    *,
    seed: int = 1,
    progress: Progress | None = None,
    has_row: np.ndarray | None = None,
) -> "Learner":
    """The golden learner, compiled, before it has learned anything.

    Parameters
    ----------
    network : Network
    seed : int
        Of its generators, unless ``progress`` is given.
    progress : Progress, optional
        Where learning stands.
    has_row : (inputs,) bool, optional
        Inputs that have a weight row. Default: those with a weight other than 0.
    """
    from .sim.fast_learner import Learner

    layers = len(network.layers)
    start = Progress.start(layers, seed) if progress is None else progress
    return Learner(network, Rule.at_rest(layers), start, has_row=has_row)


def learning_config(
    network: Network, lanes: int | Sequence[int] = 64, has_row: np.ndarray | None = None
) -> Config:
    """The smallest accelerator that learns with ``network``; raises what ``Config`` does.

    Parameters
    ----------
    network : Network
    lanes : int or one int a layer
    has_row : (inputs,) bool, optional
        Inputs that get a weight row. Default: those with a weight other than 0.
    """
    if has_row is not None:
        first = network.layers[0]
        weights = np.broadcast_to(has_row[:, None], first.weights.shape).astype(np.int8)
        network = replace(network, layers=[replace(first, weights=weights), *network.layers[1:]])
    return Config.for_network(network, lanes, learning=True)


class _Pupil(Protocol):
    """What learns: the golden learner or a device, alike."""

    def learn(
        self, samples: np.ndarray, labels: np.ndarray, rule: Rule
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Learn; return labels (−1 if unknown), rows and whether there was anything to learn."""

    @property
    def layers(self) -> int: ...

    @property
    def progress(self) -> Progress: ...

    def label(self, samples: np.ndarray) -> np.ndarray: ...

    def network(self) -> Network: ...

    def has_row(self) -> np.ndarray: ...


class _GoldenPupil:
    def __init__(self, learner: "Learner") -> None:
        self._learner = learner

    def learn(
        self, samples: np.ndarray, labels: np.ndarray, rule: Rule
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        self._learner.rule = rule
        learned = self._learner.learn(self._widened(samples), labels)
        return learned.label, learned.rows, learned.erred

    @property
    def layers(self) -> int:
        return len(self._learner.network.layers)

    @property
    def progress(self) -> Progress:
        return self._learner.progress

    def label(self, samples: np.ndarray) -> np.ndarray:
        return self._learner.infer(self._widened(samples)).label

    def network(self) -> Network:
        return self._learner.network

    def has_row(self) -> np.ndarray:
        return self._learner.has_row

    def _widened(self, samples: np.ndarray) -> np.ndarray:
        """Samples as wide as the network, which has more inputs if a device has learned it before;
        a device does the same."""
        missing = max(len(self._learner.has_row) - samples.shape[1], 0)
        return np.pad(samples, ((0, 0), (0, missing)), constant_values=NEVER)


class _DevicePupil:
    def __init__(self, device: Device) -> None:
        self._device = device

    def learn(
        self, samples: np.ndarray, labels: np.ndarray, rule: Rule
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        learned = self._device.learn(samples, labels, rule)
        return learned.label, learned.rows, None

    @property
    def layers(self) -> int:
        return len(self._device.config.layers)

    @property
    def progress(self) -> Progress:
        return self._device.progress

    def restore(self, checkpoint: Checkpoint) -> None:
        checkpoint.load_into(self._device)

    def label(self, samples: np.ndarray) -> np.ndarray:
        return self._device.infer(samples).label

    def network(self) -> Network:
        return self._device.network()

    def has_row(self) -> np.ndarray:
        return self._device.has_row()


class Fit:
    """Passes over training samples, one an iteration; each gives an :class:`Epoch`.

    What a sample is and when it comes depends on seed, epoch and place alone, so a run that was
    interrupted goes on from its checkpoint to the same weights as one that was not.

    Parameters
    ----------
    pupil : Learner or Device
        A golden learner (see :func:`new_learner`) or a device with a model loaded, whose generators
        have been seeded (see :meth:`Device.start_learning`). To resume, one in the state of the
        checkpoint.
    x : (n, height, width) or (n, inputs) uint8
        Images; or (n, inputs) spike steps, if there is no encoder.
    y : (n,) integers
        Labels.
    epochs : int
        Passes in all.
    schedule : Schedule, optional
    encoder : Encoder, optional
    distortion : Distortion, optional
        Of images, anew in every epoch.
    shift : int
        Pixels by which images are moved at most, likewise.
    validation : pair of arrays, optional
        Samples like ``x`` and labels, to be classified after every epoch.
    seed : int
        Of order and distortions.
    batch : int
        Samples for which rates stay the same.
    checkpoint : path, optional
        File for the state after every epoch, and now and then within it. With it, a device that is
        reset goes on from the last of them, to the same weights; without, that is an error.
    resume : Checkpoint, optional
        Where to go on. Everything else must be as it was.
    progress : callable, optional
        Called with the number of samples finished since the last call, like ``tqdm.update``;
        negative where a device has to learn some once more.

    Attributes
    ----------
    history : list of Epoch
        All epochs so far, those before the checkpoint included.

    Raises
    ------
    DataError
        If the data do not suit each other or the settings, or a checkpoint is of other settings,
        other data or another state.
    """

    def __init__(
        self,
        pupil: "Learner | Device",
        x: np.ndarray,
        y: np.ndarray,
        *,
        epochs: int = 20,
        schedule: Schedule | None = None,
        encoder: Encoder | None = None,
        distortion: Distortion | None = None,
        shift: int = 0,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        seed: int = 1,
        batch: int = 1000,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: Checkpoint | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        x, y = np.asarray(x), np.asarray(y)
        schedule = Schedule() if schedule is None else schedule
        if len(x) != len(y) or not len(x):
            raise DataError(
                f"there are {len(x)} training samples and {len(y)} labels; give one label for each "
                "of at least one sample"
            )
        if (distortion or shift) and (encoder is None or x.ndim != 3):
            raise DataError(
                f"only images of shape (n, height, width) can be distorted or shifted, and with an "
                f"encoder; these samples have shape {x.shape}"
            )
        for name, value, least in (("epochs", epochs, 1), ("batch", batch, 1), ("shift", shift, 0)):
            if value < least:
                raise DataError(f"{name} is {value}, but it is at least {least}")
        self._pupil: _Pupil
        self._pupil = _DevicePupil(pupil) if isinstance(pupil, Device) else _GoldenPupil(pupil)
        self._x, self._y = x, y
        self._epochs = epochs
        self._schedule = schedule
        self._encoder = encoder
        self._distortion = distortion
        self._shift = shift
        self._validation = validation
        self._seed = seed
        self._batch = batch
        self._checkpoint = checkpoint
        self._report = progress or (lambda count: None)
        self._settings = {
            "epochs": epochs,
            "schedule": _plain(asdict(schedule)),
            "encoding": None if encoder is None else encoder.to_meta(),
            "distortion": None if distortion is None else asdict(distortion),
            "shift": shift,
            "seed": seed,
            "batch": batch,
            "samples": len(x),
            "data": f"{zlib.crc32(y.tobytes(), zlib.crc32(x.tobytes())):08x}",
        }
        self._layers = self._pupil.layers
        schedule.rule(0, self._layers)
        self.history: list[Epoch] = []
        self._done = 0
        self._tally = _Tally(rows=[0] * self._layers)
        self._kept = resume
        if resume is not None:
            self._resume(resume)

    def _resume(self, checkpoint: Checkpoint) -> None:
        for name, value in self._settings.items():
            if checkpoint.settings.get(name) != value:
                raise DataError(
                    f"{name} of the checkpoint is {checkpoint.settings.get(name)}, but {value} was "
                    "asked for; give what it was started with"
                )
        if self._pupil.progress != checkpoint.progress:
            raise DataError(
                "what is to go on learning is not in the state of the checkpoint; load that first"
            )
        self.history = list(checkpoint.history)
        self._done = checkpoint.done
        self._tally = _Tally(**checkpoint.tally)

    @property
    def network(self) -> Network:
        """The network with the weights as they are now."""
        return self._pupil.network()

    @property
    def remaining(self) -> int:
        """Samples that are yet to be learned."""
        return (self._epochs - len(self.history)) * len(self._x) - self._done

    def state(self) -> Checkpoint:
        """Where learning stands."""
        return Checkpoint(
            self._pupil.network(),
            self._pupil.has_row(),
            self._pupil.progress,
            self._settings,
            len(self.history),
            self._done,
            asdict(self._tally),
            tuple(self.history),
        )

    def __iter__(self) -> Iterator[Epoch]:
        if self._kept is None and isinstance(self._pupil, _DevicePupil):
            self._keep()
        while len(self.history) < self._epochs:
            try:
                self._run_epoch(len(self.history))
            except DeviceReset:
                if self._kept is None or not isinstance(self._pupil, _DevicePupil):
                    raise
                self._go_back(self._pupil, self._kept)
            else:
                yield self.history[-1]

    def _keep(self) -> None:
        """Write a checkpoint, if that was asked for."""
        if self._checkpoint is not None:
            state = self.state()
            state.save(self._checkpoint)
            self._kept = state

    def _go_back(self, pupil: _DevicePupil, kept: Checkpoint) -> None:
        """Load the last checkpoint into a device that has lost what it had learned."""
        left = self.remaining
        pupil.restore(kept)
        self._resume(kept)
        self._report(left - self.remaining)

    def _run_epoch(self, epoch: int) -> None:
        """Learn from the samples of an epoch that are left."""
        order = np.random.default_rng([self._seed, epoch, 0]).permutation(len(self._x))
        saved = time.monotonic()
        rule = self._rule(epoch, self._done)
        while self._done < len(order):
            chosen = order[self._done : self._done + self._batch]
            rule = self._rule(epoch, self._done)
            place = self._done // self._batch
            samples = self._samples(chosen, [self._seed, epoch, 1 + place])
            self._learn(samples, self._y[chosen], rule)
            self._done += len(chosen)
            self._report(len(chosen))
            due = time.monotonic() - saved > _CHECKPOINT_INTERVAL
            if due and self._done < len(order):
                self._keep()
                saved = time.monotonic()
        tally, count = self._tally, max(self._tally.answered, 1)
        self.history.append(
            Epoch(
                epoch + 1,
                (epoch + 1) * len(order),
                tally.correct / count,
                None if isinstance(self._pupil, _DevicePupil) else tally.erred / count,
                self._validate(),
                tuple(rows / count for rows in tally.rows),
                tuple(rate / ALWAYS for rate in rule.rates),
                tally.samples / max(tally.seconds, 1e-9),
            )
        )
        self._done = 0
        self._tally = _Tally(rows=[0] * self._layers)
        self._keep()

    def _rule(self, epoch: int, done: int) -> Rule:
        total = self._epochs * len(self._x)
        return self._schedule.rule((epoch * len(self._x) + done) / total, self._layers)

    def _samples(self, chosen: np.ndarray, seed: list[int]) -> np.ndarray:
        """Spike steps of some samples, distorted."""
        x = self._x[chosen]
        random = np.random.default_rng(seed)
        if self._distortion is not None:
            x = self._distortion(x, random)
        if self._shift:
            x = shifted(x, self._shift, random)
        return x if self._encoder is None else self._encoder.encode(x)

    def _learn(self, samples: np.ndarray, labels: np.ndarray, rule: Rule) -> None:
        start = time.perf_counter()
        said, rows, erred = self._pupil.learn(samples, labels, rule)
        tally = self._tally
        tally.seconds += time.perf_counter() - start
        known = said >= 0
        tally.samples += len(samples)
        tally.answered += int(known.sum())
        tally.correct += int((said == labels)[known].sum())
        tally.rows = [int(count) for count in np.add(tally.rows, rows[known].sum(axis=0))]
        if erred is not None:
            tally.erred += int(erred.sum())

    def _validate(self) -> float | None:
        if self._validation is None:
            return None
        x, y = self._validation
        correct = 0
        for start in range(0, len(x), _EVALUATED):
            part = x[start : start + _EVALUATED]
            samples = part if self._encoder is None else self._encoder.encode(part)
            correct += int((self._pupil.label(samples) == y[start : start + _EVALUATED]).sum())
        return correct / max(len(x), 1)


def _plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return json.loads(json.dumps(value))
