"""Spike steps of a first layer as a question to the sums of its weights.

If all inputs of a layer spike in step 0, the current of a neuron starts at the sum ``S`` of the
weights and goes its way from there, whatever comes: it decays, and the membrane adds it up. The
membrane of every step grows with ``S``. So a neuron has fired by step ``n`` if and only if ``S`` is
at least some number, the *crossing* of step ``n``, which is the same for all neurons of the layer.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["crossings", "pack_crossings", "unpack_crossings"]

_BYTE = 8


def crossings(k: int, threshold: int, steps: int, current_bits: int) -> np.ndarray:
    """The least sum with which a neuron has fired by each step.

    Parameters
    ----------
    k : int
        Decay shift.
    threshold : int
        θ.
    steps : int
        T.
    current_bits : int
        Width of a sum; all sums are below ``m``, the largest number of this width.

    Returns
    -------
    (steps,) int64
        From step to step the same or less; ``m`` where no sum is enough.
    """
    # Sums in (low, high] are left to search, for each step on its own. With no weight at all a
    # neuron never fires, since θ is positive.
    low = np.zeros(steps, dtype=np.int64)
    high = np.full(steps, (1 << (current_bits - 1)) - 1, dtype=np.int64)
    while (high - low > 1).any():
        middle = (low + high) // 2
        current, charge, fired = middle, np.zeros_like(middle), np.zeros(steps, dtype=bool)
        for step in range(steps):
            charge = charge + current
            fired[step:] |= charge[step:] >= threshold
            current = current - (current >> k)
            # What the later steps find out does not concern this one.
            charge[step] = current[step] = 0
        low, high = np.where(fired, low, middle), np.where(fired, middle, high)
    return high


def pack_crossings(values: Sequence[int] | np.ndarray, lanes: int, words: int) -> bytes:
    """Region bytes of crossings; steps beyond the last have the crossing of the last.

    Parameters
    ----------
    values : (steps,) integers
    lanes : int
        Bytes of a word.
    words : int
        At least ``steps``.
    """
    padded = [*map(int, values), *[int(values[-1])] * (words - len(values))]
    return b"".join(value.to_bytes(lanes, "little") for value in padded)


def unpack_crossings(data: bytes, lanes: int) -> np.ndarray:
    """Invert :func:`pack_crossings`.

    Returns
    -------
    (words,) int64
    """
    lane = np.frombuffer(data, dtype=np.uint8).astype(np.int64).reshape(-1, lanes)
    return (lane << _BYTE * np.arange(lanes)).sum(axis=1)
