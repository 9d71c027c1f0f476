"""Marsaglia's shift-register generators of random numbers."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value

__all__ = ["DROPOUT_SHIFTS", "UPDATE_SHIFTS", "advance"]

#: Of the 32 bits that choose rows; to the right where negative.
UPDATE_SHIFTS = (13, -17, 5)

#: Of the 64 bits that leave out neurons.
DROPOUT_SHIFTS = (13, -7, 17)


def advance(m: Module, state: Value, shifts: Sequence[int]) -> Value:
    """Build the logic between a state and the next; return the latter."""
    for shift in shifts:
        shifted = state << shift if shift > 0 else state >> -shift
        following = Signal(len(state), name="xorshift")
        m.d.comb += following.eq(state ^ shifted)
        state = following
    return state
