"""Two models that must agree: the first place where they do not."""

from dataclasses import dataclass

import numpy as np

from ..firmware.errors import DataError, Mismatch
from ..firmware.formats import NEVER
from ..firmware.network import Network
from .result import Inference

__all__ = ["Divergence", "first_divergence", "require_equal"]

_NAMES = ("the golden model", "the model under test")

#: What is compared once all spikes agree, in this order.
_FIELDS = ("step", "fired", "label", "tied", "potential", "events", "rows")


@dataclass(frozen=True)
class Divergence:
    """The first difference between two inferences; ``str()`` tells it in a sentence.

    Parameters
    ----------
    sample : int
        Index in the batch.
    what : str
        ``"spike"``, or the field of :class:`~firstspike.sim.result.Inference` that differs.
    expected, actual : int
        The values on both sides; for a spike its step, ``NEVER`` for none.
    step : int
        The earliest step in which the two sides differ.
    layer, neuron : int or None
        Where; None for fields that belong to the sample or to a whole layer.
    cycle : int or None
        Clock cycle of the sample in which it shows, where the hardware side knows it.
    names : pair of str
        What to call the two sides.
    """

    sample: int
    what: str
    expected: int
    actual: int
    step: int
    layer: int | None = None
    neuron: int | None = None
    cycle: int | None = None
    names: tuple[str, str] = _NAMES

    def __str__(self) -> str:
        place = f"sample {self.sample}, step {self.step}"
        if self.layer is not None:
            place += f", layer {self.layer}"
        if self.neuron is not None:
            place += f", neuron {self.neuron}"
        if self.cycle is not None:
            place += f", cycle {self.cycle}"
        sides = zip(self.names, (self.expected, self.actual), strict=True)
        if self.what == "spike":
            told = [
                f"{name} has no spike" if step == NEVER else f"{name} spikes in step {step}"
                for name, step in sides
            ]
        else:
            told = [f"{name} has {self.what} {value}" for name, value in sides]
        return f"{place}: {', '.join(told)}"


def first_divergence(
    expected: Inference,
    actual: Inference,
    network: Network,
    *,
    names: tuple[str, str] = _NAMES,
) -> Divergence | None:
    """Return the first difference in time, or None if the two agree in every field.

    The first sample that differs counts; within it the spike with the earliest step, in it the
    lowest layer, in it the lowest neuron; after all spikes the decision and its counts.

    Parameters
    ----------
    expected, actual : Inference
        Results of the same samples.
    network : Network
        The network they are of.
    names : pair of str, optional
        What the sentence calls the two sides.

    Raises
    ------
    DataError
        If the two are not of the same number of samples, or not of this network.
    """
    for name, side in zip(names, (expected, actual), strict=True):
        neurons = tuple(spikes.shape[1] for spikes in side.spikes)
        if len(side) != len(expected) or neurons != network.shape[1:]:
            raise DataError(
                f"{name} has {len(side)} samples of layers {neurons}, but {len(expected)} samples "
                f"of layers {network.shape[1:]} are compared"
            )
    differs = np.zeros(len(expected), dtype=bool)
    for ours, theirs in _pairs(expected, actual):
        differs |= (ours != theirs).any(axis=tuple(range(1, ours.ndim)))
    if not differs.any():
        return None
    sample = int(differs.argmax())
    return _first_spike(expected, actual, sample, names) or _first_field(
        expected, actual, sample, names
    )


def require_equal(
    expected: Inference,
    actual: Inference,
    network: Network,
    *,
    names: tuple[str, str] = _NAMES,
) -> None:
    """Do nothing if the two agree in every field; arguments as in :func:`first_divergence`.

    Raises
    ------
    Mismatch
        With the first divergence as its message.
    DataError
        If the two cannot be compared.
    """
    divergence = first_divergence(expected, actual, network, names=names)
    if divergence is not None:
        raise Mismatch(str(divergence))


def _pairs(expected: Inference, actual: Inference) -> list[tuple[np.ndarray, np.ndarray]]:
    """The arrays to compare, side by side."""
    fields = [(getattr(expected, name), getattr(actual, name)) for name in _FIELDS]
    return [*zip(expected.spikes, actual.spikes, strict=True), *fields]


def _first_spike(
    expected: Inference, actual: Inference, sample: int, names: tuple[str, str]
) -> Divergence | None:
    first = None
    for layer, sides in enumerate(zip(expected.spikes, actual.spikes, strict=True)):
        ours, theirs = (side[sample].astype(np.int64) for side in sides)
        late = np.iinfo(np.int64).max
        # The two part in the step in which the earlier of them spikes.
        parting = np.minimum(
            np.where(ours == NEVER, late, ours), np.where(theirs == NEVER, late, theirs)
        )
        parting[ours == theirs] = late
        neuron = int(parting.argmin())
        step = int(parting[neuron])
        if step != late and (first is None or step < first.step):
            first = Divergence(
                sample=sample,
                what="spike",
                expected=int(ours[neuron]),
                actual=int(theirs[neuron]),
                step=step,
                layer=layer,
                neuron=neuron,
                names=names,
            )
    return first


def _first_field(
    expected: Inference, actual: Inference, sample: int, names: tuple[str, str]
) -> Divergence | None:
    for what in _FIELDS:
        ours, theirs = (np.atleast_1d(getattr(side, what)[sample]) for side in (expected, actual))
        if (ours == theirs).all():
            continue
        index = int((ours != theirs).argmax())
        layer = neuron = None
        if what == "potential":
            layer, neuron = len(expected.spikes) - 1, index
        elif what in ("events", "rows"):
            layer = index
        return Divergence(
            sample=sample,
            what=what,
            expected=int(ours[index]),
            actual=int(theirs[index]),
            step=int(min(expected.step[sample], actual.step[sample])),
            layer=layer,
            neuron=neuron,
            names=names,
        )
    return None
