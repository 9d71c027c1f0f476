"""Words of the memories, byte by byte."""

from amaranth.hdl import Module, Mux, Signal
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.memory_streamer import MemoryStreamer
from firstspike.hdl.memory_window import FETCH_CYCLES, SHIFT_CYCLES
from prove import Method, prove
from watch import Inside, assume, claim, free, given, past, reached, stays, taken

_CONFIG = Config([LayerConfig(3, 4, 2)], max_steps=4)


@prove(Method.INDUCTION, 2, cover=14)
def stable(m: Module) -> None:
    """A byte that is read stays until it is taken; a word is written only where there is one; for
    as long as the memories need after an access, word and region are held and no other access
    comes; and a byte is offered only when they have come to it."""
    dut = MemoryStreamer(_CONFIG)
    inside = Inside(m, dut)
    free(m, dut)
    # The reader holds what it asks for, and begins only when the last is done.
    assume(m, given(dut.busy | past(m, dut.busy), dut.region == past(m, dut.region)))
    assume(m, ~(dut.read | dut.write) | ~dut.busy)
    assume(m, given(dut.read, dut.known & dut.fits & ~dut.write))
    assume(m, given(dut.read | dut.write, ~dut.i.valid))

    # Cycles since the last access and the last shift, up to when both are over.
    access = dut.memory.store | dut.memory.fetch
    accessed = Signal(range(FETCH_CYCLES + 2), init=FETCH_CYCLES + 1)
    shifted = Signal(range(SHIFT_CYCLES + 2), init=SHIFT_CYCLES + 1)
    m.d.sync += [
        accessed.eq(Mux(access, 1, Mux(accessed > FETCH_CYCLES, accessed, accessed + 1))),
        shifted.eq(Mux(dut.memory.shift, 1, Mux(shifted > SHIFT_CYCLES, shifted, shifted + 1))),
    ]
    # Then memories keep what they give.
    quiet = (accessed > FETCH_CYCLES) & (shifted > SHIFT_CYCLES)
    assume(m, given(quiet, dut.memory.byte_out == past(m, dut.memory.byte_out)))
    claim(m, stays(m, dut.o), "a byte stays until it is taken")
    claim(m, given(dut.memory.store, inside["address"] < inside["size"]), "a word is in its region")
    busy = accessed < FETCH_CYCLES
    same = (dut.memory.word == past(m, dut.memory.word)) & (
        dut.memory.region == past(m, dut.memory.region)
    )
    claim(m, given(busy, same), "word and region are held")
    claim(m, given(busy, ~access), "no access comes before the last is over")
    there = (accessed >= FETCH_CYCLES) & (shifted >= SHIFT_CYCLES)
    claim(m, given(dut.o.valid, there), "a byte is offered when it is there")
    reached(m, taken(dut.o) & dut.o.p.last, "a word is read")
    reached(m, dut.memory.store & (dut.memory.word == 1), "a word is written")

    timer = inside["timer"]
    sits = inside.state("state", "settle", "wait")
    claim(m, given(sits, accessed + timer >= FETCH_CYCLES - 1), "the access is timed")
    waits = inside.state("state", "wait")
    claim(m, given(waits, shifted + timer >= SHIFT_CYCLES - 1), "so is the shift")
    claim(m, given(~sits, ~busy), "elsewhere none is under way")
