"""The end of an error about a name that does not exist: what may have been meant."""

import difflib
from collections.abc import Iterable

__all__ = ["suggest"]


def suggest(name: str, known: Iterable[str], *, list_all: bool = True) -> str:
    """Return ``" (did you mean …?)"``, or the known names where none is near.

    Parameters
    ----------
    name : str
    known : iterable of str
    list_all : bool
        Whether to name them all where none is near; otherwise that gives an empty text.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (there are {', '.join(known)})" if known and list_all else ""
