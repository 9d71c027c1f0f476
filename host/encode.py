"""Encoders: from images to the spike steps that a network takes, and back.

Every encoder turns ``uint8`` grey levels into spike steps, ``int32`` with ``NEVER`` (-1) for an
input that does not spike; the brighter a pixel, the earlier its spike. Trained networks carry their
encoder in ``Network.meta["encoding"]``, so that :func:`from_meta` gives it back.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .firmware.errors import DataError
from .firmware.formats import MAX_STEPS, NEVER
from .firmware.suggest import suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Binary", "Encoder", "Linear", "Logarithmic", "from_meta", "plot_encoding"]


@dataclass(frozen=True)
class Encoder(ABC):
    """Base of the encoders: a table from grey level to spike step.

    Subclasses are frozen dataclasses whose fields are the encoder's parameters, and fill the table.
    """

    kind: ClassVar[str]

    @abstractmethod
    def table(self) -> np.ndarray:
        """(256,) ``int32``: the spike step of each grey level, never increasing where not NEVER."""

    @property
    def steps(self) -> int:
        """Number of steps in which inputs can spike: one more than the latest."""
        return max(int(self.table().max()), 0) + 1

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the spike steps of ``images``.

        Parameters
        ----------
        images : (batch, height, width) or (batch, inputs) ``uint8``

        Returns
        -------
        (batch, inputs) ``int32``

        Raises
        ------
        DataError
            If the images are of another dtype or shape.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise DataError(
                f"images have dtype {images.dtype}, but encoders take uint8 grey levels 0 to 255"
            )
        if images.ndim not in (2, 3):
            raise DataError(
                f"images have shape {images.shape}, but encoders take (batch, height, width) or "
                "(batch, inputs)"
            )
        return self.table()[images.reshape(len(images), -1)]

    def decode(self, steps: np.ndarray) -> np.ndarray:
        """Return the brightest grey level that spikes in each of ``steps``; 0 where none does.

        The inverse of :meth:`encode` up to the rounding of grey levels to steps: encoding the
        result gives ``steps`` again, wherever some grey level spikes in that step.

        Raises
        ------
        DataError
            If a step is not an integer, or is one in which no input can spike.
        """
        steps = np.asarray(steps)
        if steps.dtype.kind not in "iu":
            raise DataError(f"spike steps have dtype {steps.dtype}, but they are integers")
        table = self.table()
        if steps.size and not (steps.min() >= NEVER and steps.max() <= table.max()):
            raise DataError(
                f"spike steps run from {steps.min()} to {steps.max()}, but this encoding uses "
                f"steps {NEVER} to {table.max()}"
            )
        levels = np.zeros(int(table.max()) + 2, np.uint8)
        spiking = np.flatnonzero(table != NEVER)
        # Rising grey levels, so that the last one written to a step is its brightest.
        levels[table[spiking]] = spiking
        levels[NEVER] = 0
        return levels[steps]

    def to_meta(self) -> dict[str, Any]:
        """Return a dict of plain values for ``Network.meta["encoding"]``."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Binary(Encoder):
    """A pixel above the threshold spikes in step 0, any other never.

    Parameters
    ----------
    threshold : int
        0 … 254; the grey level that must be exceeded.

    Raises
    ------
    DataError
        If the threshold is out of range.
    """

    threshold: int = 127
    kind: ClassVar[str] = "binary"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 254:
            raise DataError(f"threshold is {self.threshold}, but the range is 0 to 254")

    def table(self) -> np.ndarray:
        return np.where(np.arange(256) > self.threshold, 0, NEVER).astype(np.int32)


@dataclass(frozen=True)
class Linear(Encoder):
    """Latency falls linearly with intensity, in a few levels.

    Grey levels ``floor … 255`` are cut into ``levels`` equal bands. The brightest band spikes in
    step 0, the next ``spacing`` steps later, and so on; darker pixels never spike.

    Parameters
    ----------
    levels : int
        1 … 255.
    spacing : int
        Steps between two levels, at least 1.
    floor : int
        1 … 255; the darkest grey level that spikes.

    Raises
    ------
    DataError
        If a parameter is out of range.
    """

    levels: int = 8
    spacing: int = 1
    floor: int = 32
    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        if not 1 <= self.floor <= 255:
            raise DataError(f"floor is {self.floor}, but the range is 1 to 255")
        if not 1 <= self.levels <= 256 - self.floor:
            raise DataError(
                f"{self.levels} levels were asked for, but from floor {self.floor} upwards there "
                f"are 1 to {256 - self.floor}"
            )
        if self.spacing < 1 or (self.levels - 1) * self.spacing >= MAX_STEPS:
            raise DataError(
                f"spacing is {self.spacing}, but it is at least 1 and {self.levels} levels must "
                f"fit in {MAX_STEPS} steps"
            )

    def table(self) -> np.ndarray:
        grey = np.arange(256)
        level = (255 - grey) * self.levels // (256 - self.floor)
        return np.where(grey >= self.floor, level * self.spacing, NEVER).astype(np.int32)


