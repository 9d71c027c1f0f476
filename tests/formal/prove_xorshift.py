"""The generators of random numbers against their definition."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal
from firstspike.hdl.xorshift import DROPOUT_SHIFTS, UPDATE_SHIFTS, advance
from prove import Method, prove
from watch import any_value, claim, given, reached

# Marsaglia's, as docs/learning.md has them: left, right, left.
SIZES = {
    "32 bits": {"bits": 32, "shifts": UPDATE_SHIFTS, "published": (13, 17, 5)},
    "64 bits": {"bits": 64, "shifts": DROPOUT_SHIFTS, "published": (13, 7, 17)},
}


@prove(Method.EQUIVALENCE, 1, sizes=SIZES)
def definition(m: Module, bits: int, shifts: Sequence[int], published: Sequence[int]) -> None:
    """Every state is followed by the one that x ^= x << a; x ^= x >> b; x ^= x << c leaves; no
    state but 0 is followed by 0; and no two by the same."""
    state = any_value(m, bits, "state")
    following = Signal(bits)
    m.d.comb += following.eq(advance(m, state, shifts))
    left, right, left_again = published
    first, second, third = (Signal(bits, name=name) for name in ("first", "second", "third"))
    m.d.comb += [
        first.eq(state ^ (state << left)[:bits]),
        second.eq(first ^ first[right:]),
        third.eq(second ^ (second << left_again)[:bits]),
    ]
    claim(m, following == third, "the state that follows is the definition's")
    claim(m, given(state != 0, following != 0), "a state that is not 0 is never followed by 0")
    other = any_value(m, bits, "other")
    other_following = Signal(bits)
    m.d.comb += other_following.eq(advance(m, other, shifts))
    claim(m, given(other != state, other_following != following), "no two become the same")
    reached(m, following == 1, "some state is followed by 1")
