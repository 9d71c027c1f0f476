"""How the training's inner loops are compiled: numba, cached on disk where possible."""

from collections.abc import Callable
from typing import TypeVar

import numba

__all__ = ["jit"]

_Function = TypeVar("_Function", bound=Callable)


def jit(function: _Function) -> _Function:
    """Compile ``function`` on its first call and keep the result for the next process.

    Floating point as numpy has it (a division by zero is no exception), with sums in any order so
    that loops use the processor's vectors. Where no folder for the cache can be written, every
    process compiles anew.
    """
    options = {"error_model": "numpy", "fastmath": {"nsz", "arcp", "contract", "reassoc"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it can write
        return numba.njit(**options)(function)
