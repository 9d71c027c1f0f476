"""One way to compile: numba, cached on disk where possible."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["compiled", "jit"]

_Function = TypeVar("_Function", bound=Callable)


def compiled(function: _Function, **options: Any) -> _Function:
    """``function``, compiled on its first call with numba's ``options``.

    The cache lies beside the source or in the user's cache folder (``NUMBA_CACHE_DIR`` chooses
    another); where neither can be written, every process compiles anew.

    Numba notices a change of the file that holds ``function``, not of others: a compiled function
    calls only compiled functions of its own module.
    """
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it can write
        return numba.njit(**options)(function)


def jit(function: _Function) -> _Function:
    """Compile a model: integers only, without the interpreter lock."""
    return compiled(function, nogil=True)