@dataclass(frozen=True)
class Logarithmic(Encoder):
    """Latency of a leaky charging curve, as of an RC circuit driven by the intensity.

    A capacitor charged towards ``x`` with time constant ``tau`` reaches ``theta`` at
    ``t = tau · ln(x / (x - theta))``; ``x`` is the grey level divided by 255. The delay of the
    brightest pixel is taken off, so that it spikes in step 0; pixels that reach ``theta`` after the
    last step, or not at all, never spike.

    Parameters
    ----------
    tau : float
        Time constant in steps, above 0.
    theta : float
        Threshold, above 0 and below 1.
    limit : int
        Number of steps, 1 … ``MAX_STEPS``.

    Raises
    ------
    DataError
        If a parameter is out of range.
    """

    tau: float = 8.0
    theta: float = 0.2
    limit: int = 16
    kind: ClassVar[str] = "logarithmic"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise DataError(f"tau is {self.tau}, but it must be above 0")
        if not 0 < self.theta < 1:
            raise DataError(f"theta is {self.theta}, but it must lie between 0 and 1")
        if not 1 <= self.limit <= MAX_STEPS:
            raise DataError(f"limit is {self.limit}, but the range is 1 to {MAX_STEPS}")

    def table(self) -> np.ndarray:
        intensity = np.arange(256) / 255
        reached = intensity > self.theta
        times = np.full(256, np.inf)
        times[reached] = -self.tau * np.log1p(-self.theta / intensity[reached])
        steps = np.floor(times - times[255])
        return np.where(steps < self.limit, steps, NEVER).astype(np.int32)


_KINDS = {encoder.kind: encoder for encoder in (Binary, Linear, Logarithmic)}


def from_meta(meta: Mapping[str, Any]) -> Encoder:
    """Return the encoder that :meth:`Encoder.to_meta` described.

    Raises
    ------
    DataError
        If the kind is unknown or a parameter is missing, unknown or out of range.
    """
    parameters = dict(meta)
    kind = parameters.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise DataError(f"there is no encoding {kind!r}; choose one of {', '.join(_KINDS)}")
    encoder = _KINDS[kind]
    known = {entry.name: entry.type for entry in fields(encoder)}
    for name, value in parameters.items():
        if name not in known:
            raise DataError(f"the encoding {kind} has no parameter {name}{suggest(name, known)}")
        number: type = Integral if known[name] is int else Real
        if not isinstance(value, number) or isinstance(value, bool):
            what = "a whole number" if number is Integral else "a number"
            raise DataError(f"{name} of the encoding {kind} is {value!r}, but it is {what}")
    return encoder(**parameters)


def plot_encoding(encoder: Encoder, image: np.ndarray) -> "Figure":
    """Draw spike step against grey level, and an image before and after encoding.

    Parameters
    ----------
    encoder : Encoder
    image : (height, width) ``uint8``

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig(path)``.

    Raises
    ------
    DataError
        If the image is no ``uint8`` matrix.
    """
    from matplotlib.figure import Figure

    image = np.asarray(image)
    if image.ndim != 2:
        raise DataError(f"the image has shape {image.shape}, but one of (height, width) is needed")
    table = encoder.table()
    encoded = encoder.encode(image[None]).reshape(image.shape)
    figure = Figure(figsize=(10, 3), layout="constrained")
    curve, before, after = figure.subplots(1, 3)
    spiking = table != NEVER
    curve.plot(np.flatnonzero(spiking), table[spiking], ".", markersize=3)
    curve.set(xlabel="grey level", ylabel="spike step", xlim=(0, 255), title=encoder.kind)
    before.imshow(image, cmap="gray", vmin=0, vmax=255)
    before.set(title="image", xticks=[], yticks=[])
    shown = after.imshow(
        np.ma.masked_equal(encoded, NEVER), cmap="viridis_r", vmin=0, vmax=max(encoder.steps - 1, 1)
    )
    after.set(title=f"{int((encoded != NEVER).sum())} spikes", xticks=[], yticks=[])
    figure.colorbar(shown, ax=after, label="spike step")
    return figure
