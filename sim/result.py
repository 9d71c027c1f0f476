"""What an inference gives: the same arrays from every model, and the figures drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from ..firmware.errors import DataError
from ..firmware.formats import NEVER
from ..firmware.network import Network

__all__ = ["Inference", "Summary", "summarise"]


@dataclass(frozen=True, eq=False)
class Inference:
    """Results of a batch of samples, as ``docs/arithmetic.md`` defines them.

    Parameters
    ----------
    label : (batch,) int32
        The output that was decided for.
    step : (batch,) int32
        Decision step, 0 … T−1.
    fired : (batch,) bool
        Whether an output spiked; without, the decision is the highest membrane in step T−1.
    tied : (batch,) bool
        Whether two or more outputs spiked in the decision step.
    spikes : tuple of (batch, neurons) int32, one a layer
        Spike steps up to and including the decision step, ``NEVER`` for a neuron that had none.
    potential : (batch, outputs) int32
        U of the outputs in the decision step.
    events : (batch, layers) int32
        Spikes that arrived at each layer up to and including the decision step.
    rows : (batch, layers) int32
        Weight rows that each layer fetched up to and including the decision step.

    Raises
    ------
    DataError
        If the arrays disagree about the batch, the layers or the outputs.
    """

    label: np.ndarray
    step: np.ndarray
    fired: np.ndarray
    tied: np.ndarray
    spikes: tuple[np.ndarray, ...]
    potential: np.ndarray
    events: np.ndarray
    rows: np.ndarray

    def __post_init__(self) -> None:
        batch, layers = len(self.label), len(self.spikes)
        if not layers:
            raise DataError("an inference needs the spikes of at least one layer")
        expected = {
            "label": (batch,),
            "step": (batch,),
            "fired": (batch,),
            "tied": (batch,),
            "potential": (batch, self.spikes[-1].shape[-1]),
            "events": (batch, layers),
            "rows": (batch, layers),
        }
        shapes = {name: getattr(self, name).shape for name in expected}
        for index, spikes in enumerate(self.spikes):
            name = f"spikes[{index}]"
            expected[name] = (batch, spikes.shape[-1])
            shapes[name] = spikes.shape
        for name, shape in expected.items():
            if shapes[name] != shape:
                raise DataError(
                    f"{name} of an inference has shape {shapes[name]}, but {batch} samples, "
                    f"{layers} layers and {self.spikes[-1].shape[-1]} outputs need {shape}"
                )

    def __len__(self) -> int:
        return len(self.label)

    @property
    def lookups(self) -> np.ndarray:
        """Weights looked up, (batch, layers) int64: rows times neurons (synaptic operations)."""
        return self.rows * np.array([spikes.shape[1] for spikes in self.spikes], dtype=np.int64)

    @classmethod
    def blank(cls, network: Network, batch: int) -> Self:
        """Return a result of ``batch`` samples, without any spikes yet, for a model to fill."""
        layers = len(network.layers)
        return cls(
            label=np.zeros(batch, dtype=np.int32),
            step=np.zeros(batch, dtype=np.int32),
            fired=np.zeros(batch, dtype=bool),
            tied=np.zeros(batch, dtype=bool),
            spikes=tuple(
                np.full((batch, layer.neurons), NEVER, dtype=np.int32) for layer in network.layers
            ),
            potential=np.zeros((batch, network.outputs), dtype=np.int32),
            events=np.zeros((batch, layers), dtype=np.int32),
            rows=np.zeros((batch, layers), dtype=np.int32),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join the results of consecutive batches of the same network.

        Raises
        ------
        DataError
            If there are none, or they are of different networks.
        """
        if not parts:
            raise DataError("there is nothing to concatenate; give at least one inference")
        shapes = {tuple(spikes.shape[1] for spikes in part.spikes) for part in parts}
        if len(shapes) > 1:
            raise DataError(f"inferences of different networks cannot be joined: {sorted(shapes)}")
        joined = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name != "spikes"
        }
        layers = zip(*(part.spikes for part in parts), strict=True)
        return cls(**joined, spikes=tuple(np.concatenate(layer) for layer in layers))


