"""Where each weight lies in the device's memories: the one place that packs and unpacks them.

The word at ``group * rows + row`` of a layer's region holds one weight for each lane: lane ``i`` of
group ``g`` is neuron ``g * lanes + i``. Neurons beyond the network's and rows that no input uses
hold zeros, so a network smaller than the build runs unchanged.
"""

from collections.abc import Sequence

import numpy as np

from .config import Config, LayerConfig
from .errors import DataError

__all__ = ["pack_row_map", "pack_weights", "row_numbers", "unpack_row_map", "unpack_weights"]

_HAS_ROW = 0x8000


def row_numbers(weights: np.ndarray) -> np.ndarray:
    """Row of each input of layer 0, −1 for an input whose weights are all zero.

    Parameters
    ----------
    weights : (inputs, neurons) integers

    Returns
    -------
    (inputs,) int64
    """
    used = weights.any(axis=1)
    return np.where(used, np.cumsum(used) - 1, -1)


def pack_weights(weights: np.ndarray, layer: LayerConfig) -> bytes:
    """Region bytes of weight rows.

    Parameters
    ----------
    weights : (rows, neurons) int8
        At most ``layer.rows`` rows and ``layer.neurons`` neurons.
    """
    padded = np.zeros((layer.rows, layer.groups * layer.lanes), dtype=np.int8)
    padded[: weights.shape[0], : weights.shape[1]] = weights
    return padded.reshape(layer.rows, layer.groups, layer.lanes).transpose(1, 0, 2).tobytes()


def unpack_weights(data: bytes, layer: LayerConfig) -> np.ndarray:
    """Invert :func:`pack_weights`.

    Returns
    -------
    (rows, neurons) int8
        As many rows and neurons as were built.
    """
    words = np.frombuffer(data, dtype=np.int8).reshape(layer.groups, layer.rows, layer.lanes)
    return words.transpose(1, 0, 2).reshape(layer.rows, -1)[:, : layer.neurons]


def pack_row_map(rows: Sequence[int] | np.ndarray, config: Config) -> bytes:
    """Region bytes of a row map.

    Parameters
    ----------
    rows : (inputs,) integers
        Row of each input, −1 for none; inputs beyond these have none.
    """
    words = np.zeros(config.inputs, dtype="<u2")
    rows = np.asarray(rows)
    words[: len(rows)] = np.where(rows >= 0, rows | _HAS_ROW, 0)
    return words.tobytes()


def unpack_row_map(data: bytes, config: Config) -> np.ndarray:
    """Invert :func:`pack_row_map`.

    Returns
    -------
    (inputs,) int64

    Raises
    ------
    DataError
        If an input maps to a row that is not built.
    """
    words = np.frombuffer(data, dtype="<u2").astype(np.int64)
    rows = np.where(words & _HAS_ROW, words & ~_HAS_ROW, -1)
    if rows.max(initial=-1) >= config.layers[0].rows:
        raise DataError(
            f"input {rows.argmax()} maps to row {rows.max()}, but the accelerator is built for "
            f"{config.layers[0].rows} rows"
        )
    return rows
