"""What a device says about samples: the answers of a batch, as arrays."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from .firmware.protocol import Outcome

__all__ = ["Learned", "Result"]


@dataclass(frozen=True, eq=False)
class Result:
    """What a device says about a batch of samples.

    Parameters
    ----------
    label : (batch,) int32
        The output that was decided for.
    step : (batch,) int32
        Decision step, 0 … T−1.
    fired : (batch,) bool
        Whether an output spiked; without, the decision is the highest membrane in step T−1.
    cycles : (batch,) int64
        Clock cycles from the first event of the sample to the decision; ``model:`` tells those of
        the cycle model.
    rows : (batch, layers) int32
        Weight rows that each layer fetched.
    """

    label: np.ndarray
    step: np.ndarray
    fired: np.ndarray
    cycles: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def blank(cls, batch: int, layers: int) -> Self:
        """Return a result of ``batch`` samples to fill."""
        return cls(
            label=np.zeros(batch, dtype=np.int32),
            step=np.zeros(batch, dtype=np.int32),
            fired=np.zeros(batch, dtype=bool),
            cycles=np.zeros(batch, dtype=np.int64),
            rows=np.zeros((batch, layers), dtype=np.int32),
        )

    def fill(self, index: int, payload: bytes) -> None:
        """Take the payload of the answer to sample ``index``.

        Raises
        ------
        DataError
            If it is none.
        """
        outcome = Outcome.decode(payload, self.rows.shape[1])
        self.label[index] = outcome.label
        self.step[index] = outcome.step
        self.fired[index] = outcome.fired
        self.cycles[index] = outcome.cycles
        self.rows[index] = outcome.rows


@dataclass(frozen=True, eq=False)
class Learned(Result):
    """What a device says about a batch of samples that it learned from.

    The decisions are those before the update, with the neurons that were left out. ``model:`` has
    no cycles of learning, so they are 0. Where the answer was lost on the line, label and step are
    −1 and everything else is 0.

    Parameters
    ----------
    repeated : (batch,) bool
        Whether the answer was lost; the sample was learned, once, like the others.
    """

    repeated: np.ndarray

    @classmethod
    def blank(cls, batch: int, layers: int) -> Self:
        """Return a result of ``batch`` samples to fill."""
        blank = Result.blank(batch, layers)
        return cls(**vars(blank), repeated=np.zeros(batch, dtype=bool))

    def fill(self, index: int, payload: bytes) -> None:
        """Take the payload of the answer to sample ``index``, empty if that was learned before."""
        if payload:
            super().fill(index, payload)
        else:
            self.repeated[index] = True
            self.label[index] = self.step[index] = -1
