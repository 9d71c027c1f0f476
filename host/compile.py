"""Compiling: a network becomes an image for one configuration, or a sentence that says why not."""

import numpy as np

from .firmware.config import Config, LayerConfig
from .firmware.crossings import crossings, pack_crossings
from .firmware.errors import CapacityError, DataError
from .firmware.formats import column_bounds, weight_limit
from .firmware.image import Image
from .firmware.layout import pack_row_map, pack_weights, row_numbers
from .firmware.network import Layer, Network
from .firmware.registers import register_map

__all__ = ["compile"]


def compile(
    network: Network,
    config: Config | None = None,
    *,
    board: str | None = None,
    has_row: np.ndarray | None = None,
) -> Image:
    """Lay a network out for an accelerator.

    In the image for one that learns, learning has not been started.

    Parameters
    ----------
    network : Network
    config : Config, optional
        What the accelerator is built for. Default: the smallest that holds the network, with at
        most 64 lanes a layer.
    board : str, optional
        Instead of ``config``: the name of a board, which is built for the network with the board's
        own lanes.
    has_row : (inputs,) bool, optional
        Inputs that get a weight row, among them all with a weight other than 0. Default: just
        those.

    Raises
    ------
    CapacityError
        If the network does not fit; the message names layer, neuron and value.
    DataError
        If ``has_row`` does not suit the network.
    BuildError
        If there is no such board, or its memory cannot hold the weights.
    """
    if board is not None:
        from .boards import load
        from .boards.build import configure
        from .boards.fit import check_weights

        config = configure(load(board), network)
        check_weights(load(board), config)
    if config is None:
        config = Config.for_network(network)
    if len(network.layers) != len(config.layers):
        raise CapacityError(
            f"the network has {len(network.layers)} layers, but the accelerator is built for "
            f"{len(config.layers)}; build it for this network"
        )
    if network.steps > config.max_steps:
        raise CapacityError(
            f"the network runs {network.steps} steps, but the accelerator is built for at most "
            f"{config.max_steps}; rebuild it or shorten the network's run"
        )
    first = network.layers[0]
    rows = row_numbers(first.weights if has_row is None else _with_rows(first.weights, has_row))
    counts = [int(rows.max()) + 1, *(layer.inputs for layer in network.layers[1:])]
    for index, (layer, built) in enumerate(zip(network.layers, config.layers, strict=True)):
        _check_fit(index, layer, built, counts[index] if config.learning else None)
    if rows.max() >= config.layers[0].rows:
        raise CapacityError(
            f"layer 0 uses {rows.max() + 1} weight rows, but the accelerator is built for "
            f"{config.layers[0].rows}; rebuild it with more rows"
        )
    held = [first.weights[rows >= 0], *(layer.weights for layer in network.layers[1:])]
    regions = {
        f"weights_{index}": pack_weights(weights, built)
        for index, (weights, built) in enumerate(zip(held, config.layers, strict=True))
    }
    regions["row_map"] = pack_row_map(rows, config)
    built = config.layers[0]
    if built.neuron == "sum":
        region = config.region("crossings")
        values = crossings(first.k, first.threshold, network.steps, built.current_bits)
        regions["crossings"] = pack_crossings(values, region.lanes, region.words)
    registers = {name: entry.reset for name, _, entry in register_map(config) if entry.learning}
    registers |= {"steps": network.steps, "classes": network.outputs}
    registers |= {f"threshold_{i}": layer.threshold for i, layer in enumerate(network.layers)}
    return Image(config, registers, regions, network.meta)


def _with_rows(weights: np.ndarray, has_row: np.ndarray) -> np.ndarray:
    """A column for each input that has to get a row, of ones where it has one."""
    has_row = np.asarray(has_row)
    if has_row.shape != (len(weights),) or has_row.dtype != bool:
        raise DataError(
            f"has_row is {has_row.dtype} of shape {has_row.shape}, but the network has "
            f"{len(weights)} inputs; give a bool for each"
        )
    if (lacking := np.flatnonzero(weights.any(axis=1) & ~has_row)).size:
        raise DataError(f"input {lacking[0]} has weights, so it needs a row")
    return has_row[:, None]


def _check_fit(index: int, layer: Layer, built: LayerConfig, rows: int | None) -> None:
    """Raise CapacityError unless ``layer`` runs bit for bit on ``built``, which may turn its
    weights in so many ``rows`` into any others if it learns."""
    for what, asked, limit in (
        ("inputs", layer.inputs, built.inputs),
        ("neurons", layer.neurons, built.neurons),
        ("weight bits", layer.weight_bits, built.weight_bits),
    ):
        if asked > limit:
            raise CapacityError(
                f"layer {index} has {asked} {what}, but the accelerator is built for at most "
                f"{limit}; rebuild it for this network or choose a larger board"
            )
    for what, asked, limit in (
        ("decay shift k", layer.k, built.k),
        ("membrane bits", layer.membrane_bits, built.membrane_bits),
    ):
        if asked != limit:
            raise CapacityError(
                f"layer {index} has {what} = {asked}, but the accelerator is built for exactly "
                f"{limit}; rebuild it or re-time the network"
            )
    if rows is None:
        low, high = column_bounds(layer.weights)
        whose = "its weights of one sign sum to"
    else:
        most = rows * weight_limit(built.weight_bits)
        low, high = np.full(layer.neurons, -most), np.full(layer.neurons, most)
        whose = "weights that are learned may sum to"
    smallest, largest = -(1 << (built.current_bits - 1)), (1 << (built.current_bits - 1)) - 1
    if built.neuron == "sum":
        largest -= 1  # as a crossing, the largest number means never
    for sums in (low, high):
        neuron = int(np.abs(sums).argmax())
        if not smallest <= sums[neuron] <= largest:
            raise CapacityError(
                f"layer {index}, neuron {neuron}: {whose} {sums[neuron]}, but the accelerator's "
                f"{built.current_bits}-bit current holds {smallest} to {largest}; "
                "rebuild it with a wider current or quantise with smaller weights"
            )
