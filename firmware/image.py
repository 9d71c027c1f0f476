"""A model image: all that a device needs to run a network, in the device's own layout."""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from .config import Config
from .crossings import crossings, unpack_crossings
from .errors import DataError, ModelFileError
from .files import write_atomically
from .layout import unpack_row_map, unpack_weights
from .network import Layer, Network
from .registers import register_map

__all__ = ["Image"]

_MAGIC = b"firstspike image\n"
_VERSION = 1
#: Version and length of the JSON header that follows.
_HEAD = struct.Struct("<HI")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class Image:
    """Register values and memory contents for one configuration.

    Parameters
    ----------
    config : Config
    registers : mapping of str to int
        Value of each writable register but ``model``, by the names of
        :func:`~firstspike.firmware.registers.register_map`.
    regions : mapping of str to bytes
        Contents of each memory region, by name, whole.
    meta : mapping
        What is known about the network.

    Raises
    ------
    DataError
        If a register or region is missing, unknown or of the wrong size.
    """

    config: Config
    registers: Mapping[str, int]
    regions: Mapping[str, bytes]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        needed = {
            name
            for name, _, register in register_map(self.config)
            if register.writable and name != "model"
        }
        if set(self.registers) != needed:
            odd = ", ".join(sorted(set(self.registers) ^ needed))
            raise DataError(f"an image of this configuration has the wrong registers: {odd}")
        sizes = {region.name: region.bytes for region in self.config.regions}
        if {name: len(data) for name, data in self.regions.items()} != sizes:
            raise DataError(f"an image of this configuration needs regions of the sizes {sizes}")

    @cached_property
    def crc(self) -> int:
        """CRC-32 of configuration, registers and regions; the device's ``model`` register."""
        head = [self.config.to_json(), json.dumps(dict(self.registers), sort_keys=True)]
        crc = zlib.crc32("\n".join(head).encode())
        for region in self.config.regions:
            crc = zlib.crc32(self.regions[region.name], crc)
        # 0 in the register means that no model is loaded.
        return crc or 1

    def network(self) -> Network:
        """The network as the device will run it, unpacked from the memory contents.

        It is as large as the build, but for the outputs that do not take part in the decision.

        Raises
        ------
        DataError
            If the memories hold no network: an input maps to a row that is not built, or the
            crossings are not those of the threshold.
        """
        layers = []
        for index, layer in enumerate(self.config.layers):
            weights = unpack_weights(self.regions[f"weights_{index}"], layer)
            if index == 0:
                rows = unpack_row_map(self.regions["row_map"], self.config)
                weights = np.where(rows[:, None] >= 0, weights[rows], np.int8(0))
            if index == len(self.config.layers) - 1:
                weights = weights[:, : self.registers["classes"]]
            layers.append(
                Layer(
                    weights,
                    layer.k,
                    self.registers[f"threshold_{index}"],
                    layer.weight_bits,
                    layer.membrane_bits,
                )
            )
        self._check_crossings(layers[0], self.registers["steps"])
        return Network(layers, self.registers["steps"], self.meta)

    def _check_crossings(self, layer: Layer, steps: int) -> None:
        built = self.config.layers[0]
        if built.neuron != "sum":
            return
        lanes = self.config.region("crossings").lanes
        held = unpack_crossings(self.regions["crossings"], lanes)[:steps]
        wanted = crossings(layer.k, layer.threshold, steps, built.current_bits)
        if (held != wanted).any():
            step = int((held != wanted).argmax())
            raise DataError(
                f"the crossing of step {step} is {held[step]}, but threshold {layer.threshold} "
                f"makes it {wanted[step]}; compile the network again and load it"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the image to a file, whole or not at all."""
        header = {
            "config": self.config.to_json(),
            "registers": dict(self.registers),
            "meta": dict(self.meta),
        }
        text = json.dumps(header, sort_keys=True).encode()
        body = _MAGIC + _HEAD.pack(_VERSION, len(text)) + text
        body += zlib.compress(b"".join(self.regions[r.name] for r in self.config.regions), 9)
        with write_atomically(path) as file:
            file.write(body + _CRC.pack(zlib.crc32(body)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an image that :meth:`save` wrote.

        Raises
        ------
        ModelFileError
            If the file is missing, no image, of another version, truncated or tampered with.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read ({error.strerror or error})") from error
        start = len(_MAGIC) + _HEAD.size
        if not data.startswith(_MAGIC) or len(data) < start + _CRC.size:
            raise ModelFileError(f"{path} is no firstspike image; `firstspike compile` writes them")
        body, crc = data[: -_CRC.size], data[-_CRC.size :]
        if _CRC.unpack(crc)[0] != zlib.crc32(body):
            raise ModelFileError(f"{path} is truncated or was changed: its CRC is wrong")
        version, length = _HEAD.unpack_from(body, len(_MAGIC))
        if version != _VERSION:
            raise ModelFileError(
                f"{path} is an image of version {version}, but this release reads version "
                f"{_VERSION}; compile the network again"
            )
        try:
            header = json.loads(body[start : start + length])
            config = Config.from_json(header["config"])
            contents = zlib.decompress(body[start + length :])
            regions, position = {}, 0
            for region in config.regions:
                regions[region.name] = contents[position : position + region.bytes]
                position += region.bytes
            return cls(config, header["registers"], regions, header["meta"])
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise ModelFileError(f"{path} is no image of this release ({error})") from error