@dataclass(frozen=True)
class Summary:
    """Figures of a batch; ``dataclasses.asdict`` gives them as a dictionary that JSON holds.

    Parameters
    ----------
    samples : int
    accuracy : float or None
        Share of samples decided for their label; None without labels. A tie counts as correct only
        if the tie rule picks the label.
    mean_step, median_step, p99_step : float
        Decision step, counted from 0.
    input_spikes, hidden_spikes, total_spikes : float
        Mean per sample up to and including the decision step; the total includes the outputs'.
    lookups_percent : tuple of float, one a layer
        Mean share of the layer's weights that a sample looks up, in per cent.
    tie_rate : float
        Share of samples in which two or more outputs spiked in the decision step.
    no_spike_rate : float
        Share of samples in which no output spiked.
    """

    samples: int
    accuracy: float | None
    mean_step: float
    median_step: float
    p99_step: float
    input_spikes: float
    hidden_spikes: float
    total_spikes: float
    lookups_percent: tuple[float, ...]
    tie_rate: float
    no_spike_rate: float

    def __str__(self) -> str:
        lookups = " / ".join(f"{percent:.2f}" for percent in self.lookups_percent)
        lines = [
            ("samples", f"{self.samples}"),
            (
                "decision step",
                f"mean {self.mean_step:.2f}, median {self.median_step:g}, p99 {self.p99_step:g}",
            ),
            (
                "spikes per sample",
                f"{self.total_spikes:.1f} (inputs {self.input_spikes:.1f}, "
                f"hidden {self.hidden_spikes:.1f})",
            ),
            ("weights looked up", f"{lookups} %"),
            ("ties", f"{100 * self.tie_rate:.2f} %"),
            ("no output spike", f"{100 * self.no_spike_rate:.2f} %"),
        ]
        if self.accuracy is not None:
            lines.insert(1, ("accuracy", f"{100 * self.accuracy:.2f} %"))
        return "\n".join(f"{name:<18} {value}" for name, value in lines)


def summarise(inference: Inference, labels: np.ndarray | None, network: Network) -> Summary:
    """Draw the figures that reports print from a batch.

    Parameters
    ----------
    inference : Inference
    labels : (batch,) integers or None
        The true classes, where they are known.
    network : Network
        The network that the inference is of.

    Raises
    ------
    DataError
        If the batch is empty, or labels or network do not suit it.
    """
    if not len(inference):
        raise DataError("an empty batch has no statistics; infer at least one sample")
    neurons = tuple(spikes.shape[1] for spikes in inference.spikes)
    if neurons != network.shape[1:]:
        raise DataError(f"the inference is of layers {neurons}, the network of {network.shape[1:]}")
    if labels is not None and np.shape(labels) != inference.label.shape:
        raise DataError(
            f"labels have shape {np.shape(labels)}, but there are {len(inference)} samples"
        )
    if labels is not None and np.max(labels) >= network.outputs:
        raise DataError(
            f"labels run to {np.max(labels)}, but the network has {network.outputs} outputs; "
            "choose another data set or network"
        )
    spikes = [float((layer != NEVER).sum(axis=1).mean()) for layer in inference.spikes]
    inputs = float(inference.events[:, 0].mean())
    weights = np.array([layer.weights.size for layer in network.layers])
    percent = 100 * inference.lookups.mean(axis=0) / weights
    return Summary(
        samples=len(inference),
        accuracy=None if labels is None else float((inference.label == labels).mean()),
        mean_step=float(inference.step.mean()),
        median_step=float(np.median(inference.step)),
        p99_step=float(np.percentile(inference.step, 99)),
        input_spikes=inputs,
        hidden_spikes=sum(spikes[:-1]),
        total_spikes=inputs + sum(spikes),
        lookups_percent=tuple(percent.tolist()),
        tie_rate=float(inference.tied.mean()),
        no_spike_rate=1 - float(inference.fired.mean()),
    )
