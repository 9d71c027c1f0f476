"""Number formats of the arithmetic (see ``docs/arithmetic.md``) and the checks on them."""

import numpy as np

from .errors import DataError

__all__ = [
    "DECAY_RANGE",
    "MAX_STEPS",
    "MEMBRANE_BITS_RANGE",
    "NEVER",
    "WEIGHT_BITS_RANGE",
    "column_bounds",
    "membrane_floor",
    "signed_bits",
    "weight_limit",
]

#: Spike step of an input or neuron that does not spike.
NEVER = -1

#: The number of time steps is 1 … MAX_STEPS; on the link the 16th bit tells steps from indices.
MAX_STEPS = 0x7FFF

WEIGHT_BITS_RANGE = range(2, 9)
MEMBRANE_BITS_RANGE = range(8, 33)
DECAY_RANGE = range(1, 9)


def weight_limit(bits: int) -> int:
    """Largest magnitude of a weight of ``bits`` bits; the range is symmetric, −limit … limit.

    Raises
    ------
    DataError
        If ``bits`` is not 2 … 8.
    """
    if bits not in WEIGHT_BITS_RANGE:
        raise DataError(f"weights of {bits} bits were asked for, but the range is 2 to 8 bits")
    return (1 << (bits - 1)) - 1


def membrane_floor(bits: int) -> int:
    """Value at which the membrane ``U`` saturates at its negative end."""
    return -(1 << (bits - 1))


def signed_bits(low: int, high: int) -> int:
    """Fewest bits in which a two's-complement number holds both ``low`` and ``high``."""
    return max(int(low < 0 and (~low).bit_length()), high.bit_length()) + 1


def column_bounds(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds that no order of arrivals can push a neuron's current ``I`` beyond.

    Parameters
    ----------
    weights : (inputs, neurons) integers

    Returns
    -------
    low, high : (neurons,) int64
        Sums of the negative and of the positive weights of each column.
    """
    wide = weights.astype(np.int64)
    return np.minimum(wide, 0).sum(axis=0), np.maximum(wide, 0).sum(axis=0)
