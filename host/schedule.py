"""The settings of the learning rule while a network learns (see ``docs/learning.md``)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .firmware.errors import DataError
from .firmware.learning import ALWAYS, Rule

__all__ = ["ANNEALS", "Schedule"]

#: How rates go from their first value to their last.
ANNEALS = ("linear", "cosine", "exponential")

#: What is left of the rates when they start anew.
_SETTLED = 0.1


@dataclass(frozen=True)
class Schedule:
    """The settings of the learning rule from the first sample to the last.

    Parameters
    ----------
    first, last : sequence of float
        Probability that a weight row is updated, 0 … 1, at the start and at the end: one for each
        layer, or one for all.
    anneal : str
        One of :data:`ANNEALS`.
    hold : float
        Share of training, below 1, after which the rates begin to change.
    restart : float
        Share of training, below 1, at the end of which the rates start anew: in the second half of
        it they fall to a tenth. The network is of use by then, and no worse for it at the end (warm
        restarts: I. Loshchilov, F. Hutter, *SGDR*, ICLR 2017). 0 leaves that out.
    margin : int
        Below the network's steps.
    dropout : float
        Probability that a hidden neuron is left out of a sample.
    input_dropout : float
        Probability that an input spike is left out of a sample.
    activity, step, dead_zone : int
        As in :class:`~firstspike.firmware.learning.Rule`.

    Raises
    ------
    DataError
        If a setting is out of its range.
    """

    first: Sequence[float] = (1.0,)
    last: Sequence[float] = (0.005,)
    anneal: str = "linear"
    hold: float = 0.7
    restart: float = 0.05
    margin: int = 10
    dropout: float = 0.2
    input_dropout: float = 0.1
    activity: int = 12
    step: int = 4
    dead_zone: int = 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", tuple(self.first))
        object.__setattr__(self, "last", tuple(self.last))
        if self.anneal not in ANNEALS:
            raise DataError(
                f"there is no way {self.anneal} to change the rates; choose one of "
                f"{', '.join(ANNEALS)}"
            )
        for rate in (*self.first, *self.last):
            if not 0 <= rate <= 1:
                raise DataError(f"a rate is {rate}, but it is a probability, 0 to 1")
        if self.anneal == "exponential" and not min(*self.first, *self.last, 1) > 0:
            raise DataError("rates that change exponentially must be above 0")
        for name in ("hold", "restart", "dropout", "input_dropout"):
            if not 0 <= (share := getattr(self, name)) < 1:
                raise DataError(f"{name} is {share}, but the range is 0 to below 1")

    def rule(self, moment: float, layers: int) -> Rule:
        """The settings at a moment of training, 0 … 1, for a network of so many layers.

        Raises
        ------
        DataError
            If there are rates for another number of layers, or a setting is out of its range.
        """
        first, last = (_for_each(rates, layers) for rates in (self.first, self.last))
        return Rule(
            [
                round(ALWAYS * self._between(*rates, moment) * self._settled(moment))
                for rates in zip(first, last, strict=True)
            ],
            margin=self.margin,
            dropout=min(round(ALWAYS * self.dropout), ALWAYS - 1),
            activity=self.activity,
            step=self.step,
            input_dropout=min(round(ALWAYS * self.input_dropout), ALWAYS - 1),
            dead_zone=self.dead_zone,
        )

    def _settled(self, moment: float) -> float:
        """What is left of the rates before they start anew, 1 after it."""
        if moment >= self.restart:
            return 1.0
        return 1 - (1 - _SETTLED) * max(2 * moment / self.restart - 1, 0)

    def _between(self, first: float, last: float, moment: float) -> float:
        moment = max(moment - self.hold, 0) / (1 - self.hold)
        if self.anneal == "exponential":
            return first * (last / first) ** moment
        if self.anneal == "cosine":
            moment = (1 - math.cos(math.pi * moment)) / 2
        return first + (last - first) * moment


def _for_each(rates: Sequence[float], layers: int) -> Sequence[float]:
    """A rate for each layer."""
    if len(rates) == 1:
        return [*rates] * layers
    if len(rates) != layers:
        raise DataError(
            f"{len(rates)} rates were given, but the network has {layers} layers; give one for "
            "each or one for all"
        )
    return rates
