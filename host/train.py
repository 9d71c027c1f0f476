"""Training: from a data set and a :class:`TrainingConfig` to an integer network.

The forward pass is the integer arithmetic of the hardware, the backward pass the exact derivative
of the continuous model (:mod:`firstspike.temporal`); float weights are kept only to sum up what
the optimiser asks for, and are rounded anew in every step. So the network that training measures is
the network that is written, bit for bit. ``docs/training.md`` explains the recipe.

Needs PyTorch (``pip install 'firstspike[train]'``).
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .augment import Distortion
from .data import Dataset
from .encode import Encoder, from_meta
from .firmware.errors import DataError
from .firmware.files import write_atomically
from .firmware.formats import DECAY_RANGE, MAX_STEPS, NEVER, weight_limit
from .firmware.network import Network
from .presets import PRESETS
from .quantise import prune, quantise, threshold_for
from .shipped import load_network
from .temporal import Clock, causal_layer, simultaneous_layer

__all__ = ["EpochReport", "TrainingConfig", "train"]

_CHECKPOINT = "firstspike-checkpoint-1"

#: Norm to which a batch's gradient is cut down.
_GRADIENT_NORM = 10.0

#: Mean and standard deviation of initial weights, by the place of the layer, and the number of
#: inputs they are meant for. There, a third of the first hidden neurons spike for a digit. Other
#: numbers of inputs scale both so that the drives are distributed alike.
_INITIAL = {"first": (0.005, 0.1, 784), "middle": (0.01, 0.06, 600), "last": (0.01, 0.03, 600)}


def _is_number(value: Any, kind: type = Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list | tuple) and all(_is_number(entry, kind) for entry in value)


def _is_distortion(value: Any) -> bool:
    known = {entry.name for entry in fields(Distortion)}
    return (
        value is None
        or isinstance(value, Distortion)
        or (
            isinstance(value, Mapping)
            and known >= value.keys()
            and all(map(_is_number, value.values()))
        )
    )


#: What values of each type of setting are called, and whether one is of it.
_TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("a name", lambda value: isinstance(value, str)),
    str | None: ("a name or null", lambda value: value is None or isinstance(value, str)),
    int: ("a whole number", lambda value: _is_number(value, Integral)),
    float: ("a number", _is_number),
    tuple[int, ...]: (
        "a list of whole numbers, such as [300]",
        lambda value: _is_list(value, Integral),
    ),
    tuple[float, ...]: (
        "a list of numbers, such as [0.5, 0.3]",
        lambda value: _is_list(value, Real),
    ),
    Mapping[str, Any]: (
        'an object, such as {"kind": "binary"}',
        lambda value: isinstance(value, Mapping),
    ),
    Distortion | None: (
        "null or an object of numbers, of " + ", ".join(entry.name for entry in fields(Distortion)),
        _is_distortion,
    ),
}


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Refuse a setting of another type than its field's."""
    what, suits = _TYPES[kind]
    if not suits(value):
        raise DataError(f"{name} is {value}, but it is {what}")


