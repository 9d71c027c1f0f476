"""Words of the memories, byte by byte."""

from amaranth.hdl import Module
from firstspike.firmware.config import Config, LayerConfig
from firstspike.hdl.memory_streamer import MemoryStreamer
from prove import Method, prove
from watch import Inside, assume, claim, free, given, past, reached, stays, taken

_CONFIG = Config([LayerConfig(3, 4, 2)], max_steps=4)


@prove(Method.INDUCTION, 2, cover=14)
def stable(m: Module) -> None:
    """A byte that is read stays until it is taken; a word is written only where there is one; and
    what the memories need to be held is held."""
    dut = MemoryStreamer(_CONFIG)
    inside = Inside(m, dut)
    free(m, dut)
    # The reader holds what it asks for, and begins only when the last is done.
    assume(m, given(dut.busy | past(m, dut.busy), dut.region == past(m, dut.region)))
    assume(m, ~(dut.read | dut.write) | ~dut.busy)
    assume(m, given(dut.read, dut.known & dut.fits & ~dut.write))
    assume(m, given(dut.read | dut.write, ~dut.i.valid))
    # Memories answer when they are asked, and not before.
    asked = dut.memory.shift | dut.memory.fetch
    waits = past(m, dut.o.valid & ~asked)
    assume(m, given(waits, dut.memory.byte_out == past(m, dut.memory.byte_out)))
    claim(m, stays(m, dut.o), "a byte stays until it is taken")
    claim(m, given(dut.memory.store, inside["address"] < inside["size"]), "a word is in its region")
    held = past(m, dut.memory.store | dut.memory.fetch)
    same = (dut.memory.word == past(m, dut.memory.word)) & (
        dut.memory.region == past(m, dut.memory.region)
    )
    claim(m, given(held, same), "word and region are held")
    reached(m, taken(dut.o) & dut.o.p.last, "a word is read")
    reached(m, dut.memory.store & (dut.memory.word == 1), "a word is written")
