"""Where learning stands, in a file: what it takes to go on as if it had never stopped."""

import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .device import Device
from .firmware.errors import DataError, ModelFileError
from .firmware.files import write_atomically
from .firmware.learning import Progress, Rule
from .firmware.network import Layer, Network

if TYPE_CHECKING:
    from .sim.learner import Learner

__all__ = ["Checkpoint", "Epoch"]

_FORMAT = "firstspike-learning"
_VERSION = 1


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training samples did.

    Parameters
    ----------
    epoch : int
        From 1 on.
    learned : int
        Samples learned since the start of the first one.
    accuracy : float
        Share of the samples that were decided correctly, each before the update, with neurons left
        out.
    erred : float or None
        Share of the samples that there was anything to learn from. A device does not tell.
    validation : float or None
        Share of the validation samples that are classified correctly after the epoch.
    rows : tuple of float
        Mean number of weight rows that each layer fetched: after the first one, spikes of the layer
        before.
    rates : tuple of float
        Probabilities at the end of the epoch that a row is updated.
    samples_per_second : float
        Learned; without encoding and distorting.
    """

    epoch: int
    learned: int
    accuracy: float
    erred: float | None
    validation: float | None
    rows: tuple[float, ...]
    rates: tuple[float, ...]
    samples_per_second: float

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch:3}", f"training {100 * self.accuracy:6.2f} %"]
        if self.erred is not None:
            parts.append(f"erred {100 * self.erred:6.2f} %")
        if self.validation is not None:
            parts.append(f"validation {100 * self.validation:6.2f} %")
        parts.append(f"spikes {' '.join(f'{count:.1f}' for count in self.rows)}")
        parts.append(f"{self.samples_per_second:.0f} samples/s")
        return "  ".join(parts)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that it takes to go on with learning as if it had never stopped.

    Parameters
    ----------
    network : Network
        With the weights as they were.
    has_row : (inputs,) bool
        Inputs that have a weight row.
    progress : Progress
    settings : dict
        What was asked for.
    epoch, done : int
        Epochs that are complete, and samples of the next one that were learned.
    tally : dict
        Of the epoch that is not complete.
    history : tuple of Epoch
    """

    network: Network
    has_row: np.ndarray
    progress: Progress
    settings: dict[str, Any]
    epoch: int
    done: int
    tally: dict[str, Any]
    history: tuple[Epoch, ...]

    def learner(self) -> "Learner":
        """The golden learner, compiled, in this state."""
        from .sim.fast_learner import Learner

        rule = Rule.at_rest(len(self.network.layers))
        return Learner(self.network, rule, self.progress, has_row=self.has_row)

    def load_into(self, device: Device, *, progress: bool = False) -> None:
        """Bring a device into this state; raises what :meth:`Device.load` does.

        A virtual device that nothing has been loaded into is built for it.
        """
        device.load(self.network, has_row=self.has_row, progress=progress)
        device.start_learning(Rule.at_rest(len(self.network.layers)), self.progress)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a ``.npz`` file, whole or not at all."""
        header = {
            "format": _FORMAT,
            "version": _VERSION,
            "steps": self.network.steps,
            "layers": [
                {
                    "k": layer.k,
                    "threshold": layer.threshold,
                    "weight_bits": layer.weight_bits,
                    "membrane_bits": layer.membrane_bits,
                }
                for layer in self.network.layers
            ],
            "meta": dict(self.network.meta),
            "progress": asdict(self.progress),
            "settings": self.settings,
            "epoch": self.epoch,
            "done": self.done,
            "tally": self.tally,
            "history": [asdict(epoch) for epoch in self.history],
        }
        arrays: dict[str, Any] = {
            f"weights_{index}": layer.weights for index, layer in enumerate(self.network.layers)
        }
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        with write_atomically(path) as file:
            np.savez(file, has_row=self.has_row, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ModelFileError
            If the file is missing, no checkpoint, of another version or damaged.
        """
        path = Path(path)
        try:
            # Left to numpy, a file of another kind would be taken for a pickle.
            zipfile.ZipFile(path).close()
            with np.load(path, allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes())
                if (header["format"], header["version"]) != (_FORMAT, _VERSION):
                    raise DataError(f"it is {header['format']} version {header['version']}")
                layers = [
                    Layer(archive[f"weights_{index}"], **entry)
                    for index, entry in enumerate(header["layers"])
                ]
                has_row = archive["has_row"]
            return cls(
                Network(layers, header["steps"], header["meta"]),
                has_row,
                Progress(**header["progress"]),
                header["settings"],
                header["epoch"],
                header["done"],
                header["tally"],
                tuple(_epoch(entry) for entry in header["history"]),
            )
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read ({error.strerror or error})") from error
        except Exception as error:
            # A damaged archive makes zipfile, zlib and numpy raise almost anything.
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelFileError(
                f"{path} is no checkpoint of learning, or it is damaged ({reason}); delete it to "
                "start anew"
            ) from error


def _epoch(entry: dict[str, Any]) -> Epoch:
    return Epoch(**entry | {name: tuple(entry[name]) for name in ("rows", "rates")})
