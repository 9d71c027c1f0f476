"""The settings of learning on the chip, and how far it has come; see ``docs/learning.md``."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from .config import Config
from .errors import DataError

__all__ = ["ALWAYS", "DEAD_ZONE_RANGE", "SETTINGS", "STEP_RANGE", "Progress", "Rule"]

#: A probability of one, in units of 2^-16.
ALWAYS = 1 << 16

#: What an update may add to a weight of the last layer.
STEP_RANGE = range(1, 8)

#: Sizes up to which a weight may have no vote.
DEAD_ZONE_RANGE = range(128)

_U32 = (1 << 32) - 1


@dataclass(frozen=True)
class Rule:
    """The settings of the learning rule.

    Parameters
    ----------
    rates : sequence of int
        For each layer, the probability that a weight row is updated, in units of 2^-16:
        0 ... :data:`ALWAYS`.
    margin : int
        M, steps for which the run goes on after the labelled output has fired, and in which no
        other may fire.
    dropout : int
        Probability that a hidden neuron is left out of a sample, in units of 2^-16: 0 ... 65535.
    activity : int
        If fewer neurons of a hidden layer fire, and the labelled output does not, its silent
        neurons are made to fire earlier. 0 switches this off.
    step : int
        What an update adds to a weight of the last layer; elsewhere it is 1.
    input_dropout : int
        Probability that an input spike is left out of a sample, in units of 2^-16: 0 ... 65535.
    dead_zone : int
        Weights up to this size, of either sign, have no vote in the errors of hidden neurons.
    """

    rates: Sequence[int]
    margin: int = 2
    dropout: int = 0
    activity: int = 4
    step: int = 2
    input_dropout: int = 0
    dead_zone: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(self.rates))
        for name, values, allowed in (
            ("rates", self.rates, range(ALWAYS + 1)),
            ("margin", [self.margin], range(1 << 15)),
            ("dropout", [self.dropout], range(ALWAYS)),
            ("activity", [self.activity], range(1 << 16)),
            ("step", [self.step], STEP_RANGE),
            ("input_dropout", [self.input_dropout], range(ALWAYS)),
            ("dead_zone", [self.dead_zone], DEAD_ZONE_RANGE),
        ):
            for value in values:
                if value not in allowed:
                    raise DataError(
                        f"{name} of the learning rule is {value}, but the range is {allowed[0]} to "
                        f"{allowed[-1]}"
                    )

    def check(self, layers: int, steps: int | None = None) -> None:
        """Refuse a rule for another number of layers, or for a longer run if ``steps`` is given.

        Raises
        ------
        DataError
        """
        if len(self.rates) != layers:
            raise DataError(
                f"the learning rule has {len(self.rates)} rates, but the network has {layers} "
                "layers; give one for each"
            )
        if steps is not None and self.margin >= steps:
            raise DataError(
                f"the margin is {self.margin} steps, but the network runs for {steps}; give a "
                f"margin of 0 to {steps - 1}"
            )

    def registers(self) -> dict[str, int]:
        """Registers of the device by name."""
        values = {name: getattr(self, name) for name in SETTINGS}
        return values | {f"rate_{index}": rate for index, rate in enumerate(self.rates)}

    @classmethod
    def at_rest(cls, layers: int) -> Self:
        """A rule for ``layers`` layers that updates nothing, until another is given."""
        return cls([0] * layers, margin=0)

    @classmethod
    def from_registers(cls, values: dict[str, int], config: Config) -> Self:
        """Invert :meth:`registers`."""
        return cls(
            [values[f"rate_{index}"] for index in range(len(config.layers))],
            **{name: values[name] for name in SETTINGS},
        )


#: The settings that are one for all layers: fields of a :class:`Rule`, and registers.
SETTINGS = tuple(entry.name for entry in fields(Rule) if entry.name != "rates")


@dataclass(frozen=True)
class Progress:
    """How far learning has come, besides the weights: with both, it goes on as if never stopped.

    Parameters
    ----------
    update : int
        State of the generator that chooses rows, 32 bits, not 0.
    dropout : sequence of int
        States of the generators that leave out neurons, one a hidden layer, 64 bits, not 0.
    learned : int
        Samples learned, modulo 2^32.
    """

    update: int
    dropout: Sequence[int]
    learned: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dropout", tuple(self.dropout))
        for name, values, allowed in (
            ("update", [self.update], range(1, 1 << 32)),
            ("dropout", self.dropout, range(1, 1 << 64)),
            ("learned", [self.learned], range(1 << 32)),
        ):
            for value in values:
                if value not in allowed:
                    raise DataError(
                        f"{name} of the learning progress is {value}, but the range is "
                        f"{allowed[0]} to {allowed[-1]}"
                    )

    @classmethod
    def start(cls, layers: int, seed: int = 1) -> Self:
        """The state before the first sample of a network of ``layers`` layers.

        Raises
        ------
        DataError
            If the seed is negative.
        """
        if seed < 0:
            raise DataError(f"the seed is {seed}, but it is at least 0")
        words = np.random.SeedSequence(seed).generate_state(2 * layers - 1, np.uint32)
        update, *rest = (int(word) or 1 for word in words)
        return cls(
            update, [low | high << 32 for low, high in zip(rest[::2], rest[1::2], strict=True)]
        )

    def registers(self) -> dict[str, int]:
        """Registers of the device by name."""
        values = {"learned": self.learned, "random_update": self.update}
        for index, state in enumerate(self.dropout):
            values[f"random_low_{index}"] = state & _U32
            values[f"random_high_{index}"] = state >> 32
        return values

    @classmethod
    def from_registers(cls, values: dict[str, int], config: Config) -> Self:
        """Invert :meth:`registers`."""
        return cls(
            values["random_update"],
            [
                values[f"random_low_{index}"] | values[f"random_high_{index}"] << 32
                for index in range(len(config.layers) - 1)
            ],
            values["learned"],
        )
