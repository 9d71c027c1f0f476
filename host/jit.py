"""How the training's inner loops are compiled."""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["jit"]

_Function = TypeVar("_Function", bound=Callable)


def jit(function: _Function) -> _Function:
    """Compile ``function`` on its first call and keep the result for the next process.

    Floating point as numpy has it (a division by zero is no exception), with sums in any order so
    that loops use the processor's vectors.
    """
    from .sim.jit import compiled

    return compiled(function, error_model="numpy", fastmath={"nsz", "arcp", "contract", "reassoc"})
