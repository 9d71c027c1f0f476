"""One way to compile models: numba, without the interpreter lock, cached on disk where possible."""

from collections.abc import Callable
from typing import TypeVar

import numba

__all__ = ["jit"]

_Function = TypeVar("_Function", bound=Callable)


def jit(function: _Function) -> _Function:
    """Compile ``function`` on its first call and keep the result for the next process.

    Integers only, so there is nothing that ``fastmath`` could change. The cache lies beside the
    source or in the user's cache folder (``NUMBA_CACHE_DIR`` chooses another); where neither can be
    written, every process compiles anew.

    Numba notices a change of the file that holds ``function``, not of others: a compiled function
    calls only compiled functions of its own module.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder that it can write
        return numba.njit(nogil=True)(function)
