"""The neuron: dynamics alone, with nothing that feeds it or reads it.

The functions are the four statements of ``docs/arithmetic.md`` on ``int64`` arrays of any shape.
:class:`CurrentNeurons` strings them together for one layer. Another neuron model is another class
with the same ``step``, ``membrane`` and ``fired``; the golden model needs no more of a neuron.
"""

import numpy as np

from ..firmware.formats import membrane_floor

__all__ = ["CurrentNeurons", "decay", "fire", "integrate", "saturate"]


def decay(current: np.ndarray, k: int) -> np.ndarray:
    """``I − (I >> k)``; the shift rounds towards minus infinity."""
    return current - (current >> k)


def integrate(membrane: np.ndarray, current: np.ndarray) -> np.ndarray:
    """``U + I``, before saturation."""
    return membrane + current


def saturate(membrane: np.ndarray, bits: int) -> np.ndarray:
    """Limit ``U`` at its negative end, ``−2^(bits − 1)``; it has no limit at the other."""
    return np.maximum(membrane, membrane_floor(bits))


def fire(membrane: np.ndarray, fired: np.ndarray) -> np.ndarray:
    """Mask of the neurons that spike now: ``U ≥ 0`` for the first time."""
    return (membrane >= 0) & ~fired


class CurrentNeurons:
    """Neurons without leak, with a decaying synaptic current and at most one spike each.

    Parameters
    ----------
    neurons : int
    k : int
        Decay shift of the current.
    threshold : int
        θ; the membrane starts at −θ.
    membrane_bits : int
        Width of the membrane, which sets where it saturates.

    Attributes
    ----------
    current : (neurons,) int64
        I.
    membrane : (neurons,) int64
        U, relative to the threshold.
    fired : (neurons,) bool
    """

    def __init__(self, neurons: int, k: int, threshold: int, membrane_bits: int) -> None:
        self.k = k
        self.membrane_bits = membrane_bits
        self.current = np.zeros(neurons, dtype=np.int64)
        self.membrane = np.full(neurons, -threshold, dtype=np.int64)
        self.fired = np.zeros(neurons, dtype=bool)

    def step(self, charge: np.ndarray) -> np.ndarray:
        """Advance by one time step.

        Parameters
        ----------
        charge : (neurons,) integers
            Σ w over the spikes that arrive in this step.

        Returns
        -------
        spikes : (neurons,) bool
            The neurons that spike in this step.
        """
        self.current = decay(self.current, self.k) + charge
        self.membrane = saturate(integrate(self.membrane, self.current), self.membrane_bits)
        spikes = fire(self.membrane, self.fired)
        self.fired |= spikes
        return spikes