@dataclass(frozen=True)
class TrainingConfig:
    """Every setting of a training; with the data set, it decides the outcome.

    Parameters
    ----------
    name : str
        Of the network; recorded in its ``meta``.
    dataset : str
        As :func:`firstspike.data.load` takes it.
    hidden : tuple of int
        Neurons of each hidden layer.
    encoding : mapping
        As :func:`firstspike.encode.from_meta` takes it.
    bits : int
        Weight bits, 2 … 8.
    clips : tuple of float
        Largest weight of each layer, relative to a threshold of 1.
    current_bits : int
        Width of the hardware's currents, at least ``bits``. The finished network is pruned to it,
        and of weights that no training image uses (:func:`firstspike.quantise.prune`).
    k : int
        Decay shift of every layer; the time constant is ``2**k`` steps.
    steps : int
        T.
    epochs, batch : int
    seed : int
        Of initial weights, order, distortions and dropout.
    teacher : str, optional
        A shipped network or the path of one, of the same inputs, classes and encoding. Half of the
        label is then what the teacher makes of the same distorted image: the softmax of its
        outputs' ``-sharpness · t``.
    initial : str, optional
        A shipped network or the path of one, of the same shape, whose weights training starts from
        instead of from random ones.
    learning_rate : float
        Peak rate of Adam, after ``warmup`` batches; it then falls to 0 along a cosine.
    warmup : int
    dropout : float
        Probability that a hidden neuron cannot spike for a sample; nothing is rescaled later.
    sparsity : float
        Pressure on the drive of every hidden neuron that spikes before the decision.
    spike_budget : float
        Mean hidden spikes a sample up to the decision; a batch with fewer is under no pressure.
    sharpness : float
        β of the loss, the cross-entropy of ``-β · t`` over the outputs' spike times ``t``.
    deadline : float
        Time in units of τ at which, in the loss, "no class" fires; it makes the right class early.
    smoothing : float
        Share of the label that is spread over all classes.
    averaging : float
        Decay of the moving average of weights that becomes the network.
    distortion : Distortion or None
        How training images are distorted, anew in every epoch.
    validation : int
        Training images to hold back, the last ones, and to report the accuracy on. With 0 all
        images are trained on and no accuracy is reported. The test images are never looked at.

    Raises
    ------
    DataError
        If a setting is of another type or out of range.
    """

    name: str = "network"
    dataset: str = "mnist"
    hidden: tuple[int, ...] = (600,)
    encoding: Mapping[str, Any] = field(default_factory=lambda: {"kind": "binary"})
    bits: int = 8
    clips: tuple[float, ...] = (0.5, 0.3)
    current_bits: int = 16
    k: int = 4
    steps: int = 64
    epochs: int = 60
    batch: int = 200
    learning_rate: float = 4e-3
    warmup: int = 500
    dropout: float = 0.0
    sparsity: float = 0.0
    spike_budget: float = 0.0
    sharpness: float = 40.0
    deadline: float = 2.0
    smoothing: float = 0.0
    averaging: float = 0.999
    distortion: Distortion | None = field(default_factory=Distortion)
    validation: int = 10_000
    seed: int = 1
    teacher: str | None = None
    initial: str | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            _check_type(entry.name, getattr(self, entry.name), entry.type)
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "clips", tuple(self.clips))
        object.__setattr__(self, "encoding", dict(self.encoding))
        if isinstance(self.distortion, Mapping):
            object.__setattr__(self, "distortion", Distortion(**self.distortion))
        if not self.hidden or min(self.hidden) < 1:
            raise DataError(f"hidden is {self.hidden}, but at least one layer of neurons is needed")
        if len(self.clips) != len(self.hidden) + 1:
            raise DataError(
                f"{len(self.clips)} clips were given, but there are {len(self.hidden) + 1} layers"
            )
        weight_limit(self.bits)
        if self.current_bits < self.bits:
            raise DataError(
                f"current_bits is {self.current_bits}, but a current holds at least one weight of "
                f"{self.bits} bits"
            )
        if self.k not in DECAY_RANGE:
            raise DataError(f"decay shift k is {self.k}, but the range is 1 to 8")
        for name, low, high in (
            ("epochs", 1, math.inf),
            ("batch", 1, math.inf),
            ("steps", 1, MAX_STEPS),
            ("seed", 0, math.inf),
            ("validation", 0, math.inf),
            ("warmup", 0, math.inf),
            ("sparsity", 0, math.inf),
            ("spike_budget", 0, math.inf),
            ("dropout", 0, 0.99),
            ("smoothing", 0, 0.99),
            ("averaging", 0, 0.999999),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                limit = f"{low} to {high}" if high < math.inf else f"{low} and above"
                raise DataError(f"{name} is {value}, but the range is {limit}")
        for name in ("learning_rate", "sharpness", "deadline"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise DataError(f"{name} is {getattr(self, name)}, but it must be above 0")

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """Return the settings of a shipped network, by its name, with some replaced.

        Raises
        ------
        DataError
            If there is no such preset or no such setting, or one is of another type or out of
            range.
        """
        if name not in PRESETS:
            raise DataError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
        known = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(overrides) - known):
            raise DataError(
                f"there is no training setting {unknown[0]!r}; the settings are "
                f"{', '.join(sorted(known))}"
            )
        return cls(**{"name": name, **PRESETS[name], **overrides})

    @staticmethod
    def presets() -> tuple[str, ...]:
        """Names that :meth:`preset` knows."""
        return tuple(PRESETS)


@dataclass(frozen=True)
class EpochReport:
    """What an epoch of training gave.

    Parameters
    ----------
    epoch : int
        Counted from 1.
    loss : float
        Mean over the epoch.
    accuracy : float or None
        Share of validation images that the averaged integer network classifies correctly.
    steps : float or None
        Mean decision step on the validation images.
    spikes : tuple of float
        Mean spikes of inputs and of each hidden layer up to the decision, on validation images.
    """

    epoch: int
    loss: float
    accuracy: float | None
    steps: float | None
    spikes: tuple[float, ...]


def train(
    config: TrainingConfig,
    dataset: Dataset,
    *,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    on_epoch: Callable[[EpochReport], object] | None = None,
) -> Network:
    """Train a network.

    The outcome is a function of the settings and the data (on one machine and one PyTorch), no
    matter how often training was interrupted and resumed. One CPU thread a process is enough for
    small networks; ``torch.set_num_threads`` chooses.

    Parameters
    ----------
    config : TrainingConfig
    dataset : Dataset
        Only its training images are used.
    progress : bool
        Show a progress bar with loss and validation accuracy.
    checkpoint : path, optional
        Written after every epoch, whole or not at all; if it exists, training goes on from it.
        Ctrl-C leaves it as the last epoch wrote it.
    on_epoch : callable, optional
        Called with an :class:`EpochReport` after every epoch.

    Returns
    -------
    Network
        Its ``meta`` names data set, encoding, settings and, if there was a validation split, the
        accuracy on it.

    Raises
    ------
    DataError
        If the data do not suit the settings, training diverges, or the checkpoint is damaged or
        belongs to other settings.
    """
    if config.validation:
        dataset = dataset.split_validation(config.validation)
    if len(dataset.x_train) < config.batch:
        raise DataError(
            f"a batch is {config.batch} images, but {dataset.name} leaves "
            f"{len(dataset.x_train)} to train on"
        )
    precision = torch.get_float32_matmul_precision()
    # Zeros, ones and 8-bit integers are exact in bfloat16, and their products are summed up in
    # float32: where the processor multiplies bfloat16 matrices, the forward pass loses nothing.
    torch.set_float32_matmul_precision("medium")
    try:
        return _Trainer(config, dataset).run(progress, checkpoint, on_epoch)
    finally:
        torch.set_float32_matmul_precision(precision)


class _Trainer:
    def __init__(self, config: TrainingConfig, dataset: Dataset) -> None:
        self.config = config
        self.dataset = dataset
        self.encoder: Encoder = from_meta(config.encoding)
        if self.encoder.steps > config.steps:
            raise DataError(
                f"inputs spike in steps 0 to {self.encoder.steps - 1}, but the network runs only "
                f"{config.steps} steps"
            )
        self.limit = weight_limit(config.bits)
        self.clocks = [
            Clock(config.k, threshold_for(clip, config.bits, config.k), config.steps)
            for clip in config.clips
        ]
        sizes = (dataset.inputs, *config.hidden, dataset.classes)
        random = torch.Generator().manual_seed(config.seed)
        self.weights: list[Tensor] = []
        for index, shape in enumerate(pairwise(sizes)):
            place = {0: "first", len(config.hidden): "last"}.get(index, "middle")
            mean, deviation, reference = _INITIAL[place]
            scale = reference / shape[0]
            weights = torch.randn(shape, generator=random)
            weights = weights * (deviation * math.sqrt(scale)) + mean * scale
            self.weights.append(weights.requires_grad_())
        if config.initial is not None:
            self.adopt(config.initial)
        self.teacher = None if config.teacher is None else self.hire(config.teacher)
        self.average = [weights.detach().clone() for weights in self.weights]
        self.optimizer = torch.optim.Adam(
            self.weights, lr=config.learning_rate, betas=(0.9, 0.99), fused=True
        )
        self.epoch = 0

    def adopt(self, name: str) -> None:
        """Start from the weights of the network ``name``, clipped as the settings say."""
        network = load_network(name)
        shape = (self.dataset.inputs, *self.config.hidden, self.dataset.classes)
        if network.shape != shape:
            raise DataError(
                f"{name} is a network of {'-'.join(map(str, network.shape))}, but one of "
                f"{'-'.join(map(str, shape))} is to be trained"
            )
        with torch.no_grad():
            for weights, layer, clip in zip(
                self.weights, network.layers, self.config.clips, strict=True
            ):
                unit = 2**layer.k / layer.threshold
                weights.copy_(torch.from_numpy(layer.weights * unit).clamp_(-clip, clip))

    def hire(self, name: str) -> tuple[list[Tensor], list[Clock]]:
        """Weights in integer units and clocks of the network ``name``."""
        network = load_network(name)
        if (network.inputs, network.outputs) != (self.dataset.inputs, self.dataset.classes):
            raise DataError(
                f"the teacher {name} has {network.inputs} inputs and {network.outputs} classes, "
                f"but {self.dataset.name} has {self.dataset.inputs} and {self.dataset.classes}"
            )
        encoding = network.meta.get("encoding")
        if encoding != self.encoder.to_meta():
            raise DataError(
                f"the teacher {name} takes inputs encoded as {encoding}, but a network for "
                f"{self.encoder.to_meta()} is to be trained"
            )
        weights = [torch.from_numpy(layer.weights.astype(np.float32)) for layer in network.layers]
        clocks = [Clock(layer.k, layer.threshold, network.steps) for layer in network.layers]
        return weights, clocks

    @property
    def batches(self) -> int:
        """Batches an epoch; images beyond the last full one wait for the next shuffle."""
        return len(self.dataset.x_train) // self.config.batch

    def run(
        self,
        progress: bool,
        checkpoint: str | os.PathLike[str] | None,
        on_epoch: Callable[[EpochReport], object] | None,
    ) -> Network:
        from tqdm import tqdm

        config = self.config
        if checkpoint is not None and Path(checkpoint).exists():
            self.restore(checkpoint)
        with tqdm(
            total=config.epochs * self.batches,
            initial=self.epoch * self.batches,
            desc=config.name,
            unit="batch",
            disable=None if progress else True,
        ) as bar:
            while self.epoch < config.epochs:
                loss = self.train_epoch(bar.update)
                self.epoch += 1
                if checkpoint is not None:
                    self.save(checkpoint)
                report = self.report(loss)
                postfix = {"epoch": self.epoch, "loss": f"{loss:.4f}"}
                if report.accuracy is not None:
                    postfix["validation"] = f"{report.accuracy:.2%}"
                bar.set_postfix(postfix)
                if on_epoch is not None:
                    on_epoch(report)
        return self.finish()

    def train_epoch(self, update: Callable[[int], object]) -> float:
        """Train on every image once; return the mean loss."""
        config = self.config
        # The randomness of an epoch depends on its number alone, so that resuming repeats nothing.
        random = np.random.default_rng((config.seed, self.epoch))
        torch_random = torch.Generator().manual_seed(int(random.integers(1 << 62)))
        images = self.dataset.x_train
        if config.distortion is not None and images.ndim == 3:
            images = config.distortion(images, random)
        order = random.permutation(len(images))
        first = self.epoch * self.batches
        total = 0.0
        for batch in range(self.batches):
            chosen = order[batch * config.batch : (batch + 1) * config.batch]
            samples = self.encoder.encode(images[chosen])
            labels = torch.from_numpy(self.dataset.y_train[chosen])
            total += self.train_batch(samples, labels, first + batch, torch_random)
            update(1)
        return total / self.batches

    def train_batch(
        self, samples: np.ndarray, labels: Tensor, number: int, random: torch.Generator
    ) -> float:
        """Take one step of the optimiser; return the loss without the penalty on activity."""
        config = self.config
        progress = number / (self.batches * config.epochs)
        rate = min(1.0, (number + 1) / (config.warmup + 1)) * (1 + math.cos(math.pi * progress)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * rate
        inputs = self.arrivals(samples)
        integers = [
            _Round.apply(weights, clock.unit, self.limit)
            for weights, clock in zip(self.weights, self.clocks, strict=True)
        ]
        times, hidden = self.forward(inputs, integers, self.clocks, random)
        nobody = times.new_full((len(times), 1), config.deadline)
        target = labels
        if self.teacher is not None:
            with torch.no_grad():
                taught, _ = self.forward(inputs, *self.teacher, None)
            target = torch.nn.functional.one_hot(labels, times.shape[1] + 1).to(times.dtype)
            target[:, :-1] += torch.softmax(-config.sharpness * taught, dim=1)
            target /= 2
        loss = torch.nn.functional.cross_entropy(
            -config.sharpness * torch.cat([times, nobody], dim=1),
            target,
            label_smoothing=config.smoothing,
        )
        value = loss.item()
        if not math.isfinite(value):
            raise DataError(
                f"training diverged in epoch {self.epoch + 1} (loss {value}); lower the learning "
                f"rate, which is {config.learning_rate}"
            )
        if config.sparsity:
            decision = times.detach().amin(dim=1, keepdim=True)
            before = [(spikes.detach() <= decision) for spikes, _ in hidden]
            if sum(int(spiked.sum()) for spiked in before) > config.spike_budget * len(times):
                for (_, drive), spiked in zip(hidden, before, strict=True):
                    loss = loss + config.sparsity * (drive * spiked).sum() / len(times)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, _GRADIENT_NORM)
        self.optimizer.step()
        keep = min(config.averaging, (number + 1) / (number + 10))
        with torch.no_grad():
            for weights, average, clip in zip(
                self.weights, self.average, config.clips, strict=True
            ):
                weights.clamp_(-clip, clip)
                average.lerp_(weights, 1 - keep)
        return value

    def arrivals(self, samples: np.ndarray) -> Tensor:
        """Spike steps as the first layer takes them: times, or ones if all arrive at once."""
        steps = torch.from_numpy(samples)
        if self.encoder.steps == 1:
            return (steps != NEVER).to(torch.float32)
        return torch.where(steps != NEVER, steps / self.clocks[0].tau, torch.inf)

    def forward(
        self,
        times: Tensor,
        weights: Sequence[Tensor],
        clocks: Sequence[Clock],
        random: torch.Generator | None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return the outputs' times, and times and drive of every hidden layer.

        ``weights`` are in integer units. Hidden neurons are dropped only with a source of
        randomness.
        """
        hidden: list[tuple[Tensor, Tensor]] = []
        for index, (integers, clock) in enumerate(zip(weights, clocks, strict=True)):
            last = index == len(clocks) - 1
            if index == 0 and self.encoder.steps == 1:
                times, drive = simultaneous_layer(times, integers, clock)
            else:
                times, drive = causal_layer(times, integers, clock, silent=last)
            if last:
                break
            if self.config.dropout and random is not None:
                dropped = torch.rand(times.shape, generator=random) < self.config.dropout
                times = times.masked_fill(dropped, torch.inf)
            hidden.append((times, drive))
        return times, hidden

    def network(self) -> Network:
        """The averaged weights as an integer network."""
        config = self.config
        settings = {
            key: value
            for key, value in asdict(config).items()
            if key not in ("name", "dataset", "encoding")
        }
        return quantise(
            [weights.numpy() for weights in self.average],
            bits=config.bits,
            k=config.k,
            clips=config.clips,
            steps=config.steps,
            meta={
                "name": config.name,
                "dataset": self.dataset.name,
                "encoding": self.encoder.to_meta(),
                "training": settings,
            },
        )

    def report(self, loss: float) -> EpochReport:
        if not self.config.validation:
            return EpochReport(self.epoch, loss, None, None, ())
        accuracy, steps, spikes = self.validate(self.network())
        return EpochReport(self.epoch, loss, accuracy, steps, spikes)

    def validate(self, network: Network) -> tuple[float, float, tuple[float, ...]]:
        """Accuracy, mean decision step and mean spikes on the validation images."""
        from .sim.fast import infer

        result = infer(network, self.encoder.encode(self.dataset.x_test))
        accuracy = float(np.mean(result.label == self.dataset.y_test))
        return accuracy, float(result.step.mean()), tuple(map(float, result.events.mean(axis=0)))

    def finish(self) -> Network:
        images = self.encoder.encode(self.dataset.x_train)
        network = prune(self.network(), images, self.config.current_bits)
        if not self.config.validation:
            return network
        accuracy = self.validate(network)[0]
        return network.with_meta(
            validation={"images": self.config.validation, "accuracy": round(accuracy, 6)}
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        content = {
            "format": _CHECKPOINT,
            "config": asdict(self.config),
            "epoch": self.epoch,
            "weights": [weights.detach() for weights in self.weights],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        with write_atomically(path) as file:
            torch.save(content, file)

    def restore(self, path: str | os.PathLike[str]) -> None:
        try:
            content = torch.load(path, weights_only=True)
            if content["format"] != _CHECKPOINT:
                raise KeyError("format")
            config, epoch = content["config"], content["epoch"]
            stored = content["weights"], content["average"]
            optimizer = content["optimizer"]
        except Exception as error:  # torch.load lets through whatever the unpickler raises
            raise DataError(
                f"{path} is no checkpoint of this release, or it is damaged "
                f"({type(error).__name__}); delete it to start afresh"
            ) from error
        changed = [
            entry.name
            for entry in fields(self.config)
            if getattr(TrainingConfig(**config), entry.name) != getattr(self.config, entry.name)
        ]
        if changed:
            raise DataError(
                f"{path} belongs to a training with other settings ({', '.join(changed)}); delete "
                "it to start afresh, or train with those it was begun with"
            )
        with torch.no_grad():
            for weights, average, *values in zip(self.weights, self.average, *stored, strict=True):
                weights.copy_(values[0])
                average.copy_(values[1])
        self.optimizer.load_state_dict(optimizer)
        self.epoch = epoch


class _Round(torch.autograd.Function):
    """Weights in integer units, with the gradient of no rounding (straight-through)."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, unit: float, limit: int) -> Tensor:
        ctx.unit = unit
        return (weights / unit).round_().clamp_(-limit, limit)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] / ctx.unit, None, None
