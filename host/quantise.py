"""From float weights to integer layers, and from one time constant to another.

A float weight is relative to a threshold of 1. An integer layer stands for the float weights
``w = q · 2**k / θ``, so the threshold sets what one integer unit is worth: ``θ = 2**k / unit``.
Spike times measured in ``τ = 2**k`` depend on the float weights alone; ``k`` only chooses how
finely time is cut into steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .firmware.errors import DataError
from .firmware.formats import (
    DECAY_RANGE,
    MAX_STEPS,
    MEMBRANE_BITS_RANGE,
    NEVER,
    column_bounds,
    membrane_floor,
    signed_bits,
    weight_limit,
)
from .firmware.network import Layer, Network

__all__ = ["prune", "quantise", "quantise_layer", "retime", "threshold_for"]


def threshold_for(clip: float, bits: int, k: int) -> int:
    """Threshold at which the largest integer weight of ``bits`` bits stands for about ``clip``.

    Parameters
    ----------
    clip : float
        Largest float weight, relative to a threshold of 1; above 0.
    bits : int
        Weight bits, 2 … 8.
    k : int
        Decay shift, 1 … 8.

    Raises
    ------
    DataError
        If a parameter is out of range.
    """
    if not (np.isfinite(clip) and clip > 0):
        raise DataError(f"the clip is {clip}, but weights are clipped at a value above 0")
    if k not in DECAY_RANGE:
        raise DataError(f"decay shift k is {k}, but the range is 1 to 8")
    return max(1, round(weight_limit(bits) * 2**k / clip))


def quantise_layer(
    weights: np.ndarray, *, bits: int = 8, k: int = 4, clip: float | None = None
) -> Layer:
    """Round float weights to an integer layer.

    Parameters
    ----------
    weights : (inputs, neurons) floats
        Relative to a threshold of 1.
    bits : int
        Weight bits, 2 … 8.
    k : int
        Decay shift, 1 … 8.
    clip : float, optional
        Weights beyond ±``clip`` become the largest integer; by default the largest magnitude, so
        that none is clipped. Few bits want a smaller clip.

    Returns
    -------
    Layer
        With the fewest membrane bits, but at least 20, that hold the threshold and every current.

    Raises
    ------
    DataError
        If the weights are no finite float matrix or a parameter is out of range.
    """
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.dtype.kind != "f":
        raise DataError(
            f"weights are {weights.dtype} of shape {weights.shape}, but a float matrix (inputs, "
            "neurons) is needed"
        )
    if not np.isfinite(weights).all():
        raise DataError("weights hold values that are not finite; the training diverged")
    limit = weight_limit(bits)
    if clip is None:
        clip = float(np.abs(weights).max(initial=0)) or 1.0
    threshold = threshold_for(clip, bits, k)
    unit = 2**k / threshold
    integers = np.clip(np.rint(weights / weights.dtype.type(unit)), -limit, limit).astype(np.int8)
    return Layer(integers, k, threshold, bits, _membrane_bits(integers, threshold))


def quantise(
    weights: Sequence[np.ndarray],
    *,
    bits: int = 8,
    k: int = 4,
    clips: Sequence[float] | None = None,
    steps: int | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Network:
    """Round the float weights of all layers to an integer network.

    Parameters
    ----------
    weights : sequence of (inputs, neurons) floats
    bits, k : int
        As for :func:`quantise_layer`, for all layers.
    clips : sequence of float, optional
        One for each layer.
    steps : int, optional
        T; by default four time constants, ``4 · 2**k``.
    meta : mapping, optional
        For :attr:`Network.meta`.

    Raises
    ------
    DataError
        If the layers do not chain or a parameter is out of range.
    """
    if clips is not None and len(clips) != len(weights):
        raise DataError(f"{len(clips)} clips were given for {len(weights)} layers")
    layers = [
        quantise_layer(matrix, bits=bits, k=k, clip=None if clips is None else clips[index])
        for index, matrix in enumerate(weights)
    ]
    return Network(layers, 4 << k if steps is None else steps, dict(meta or {}))


def retime(network: Network, k: int) -> Network:
    """Return the same network with another time constant: the same weights, other thresholds.

    A layer's threshold is scaled by ``2**(k' - k)`` and so is the number of steps. Inputs must
    spike in step 0, or be encoded anew on the new time scale.

    Currents keep their integer values, so a larger ``k`` rounds their decay more coarsely: the
    sums of a layer should stay well above ``2**k``.

    Parameters
    ----------
    network : Network
    k : int
        New decay shift of every layer, 1 … 8.

    Raises
    ------
    DataError
        If ``k`` is out of range, the layers differ in theirs, or steps or a membrane would no
        longer fit.
    """
    if k not in DECAY_RANGE:
        raise DataError(f"decay shift k is {k}, but the range is 1 to 8")
    before = {layer.k for layer in network.layers}
    if len(before) > 1:
        raise DataError(
            f"the layers have different decay shifts ({', '.join(map(str, sorted(before)))}), so "
            "there is no one time scale to change"
        )
    scale = 2.0 ** (k - before.pop())
    steps = max(1, round(network.steps * scale))
    if steps > MAX_STEPS:
        raise DataError(f"with k = {k} the network would run {steps} steps, over {MAX_STEPS}")
    layers = []
    for layer in network.layers:
        threshold = max(1, round(layer.threshold * scale))
        layers.append(
            Layer(
                layer.weights,
                k,
                threshold,
                layer.weight_bits,
                _membrane_bits(layer.weights, threshold, layer.membrane_bits),
            )
        )
    return Network(layers, steps, _without_results(network.meta))


def prune(
    network: Network, samples: np.ndarray, current_bits: int = 16, *, rows: int | None = None
) -> Network:
    """Set weights to zero that ``samples`` hardly use, to save memory and width in hardware.

    - Inputs that never spike in ``samples`` lose all their weights, and so need no weight row. With
      ``rows`` given, so do those that spike most rarely, until no more than ``rows`` are left.
    - A neuron whose weights of one sign add up to more than ``current_bits`` bits hold loses some
      of them: those of the inputs that spike most rarely, until the rest fits whatever arrives.

    Rare inputs are the pixels near the border of an image. Their weights matter little, but the
    worst case that hardware has to be built for counts them in full.

    Parameters
    ----------
    network : Network
    samples : (batch, inputs) integers
        Spike steps, many of them, such as the training images'.
    current_bits : int
        At least the weight bits.
    rows : int, optional
        At most so many inputs of the first layer keep their weights.

    Raises
    ------
    DataError
        If the samples do not suit the network, ``current_bits`` is fewer than a weight has or
        ``rows`` is less than 1.
    """
    from .sim.fast import infer

    widest = max(layer.weight_bits for layer in network.layers)
    if current_bits < widest:
        raise DataError(
            f"a current of {current_bits} bits was asked for, but it holds at least one weight of "
            f"{widest} bits"
        )
    if rows is not None and rows < 1:
        raise DataError(f"{rows} rows were asked for, but a network needs at least 1")
    samples = network.check_samples(samples)
    arrivals = [samples, *infer(network, samples).spikes]
    limit = (1 << (current_bits - 1)) - 1
    layers: list[Layer] = []
    for layer, spikes in zip(network.layers, arrivals, strict=False):
        weights = layer.weights.astype(np.int64)
        count = (spikes != NEVER).sum(axis=0)
        # From the most frequent input to the rarest, keep weights while there are rows left and
        # their sums fit.
        order = np.argsort(-count, kind="stable")
        if not layers:
            weights[count == 0] = 0
            used = order[weights[order].any(axis=1)]
            if rows is not None:
                weights[used[rows:]] = 0
        ranked = weights[order]
        for part in (np.maximum(ranked, 0), np.minimum(ranked, 0)):
            excess = np.abs(part.cumsum(axis=0)) > limit
            ranked[excess & (part != 0)] = 0
        weights[order] = ranked
        layers.append(replace(layer, weights=weights))
    return Network(layers, network.steps, _without_results(network.meta))


def _without_results(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What is known about a network and still true of one made from it."""
    return {name: value for name, value in meta.items() if name != "test"}


def _membrane_bits(weights: np.ndarray, threshold: int, least: int = 20) -> int:
    """Fewest membrane bits, but at least ``least``, for the threshold and every current."""
    low, high = column_bounds(weights)
    bits = max(least, signed_bits(int(low.min()), int(high.max())))
    while threshold > -membrane_floor(bits):
        bits += 1
    if bits not in MEMBRANE_BITS_RANGE:
        raise DataError(
            f"threshold {threshold} needs {bits} membrane bits, but there are at most "
            f"{MEMBRANE_BITS_RANGE[-1]}; clip the weights at a larger value or take a smaller k"
        )
    return bits
