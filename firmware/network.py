"""An integer TTFS network: what training hands over and everything else agrees on."""

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from .errors import DataError, ModelFileError
from .files import write_atomically
from .formats import DECAY_RANGE, MAX_STEPS, MEMBRANE_BITS_RANGE, weight_limit

__all__ = ["DEFAULT_MEMBRANE_BITS", "Layer", "Network"]

DEFAULT_MEMBRANE_BITS = 20

_FORMAT = "firstspike-network"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of neurons and the synapses that feed it.

    Parameters
    ----------
    weights : (inputs, neurons) integers
        Stored as ``int8``, made read-only.
    k : int
        Decay shift; the synaptic time constant is ``2**k`` steps.
    threshold : int
        θ, 1 … ``2**(membrane_bits - 1)``.
    weight_bits : int
        2 … 8; weights lie within ±(``2**(weight_bits - 1)`` − 1).
    membrane_bits : int
        8 … 32; the membrane saturates at ``-2**(membrane_bits - 1)``.

    Raises
    ------
    DataError
        If a value is out of its range or the weights are no integer matrix.
    """

    weights: np.ndarray
    k: int
    threshold: int
    weight_bits: int = 8
    membrane_bits: int = DEFAULT_MEMBRANE_BITS

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights)
        if weights.ndim != 2 or 0 in weights.shape:
            raise DataError(
                f"weights have shape {weights.shape}, but a layer needs a matrix (inputs, neurons)"
            )
        if weights.dtype.kind not in "iu":
            raise DataError(
                f"weights have dtype {weights.dtype}, but a layer needs integers; quantise first"
            )
        limit = weight_limit(self.weight_bits)
        worst = np.unravel_index(np.abs(weights.astype(np.int64)).argmax(), weights.shape)
        if abs(int(weights[worst])) > limit:
            raise DataError(
                f"weight [{worst[0]}, {worst[1]}] is {weights[worst]}, but {self.weight_bits}-bit "
                f"weights lie within ±{limit}"
            )
        if self.k not in DECAY_RANGE:
            raise DataError(f"decay shift k is {self.k}, but the range is 1 to 8")
        if self.membrane_bits not in MEMBRANE_BITS_RANGE:
            raise DataError(f"membrane_bits is {self.membrane_bits}, but the range is 8 to 32")
        if not 1 <= self.threshold <= 1 << (self.membrane_bits - 1):
            raise DataError(
                f"threshold is {self.threshold}, but with {self.membrane_bits} membrane bits the "
                f"range is 1 to {1 << (self.membrane_bits - 1)}"
            )
        weights = np.ascontiguousarray(weights, dtype=np.int8)
        if weights is self.weights:
            weights = weights.copy()
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)

    @property
    def inputs(self) -> int:
        return self.weights.shape[0]

    @property
    def neurons(self) -> int:
        return self.weights.shape[1]


@dataclass(frozen=True, eq=False)
class Network:
    """A chain of layers, the number of time steps, and what is known about where it came from.

    Parameters
    ----------
    layers : sequence of Layer
        Each layer has as many inputs as the one before has neurons.
    steps : int
        T, 1 … 32767.
    meta : mapping, optional
        Anything JSON holds: ``dataset``, ``encoding``, ``training``, measured ``accuracy`` …

    Raises
    ------
    DataError
        If the layers do not chain or ``steps`` is out of range.
    """

    layers: Sequence[Layer]
    steps: int
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise DataError("a network needs at least one layer")
        for index, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if before.neurons != after.inputs:
                raise DataError(
                    f"layer {index + 1} has {after.inputs} inputs, but layer {index} has "
                    f"{before.neurons} neurons"
                )
        if not 1 <= self.steps <= MAX_STEPS:
            raise DataError(f"steps is {self.steps}, but the range is 1 to {MAX_STEPS}")

    @property
    def inputs(self) -> int:
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        return self.layers[-1].neurons

    @property
    def shape(self) -> tuple[int, ...]:
        """Inputs and the neurons of every layer, such as ``(784, 600, 10)``."""
        return (self.inputs, *(layer.neurons for layer in self.layers))

    def __str__(self) -> str:
        bits = "/".join(dict.fromkeys(str(layer.weight_bits) for layer in self.layers))
        return f"{'-'.join(map(str, self.shape))}, {bits}-bit weights, {self.steps} steps"

    def with_meta(self, **entries: Any) -> Self:
        """Return the same network with ``entries`` added to its ``meta``."""
        return replace(self, meta={**self.meta, **entries})

    def check_samples(self, samples: np.ndarray) -> np.ndarray:
        """Return ``samples`` as (batch, inputs) ``int32`` spike steps, or say what is wrong.

        Raises
        ------
        DataError
            If the shape, the dtype or a step does not suit this network.
        """
        samples = np.asarray(samples)
        if samples.ndim != 2 or samples.shape[1] != self.inputs:
            raise DataError(
                f"samples have shape {samples.shape}, but this network needs "
                f"(batch, {self.inputs}); encode images to spike steps first"
            )
        if samples.dtype.kind not in "iu":
            raise DataError(f"samples have dtype {samples.dtype}, but spike steps are integers")
        if samples.size and not (samples.min() >= -1 and samples.max() < self.steps):
            raise DataError(
                f"spike steps run from {samples.min()} to {samples.max()}, but this network runs "
                f"steps 0 to {self.steps - 1} (and -1 for an input that does not spike)"
            )
        return np.ascontiguousarray(samples, dtype=np.int32)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a ``.npz`` file, whole or not at all.

        The same network gives the same bytes.
        """
        header = {
            "format": _FORMAT,
            "version": _VERSION,
            "steps": self.steps,
            "layers": [
                {
                    "k": layer.k,
                    "threshold": layer.threshold,
                    "weight_bits": layer.weight_bits,
                    "membrane_bits": layer.membrane_bits,
                }
                for layer in self.layers
            ],
            "meta": dict(self.meta),
        }
        text = json.dumps(header, sort_keys=True, separators=(",", ":"))
        members = {"header": np.frombuffer(text.encode(), dtype=np.uint8)}
        members |= {f"weights_{index}": layer.weights for index, layer in enumerate(self.layers)}
        with (
            write_atomically(path) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        ):
            for name, array in members.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                # A fixed date makes the file a function of its contents.
                entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a network that :meth:`save` wrote.

        Raises
        ------
        ModelFileError
            If the file is missing, no network, of another version, truncated or tampered with.
        """
        path = Path(path)
        try:
            # Left to numpy, a file of another kind would be taken for a pickle.
            zipfile.ZipFile(path).close()
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes())
                if header["format"] != _FORMAT or header["version"] != _VERSION:
                    raise ModelFileError(
                        f"{path} holds {header['format']} version {header['version']}, but this "
                        f"release reads {_FORMAT} version {_VERSION}"
                    )
                layers = [
                    Layer(archive[f"weights_{index}"], **entry)
                    for index, entry in enumerate(header["layers"])
                ]
                return cls(layers, header["steps"], header["meta"])
        except ModelFileError:
            raise
        except FileNotFoundError as error:
            raise ModelFileError(f"{path} does not exist") from error
        except IsADirectoryError as error:
            raise ModelFileError(f"{path} is a folder; give a network's .npz file") from error
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read ({error.strerror or error})") from error
        except Exception as error:
            # A damaged archive makes zipfile, zlib and numpy raise almost anything.
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelFileError(
                f"{path} is no firstspike network, or it is damaged ({reason}); "
                "networks are the .npz files that training writes"
            ) from error
