"""What an accelerator is built for: layers, widths, lanes, buffers, and the digest of it all."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from .errors import DataError
from .formats import (
    DECAY_RANGE,
    MAX_STEPS,
    MEMBRANE_BITS_RANGE,
    WEIGHT_BITS_RANGE,
    column_bounds,
    signed_bits,
    weight_limit,
)
from .network import Network

__all__ = [
    "DEFAULT_BUFFER_BYTES",
    "DROPOUT_DRAWS",
    "NEURONS",
    "Config",
    "LayerConfig",
    "Region",
]

#: Neurons that a layer can be built of; ``"sum"`` only in a first layer whose inputs all spike in
#: step 0, see ``docs/gateware.md``.
NEURONS = ("current", "sum")

DEFAULT_BUFFER_BYTES = 4096

#: Neurons for which one draw decides whether they are left out of a sample.
DROPOUT_DRAWS = 4

#: Indices and steps share 16-bit words on the link; the top bit tells them apart.
_MAX_INPUTS = 0x8000
_MAX_LANES = 1024
#: The upper end leaves the memory port time to read a word.
_FETCH_RANGE = range(1, 6)
#: Of what learns, where the memory port reads through the adders and a register behind them.
_LEARNING_FETCH_RANGE = range(1, 5)
_WAYS_RANGE = range(1, 33)

#: Head and CRC of a frame, with room to spare.
_FRAME_OVERHEAD = 16


def _longest_sample(inputs: int, steps: int) -> int:
    """Bytes of the longest list of spikes: a word for each spike and for each step that has one."""
    return 2 * (inputs + min(inputs, steps))


@dataclass(frozen=True)
class Region:
    """A memory of the device as the host sees it: ``words`` words of ``lanes`` bytes each.

    A word is written and read whole, lane 0 first; each lane holds the low ``bits`` bits of its
    byte and reads back sign-extended if ``signed``. If it ``learns``, the device writes words while
    it reads others.
    """

    name: str
    words: int
    lanes: int
    bits: int
    signed: bool
    learns: bool = False

    @property
    def bytes(self) -> int:
        """Size of the whole region on the wire."""
        return self.words * self.lanes


@dataclass(frozen=True)
class LayerConfig:
    """One layer of the built accelerator.

    Parameters
    ----------
    inputs, neurons : int
        The largest layer that fits.
    lanes : int
        Weights fetched and added in one cycle.
    weight_bits, k, current_bits, membrane_bits : int
        The arithmetic's ``b``, ``k``, ``i`` and ``v``; see ``docs/arithmetic.md``.
    rows : int
        Weight rows held; fewer than ``inputs`` only in layer 0, whose row map says which inputs
        have one. 0 means as many as inputs.
    neuron : str
        One of :data:`NEURONS`.
    fetch_cycles : int
        Cycles in which the weight memory reads a word.
    ways : int
        Rows fetched in one cycle, a power of two; more than 1 only in the last layer and with a
        lane for each neuron. The row of input ``i`` lies in way ``i mod ways``.
    """

    inputs: int
    neurons: int
    lanes: int
    weight_bits: int = 8
    k: int = 4
    current_bits: int = 16
    membrane_bits: int = 20
    rows: int = 0
    neuron: str = "current"
    fetch_cycles: int = 2
    ways: int = 1

    def __post_init__(self) -> None:
        if not self.rows:
            object.__setattr__(self, "rows", self.inputs)
        if self.neuron not in NEURONS:
            raise DataError(
                f"the neuron of a layer is {self.neuron!r}, but there are {', '.join(NEURONS)}"
            )
        for name, allowed in (
            ("inputs", range(1, _MAX_INPUTS + 1)),
            ("neurons", range(1, _MAX_INPUTS + 1)),
            ("lanes", range(1, min(self.neurons, _MAX_LANES) + 1)),
            ("weight_bits", WEIGHT_BITS_RANGE),
            ("k", DECAY_RANGE),
            ("membrane_bits", MEMBRANE_BITS_RANGE),
            ("current_bits", range(self.weight_bits, self.membrane_bits + 1)),
            ("rows", range(1, self.inputs + 1)),
            ("fetch_cycles", _FETCH_RANGE),
            ("ways", _WAYS_RANGE),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise DataError(
                    f"{name} of a layer is {value}, but the range is {allowed[0]} to {allowed[-1]}"
                )

        if self.ways & (self.ways - 1):
            raise DataError(f"ways of a layer is {self.ways}, but it must be a power of two")

    @property
    def gather_cycles(self) -> int:
        """Cycles in which the rows of several ways are added up, four at a time."""
        return -(-(self.ways - 1).bit_length() // 2)

    @property
    def groups(self) -> int:
        """Cycles that one weight row, or one sweep over the neurons, takes."""
        return -(-self.neurons // self.lanes)


@dataclass(frozen=True)
class Config:
    """A whole accelerator.

    Parameters
    ----------
    layers : sequence of LayerConfig
    max_steps : int
        Largest number of time steps.
    buffer_bytes : int
        Receive buffer of the link, a power of two; the host keeps no more bytes in flight.
    learning : bool
        Whether it learns on the chip. Then no layer has several ways, weight memories read a
        word in at most 4 cycles, and the lanes of a hidden layer that has fewer than neurons are a
        multiple of :data:`DROPOUT_DRAWS`.
    """

    layers: Sequence[LayerConfig]
    max_steps: int = 256
    buffer_bytes: int = DEFAULT_BUFFER_BYTES
    learning: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not 1 <= len(self.layers) <= 15:
            raise DataError(f"{len(self.layers)} layers were asked for, but the range is 1 to 15")
        for index, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if before.neurons != after.inputs:
                raise DataError(
                    f"layer {index + 1} has {after.inputs} inputs, but layer {index} has "
                    f"{before.neurons} neurons"
                )
            if after.rows != after.inputs:
                raise DataError(
                    f"layer {index + 1} has {after.rows} rows for {after.inputs} inputs, but only "
                    "layer 0 has a row map"
                )
        for index, layer in enumerate(self.layers):
            if layer.neuron == "sum" and (index > 0 or len(self.layers) == 1):
                raise DataError(
                    f"layer {index} has sum neurons, but only a first layer that is not the last "
                    "can: the inputs of others spike in many steps, and a decision needs membranes"
                )
        for index, (before, layer) in enumerate(zip(self.layers, self.layers[1:], strict=False), 1):
            if layer.ways > 1 and layer is not self.layers[-1]:
                raise DataError(
                    f"layer {index} fetches {layer.ways} rows in one cycle, but only the last "
                    "layer can"
                )
            if layer.ways > 1 and layer.groups > 1:
                raise DataError(
                    f"--ways {layer.ways} needs a lane for each neuron of the last layer: "
                    f"{layer.neurons} instead of {layer.lanes}"
                )
            if before.groups > 1 and before.lanes % layer.ways:
                raise DataError(
                    f"layer {index} fetches {layer.ways} rows in one cycle, but the "
                    f"{before.lanes} lanes of layer {index - 1} are no multiple of that"
                )
        if self.layers[0].ways > 1:
            raise DataError(
                f"layer 0 fetches {self.layers[0].ways} rows in one cycle, but inputs come one at "
                "a time"
            )
        if self.learning:
            self._check_learning()
        if not 1 <= self.max_steps <= MAX_STEPS:
            raise DataError(f"max_steps is {self.max_steps}, but the range is 1 to {MAX_STEPS}")
        if self.buffer_bytes & (self.buffer_bytes - 1):
            raise DataError(f"buffer_bytes is {self.buffer_bytes}, but it must be a power of two")
        longest = max(
            _longest_sample(self.inputs, self.max_steps), *(layer.lanes for layer in self.layers)
        )
        if self.buffer_bytes < longest + _FRAME_OVERHEAD:
            raise DataError(
                f"buffer_bytes is {self.buffer_bytes}, but the longest frame of this configuration "
                f"needs {longest + _FRAME_OVERHEAD}"
            )

    def _check_learning(self) -> None:
        for index, layer in enumerate(self.layers):
            if layer.ways > 1:
                raise DataError(
                    f"layer {index} fetches {layer.ways} rows in one cycle, but a build that "
                    "learns fetches one"
                )
            if layer.fetch_cycles not in _LEARNING_FETCH_RANGE:
                raise DataError(
                    f"the weight memory of layer {index} reads a word in {layer.fetch_cycles} "
                    f"cycles, but a build that learns has to read it in at most "
                    f"{_LEARNING_FETCH_RANGE[-1]}; choose a faster memory"
                )
        for index, layer in enumerate(self.layers[:-1]):
            if layer.groups > 1 and layer.lanes % DROPOUT_DRAWS:
                raise DataError(
                    f"layer {index} has {layer.lanes} lanes, but in a build that learns they must "
                    f"be a multiple of {DROPOUT_DRAWS}, or as many as its {layer.neurons} neurons"
                )

    @property
    def inputs(self) -> int:
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        return self.layers[-1].neurons

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Memories by region number: the weights of each layer, then the row map of layer 0 and,
        if this has sum neurons, their crossings.

        The word address of weight row ``r``, group ``g`` is ``g * rows + r``. A row map word is a
        little-endian 16-bit number: bit 15 set and the row, or 0 for an input without a row. A word
        of the crossings is one for each step, as wide as the current; see
        :func:`~firstspike.firmware.crossings.crossings`.
        """
        weights = [
            Region(
                f"weights_{index}",
                layer.groups * layer.rows,
                layer.lanes,
                layer.weight_bits,
                signed=True,
                learns=self.learning,
            )
            for index, layer in enumerate(self.layers)
        ]
        regions = [*weights, Region("row_map", self.inputs, 2, 8, False)]
        if self.layers[0].neuron == "sum":
            lanes = -(-self.layers[0].current_bits // 8)
            regions.append(Region("crossings", self.max_steps, lanes, 8, False))
        return tuple(regions)

    def region(self, name: str) -> Region:
        """The memory of that name."""
        return next(region for region in self.regions if region.name == name)

    def arrival_steps(self, steps: int) -> int:
        """Steps in which inputs may spike, of a run of ``steps``."""
        return 1 if self.layers[0].neuron == "sum" else steps

    def check_samples(self, samples: np.ndarray) -> None:
        """Refuse samples that a network may take but these neurons cannot.

        Parameters
        ----------
        samples : (batch, inputs) integers
            Spike steps.

        Raises
        ------
        DataError
            If an input spikes after step 0 and the first layer has sum neurons.
        """
        if self.layers[0].neuron == "sum" and samples.max(initial=0) > 0:
            sample, index = np.argwhere(samples > 0)[0]
            raise DataError(
                f"sample {sample}: input {index} spikes in step {samples[sample, index]}, but this "
                "accelerator's first layer has sum neurons, which take spikes in step 0 alone; "
                "build it with current neurons or encode the samples as binary images"
            )

    @property
    def digest(self) -> int:
        """64 bits that differ whenever anything that host and device must agree on differs."""
        return int.from_bytes(hashlib.sha256(self.to_json().encode()).digest()[:8], "little")

    def to_json(self) -> str:
        """The configuration as canonical JSON text; the device carries it and can tell it."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        DataError
            If the text is no configuration.
        """
        try:
            entries: dict[str, Any] = json.loads(text)
            if not isinstance(entries, dict) or "layers" not in entries:
                raise ValueError('it has no "layers"')
            layers = [LayerConfig(**layer) for layer in entries.pop("layers")]
            return cls(layers, **entries)
        except RecursionError:
            raise DataError(
                "this is not an accelerator configuration (it is nested too deeply)"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"this is not an accelerator configuration ({error})") from error

    @classmethod
    def for_network(
        cls,
        network: Network,
        lanes: int | Sequence[int] = 64,
        *,
        buffer_bytes: int | None = None,
        neuron: str = "current",
        ways: int = 1,
        learning: bool = False,
    ) -> Self:
        """The smallest accelerator that holds ``network``.

        Parameters
        ----------
        network : Network
        lanes : int or sequence of int
            For all layers, or one for each. Cut to the number of neurons where a layer has fewer.
        buffer_bytes : int, optional
            Default: 4096, or as much as the longest frame needs.
        neuron : str
            Of layer 0, one of :data:`NEURONS`.
        ways : int
            Of the last layer.
        learning : bool
            Build what learns; then currents are as wide as any weights may need.
        """
        counts = [lanes] if isinstance(lanes, int) else list(lanes)
        if len(counts) == 1:
            counts *= len(network.layers)
        if len(counts) != len(network.layers):
            raise DataError(
                f"{len(counts)} lane counts were given, but the network has "
                f"{len(network.layers)} layers; give one for all layers or one for each"
            )
        layers = []
        for index, (layer, count) in enumerate(zip(network.layers, counts, strict=True)):
            used = int(layer.weights.any(axis=1).sum()) if index == 0 else layer.inputs
            if learning:
                most = used * weight_limit(layer.weight_bits)
                lowest, highest = -most, most
            else:
                low, high = column_bounds(layer.weights)
                lowest, highest = int(low.min()), int(high.max())
            kind = neuron if index == 0 else "current"
            # A sum stays below the crossing that means never.
            current_bits = signed_bits(lowest, highest + (kind == "sum"))
            layers.append(
                LayerConfig(
                    inputs=layer.inputs,
                    neurons=layer.neurons,
                    lanes=min(count, layer.neurons),
                    weight_bits=layer.weight_bits,
                    k=layer.k,
                    current_bits=max(current_bits, layer.weight_bits),
                    membrane_bits=layer.membrane_bits,
                    rows=max(used, 1),
                    neuron=kind,
                    ways=ways if layer is network.layers[-1] else 1,
                )
            )
        if buffer_bytes is None:
            longest = _longest_sample(network.inputs, network.steps) + _FRAME_OVERHEAD
            buffer_bytes = max(DEFAULT_BUFFER_BYTES, 1 << (longest - 1).bit_length())
        return cls(layers, network.steps, buffer_bytes, learning)
