"""Lock-step verification: golden model, cycle model and simulated gateware on the same samples."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from ..firmware.errors import DataError, Mismatch
from ..firmware.formats import NEVER
from ..firmware.image import Image
from ..firmware.network import Network
from . import fast
from .compare import Divergence, first_divergence
from .cycles import predict
from .engine import CoreSimulation
from .result import Inference

__all__ = ["VerifyReport", "verify"]

_NAMES = ("the golden model", "the simulated gateware")

#: Samples between two comparisons: a divergence is found soon.
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class VerifyReport:
    """What was found equal.

    Parameters
    ----------
    inference : Inference
        Of all samples.
    cycles : (batch,) int64
        Clock cycles of each sample.
    """

    inference: Inference
    cycles: np.ndarray

    def __str__(self) -> str:
        spikes = sum(int((layer != NEVER).sum()) for layer in self.inference.spikes)
        return (
            f"{len(self.cycles)} samples, {spikes} spikes and {self.cycles.sum()} clock cycles "
            "agree between golden model, cycle model and simulated gateware"
        )


def verify(
    network: Network,
    samples: np.ndarray,
    image: Image,
    *,
    progress: Callable[[int], object] | None = None,
) -> VerifyReport:
    """Run ``network`` in the golden model and ``image`` in the gateware, and compare everything.

    Every spike, decision, membrane and count has to be equal, and the cycles of every sample have
    to be those that the cycle model predicts.

    Parameters
    ----------
    network : Network
    samples : (batch, inputs) integers
        Spike steps.
    image : Image
        What ``network`` was compiled to.
    progress : callable, optional
        Called with the number of samples finished since the last call, like ``tqdm.update``.

    Raises
    ------
    Mismatch
        At the first divergence, with sample, step, layer, neuron, cycle and both values.
    DataError
        If the samples do not suit the network, or the network is larger than the image's
        configuration.
    BuildError
        If the simulation cannot be built.
    """
    samples = network.check_samples(samples)
    if not len(samples):
        raise DataError("an empty batch verifies nothing; give at least one sample")
    built = tuple(layer.neurons for layer in image.config.layers)
    if len(network.shape) != len(built) + 1 or any(
        asked > limit
        for asked, limit in zip(network.shape, (image.config.inputs, *built), strict=True)
    ):
        raise DataError(
            f"a network of {network.shape} was given with an image for an accelerator of "
            f"{(image.config.inputs, *built)}; compile this network"
        )
    parts, cycles = [], []
    with CoreSimulation(image) as simulation:
        for start in range(0, len(samples), _CHUNK):
            part = samples[start : start + _CHUNK]
            expected = fast.infer(network, part)
            # A network smaller than the build lies in its lower corner.
            spare = simulation.network.inputs - network.inputs
            padded = np.pad(part, ((0, 0), (0, spare)), constant_values=NEVER)
            actual, counted = simulation.infer(padded)
            divergence = first_divergence(expected, _cut(actual, network), network, names=_NAMES)
            divergence = divergence or _first_cycle(network, part, image, expected, counted)
            if divergence is not None:
                sample = padded[divergence.sample]
                raise Mismatch(str(_timed(divergence, simulation, sample, start)))
            parts.append(expected)
            cycles.append(counted)
            if progress is not None:
                progress(len(part))
    return VerifyReport(Inference.concatenate(parts), np.concatenate(cycles))


def _cut(actual: Inference, network: Network) -> Inference:
    """The neurons that the network has, of those that were built.

    A spike of any other neuron reaches the next layer's row count, where it is noticed.
    """
    spikes = [
        layer[:, :neurons] for layer, neurons in zip(actual.spikes, network.shape[1:], strict=True)
    ]
    arrays = {field.name: getattr(actual, field.name) for field in fields(actual)}
    potential = actual.potential[:, : network.outputs]
    return Inference(**arrays | {"spikes": tuple(spikes), "potential": potential})


def _first_cycle(
    network: Network, samples: np.ndarray, image: Image, expected: Inference, counted: np.ndarray
) -> Divergence | None:
    """The first sample that takes another time than the cycle model says."""
    predicted = predict(image.config, network, samples, expected)
    if (predicted == counted).all():
        return None
    sample = int((predicted != counted).argmax())
    return Divergence(
        sample=sample,
        what="cycle count",
        expected=int(predicted[sample]),
        actual=int(counted[sample]),
        step=int(expected.step[sample]),
        names=("the cycle model", _NAMES[1]),
    )


def _timed(
    divergence: Divergence, simulation: CoreSimulation, sample: np.ndarray, start: int
) -> Divergence:
    """The divergence with the cycle in which it shows, and the number of its sample in the batch.

    Parameters
    ----------
    start : int
        Sample 0 of the comparison.
    """
    cycle = None
    if divergence.layer is not None and divergence.neuron is not None:
        cycle = simulation.locate(sample, divergence.layer, divergence.neuron, divergence.step)
    return replace(divergence, sample=start + divergence.sample, cycle=cycle)
